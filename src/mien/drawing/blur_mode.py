"""Modes of hiding faces in annotated output."""

from __future__ import annotations

from typing import Literal

from mien.errors import InputError

BlurMode = Literal["others", "all"]
"""Hide everyone but the main face, or everybody."""


def check_blur(mode: BlurMode | None, max_faces: int | None) -> None:
    """Check that all faces are detected, so that all can be hidden.

    Raises:
        InputError: faces are to be hidden, and their number is limited.
    """
    if mode is not None and max_faces is not None:
        raise InputError("faces beyond max_faces would not be blurred; leave out --max-faces or --blur.")
