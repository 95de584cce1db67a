"""Exception hierarchy.

The message of a `MienError` is one line for users that states the problem and the fix; the command line prints it
without a traceback. `code` is a stable machine-readable identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


class MienError(Exception):
    """Base class of mien's exceptions."""

    code = "error"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Restore an error with its attributes in another process, whatever the arguments of its class."""
        return _restore, (type(self), self.args, vars(self))


class MienWarning(UserWarning):
    """Something may keep faces of an image from being found."""


class InputError(MienError, ValueError):
    """An argument or input file is invalid."""

    code = "input"


class ImageReadError(InputError):
    """An image file is missing, empty, corrupt, too large or not an image."""

    code = "image_unreadable"


class ImageTooLargeError(ImageReadError):
    """An image has more pixels than `max_pixels`."""


class VideoReadError(InputError):
    """A video, stream or camera is missing, empty, corrupt or not a video."""

    code = "video_unreadable"


class AudioReadError(InputError):
    """An audio file or the sound of a video is missing, empty, corrupt or not audio."""

    code = "audio_unreadable"


class DatasetError(MienError):
    """A data set is invalid."""

    code = "dataset"


class LayoutError(DatasetError):
    """The files of a data set are not in the expected layout."""

    code = "dataset_layout"

    def __init__(self, path: str | Path, expected: str) -> None:
        super().__init__(f"{path}: unexpected layout; expected {expected}.")
        self.path = str(path)
        self.expected = expected


class AnnotationError(DatasetError):
    """A line of a label file is invalid."""

    code = "dataset_annotation"

    def __init__(self, file: str | Path, line: int, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {problem}")
        self.file = str(file)
        self.line = line


class ModelError(MienError):
    """A model file is invalid."""

    code = "model"


class UnknownModelError(ModelError):
    """The model name or path is unknown."""

    code = "model_unknown"

    def __init__(self, name: str, available: Iterable[str]) -> None:
        import difflib  # not on every import of mien

        choices = sorted(available)
        nearest = difflib.get_close_matches(name, choices, n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        expected = f"the path of an .onnx file or one of: {', '.join(choices)}"
        super().__init__(f"unknown model {name!r}; expected {expected}.{hint}")
        self.name = name


class ManifestError(ModelError):
    """A manifest is missing, malformed, or does not match its model file."""

    code = "model_manifest"


class DeviceError(ModelError):
    """A device is not available, or a network cannot run on it."""

    code = "device"


class CheckpointError(ModelError):
    """A training checkpoint is missing, corrupt, or of another configuration."""

    code = "checkpoint"


class TrainingError(MienError):
    """Training diverged: the loss is not finite."""

    code = "training"


class ParityError(ModelError):
    """The outputs of an exported graph differ from those of the trained network."""

    code = "model_parity"


class ConfigError(InputError):
    """A recipe or an override has an unknown key or a value of the wrong type."""

    code = "config"


class MissingExtraError(MienError, ImportError):
    """An optional dependency is not installed."""

    code = "missing_extra"

    def __init__(self, capability: str, extra: str) -> None:
        super().__init__(f"{capability} needs more packages: pip install 'mien[{extra}]'")
        self.extra = extra


def write_error(path: str | Path, error: OSError) -> InputError:
    """Return the exception for a file that cannot be written."""
    return InputError(f"{path}: cannot be written: {reason(error)}.")


def reason(error: Exception) -> str:
    """Return the reason of an exception in one line without a full stop, to be put into the message of another.

    That of a system call is in lower case and without the path that pyarrow adds.
    """
    text = getattr(error, "strerror", None)
    system = re.sub(r".*\[(errno|Windows error) \d+\] ", "", text, flags=re.DOTALL).lower() if text else ""
    return " ".join((system or str(error)).split()).rstrip(".") or type(error).__name__


def _restore(kind: type[MienError], args: tuple[object, ...], attributes: dict[str, object]) -> MienError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error
