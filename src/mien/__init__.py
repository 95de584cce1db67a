"""Predict perceived facial expression from images and video: offline, calibrated, without torch.

Example:
    >>> import mien
    >>> result = mien.Analyzer().analyze("photo.jpg")  # doctest: +SKIP
    >>> [face.expression.label for face in result]  # doctest: +SKIP
    ['happiness']

All but `EXPRESSIONS` and the errors are imported on first use, so that `import mien` itself is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mien._version import __version__
from mien.emotions import EXPRESSIONS
from mien.errors import (
    AudioReadError,
    ConfigError,
    DatasetError,
    DeviceError,
    ImageReadError,
    InputError,
    MienError,
    MienWarning,
    MissingExtraError,
    ModelError,
    UnknownModelError,
    VideoReadError,
)

if TYPE_CHECKING:
    from mien.adaptation.adapt import adapt
    from mien.datasets import read_dataset
    from mien.drawing.annotate import draw_faces
    from mien.evaluation.compare import compare
    from mien.evaluation.evaluate import evaluate
    from mien.imaging import read_image
    from mien.inference.analyzer import Analyzer
    from mien.inference.data_frame import predict_frame
    from mien.inference.explain import explain
    from mien.inference.result import Result, to_pandas
    from mien.results import Expression, Face, HeadPose, Quality, VideoFrame
    from mien.video.analysis import analyze_video
    from mien.voice.analyzer import VoiceAnalyzer
    from mien.voice.result import VoiceResult, VoiceSegment

_MODULES = {
    "mien.adaptation.adapt": ("adapt",),
    "mien.datasets": ("read_dataset",),
    "mien.drawing.annotate": ("draw_faces",),
    "mien.evaluation.compare": ("compare",),
    "mien.evaluation.evaluate": ("evaluate",),
    "mien.imaging": ("read_image",),
    "mien.inference.analyzer": ("Analyzer",),
    "mien.inference.data_frame": ("predict_frame",),
    "mien.inference.explain": ("explain",),
    "mien.inference.result": ("Result", "to_pandas"),
    "mien.results": ("Expression", "Face", "HeadPose", "Quality", "VideoFrame"),
    "mien.video.analysis": ("analyze_video",),
    "mien.voice.analyzer": ("VoiceAnalyzer",),
    "mien.voice.result": ("VoiceResult", "VoiceSegment"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "EXPRESSIONS",
    "Analyzer",
    "AudioReadError",
    "ConfigError",
    "DatasetError",
    "DeviceError",
    "Expression",
    "Face",
    "HeadPose",
    "ImageReadError",
    "InputError",
    "MienError",
    "MienWarning",
    "MissingExtraError",
    "ModelError",
    "Quality",
    "Result",
    "UnknownModelError",
    "VideoFrame",
    "VideoReadError",
    "VoiceAnalyzer",
    "VoiceResult",
    "VoiceSegment",
    "__version__",
    "adapt",
    "analyze_video",
    "compare",
    "draw_faces",
    "evaluate",
    "explain",
    "predict_frame",
    "read_dataset",
    "read_image",
    "to_pandas",
]


def __getattr__(name: str) -> Any:
    """Import a name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
