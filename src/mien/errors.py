"""The error tree. Every message says what was wrong and what to do about it.

A `MienError` is for the user's eyes: one line, no traceback at the command line. `code` is stable and machine readable.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class MienError(Exception):
    """Base of every error that mien raises on purpose."""

    code = "error"


class InputError(MienError, ValueError):
    """The caller's argument or input file cannot be used."""

    code = "input"


class ImageReadError(InputError):
    """An image cannot be read: empty, broken, too large, or no image at all."""

    code = "image_unreadable"


class VideoReadError(InputError):
    """A video or stream cannot be read: missing, empty, no video at all, or no camera there."""

    code = "video_unreadable"


class DatasetError(MienError):
    """A data set cannot be used."""

    code = "dataset"


class LayoutError(DatasetError):
    """The files of a data set are not where its layout wants them."""

    code = "dataset_layout"

    def __init__(self, path: str | Path, expected: str) -> None:
        super().__init__(f"{path}: not the expected layout. Expected {expected}.")
        self.path, self.expected = str(path), expected


class AnnotationError(DatasetError):
    """A line of a label file is wrong."""

    code = "dataset_annotation"

    def __init__(self, file: str | Path, line: int, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {problem}")
        self.file, self.line = str(file), line


class ModelError(MienError):
    """A model file cannot be used."""

    code = "model"


class UnknownModelError(ModelError):
    """No model of this name or at this path."""

    code = "model_unknown"

    def __init__(self, name: str, available: Iterable[str]) -> None:
        choices = ", ".join(sorted(available))
        super().__init__(f"no model {name!r}. Give the path of an .onnx file, or one of: {choices}.")
        self.name = name


class ManifestError(ModelError):
    """A manifest is missing, malformed, or does not describe the model beside it."""

    code = "model_manifest"


class CheckpointError(ModelError):
    """A training checkpoint is missing, truncated, or of another configuration."""

    code = "checkpoint"


class TrainingError(MienError):
    """A run cannot go on: its loss is no number any more."""

    code = "training"


class ParityError(ModelError):
    """An exported graph does not compute what the trained network computes."""

    code = "model_parity"


class ConfigError(InputError):
    """A recipe or an override names an unknown key or a value of the wrong type."""

    code = "config"


class MissingExtraError(MienError, ImportError):
    """A capability needs packages that the runtime install leaves out."""

    code = "missing_extra"

    def __init__(self, capability: str, extra: str) -> None:
        super().__init__(f"{capability} needs more packages: pip install 'mien[{extra}]'")
        self.extra = extra
