"""Modes of hiding faces in annotated output."""

from __future__ import annotations

from typing import Literal, get_args

from mien.errors import InputError

BlurMode = Literal["others", "all"]
"""Hide everyone but the main face, or everybody."""


def check_blur(mode: BlurMode | None, max_faces: int | None) -> None:
    """Check the mode, and that all faces are detected, so that all can be hidden.

    Raises:
        InputError: the mode is unknown, or faces are to be hidden and their number is limited.
    """
    if mode is None:
        return
    if mode not in get_args(BlurMode):
        raise InputError(f"blur is {mode!r}; expected 'others', 'all' or None.")
    if max_faces is not None:
        raise InputError(
            "faces beyond max_faces would not be blurred; leave out max_faces (--max-faces) or blur (--blur)."
        )
