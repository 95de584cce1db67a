"""mien reads perceived facial expression from images and video: offline, calibrated, without torch.

Example:
    >>> from mien import Analyzer
    >>> faces = Analyzer().analyze("photo.jpg")  # doctest: +SKIP

The names below are loaded when they are first used, so that `import mien` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mien._version import __version__

if TYPE_CHECKING:
    from mien.emotions import EXPRESSIONS
    from mien.errors import MienError
    from mien.imaging import read_image
    from mien.inference.analyzer import Analyzer
    from mien.results import Expression, Face, HeadPose, VideoFrame
    from mien.video.analysis import analyze_video

__all__ = [
    "EXPRESSIONS",
    "Analyzer",
    "Expression",
    "Face",
    "HeadPose",
    "MienError",
    "VideoFrame",
    "__version__",
    "analyze_video",
    "read_image",
]

_HOMES = {
    "Analyzer": "mien.inference.analyzer",
    "EXPRESSIONS": "mien.emotions",
    "Expression": "mien.results",
    "Face": "mien.results",
    "HeadPose": "mien.results",
    "MienError": "mien.errors",
    "VideoFrame": "mien.results",
    "analyze_video": "mien.video.analysis",
    "read_image": "mien.imaging",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
