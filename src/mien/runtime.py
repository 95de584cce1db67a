"""Model files: shipped models, their int8 files, and sessions for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mien.addresses import public_name
from mien.cpu_features import is_int8_faster
from mien.devices import CPU, Device, Precision, check_precision
from mien.errors import InputError, ModelError, UnknownModelError, reason
from mien.manifest import Manifest, read_manifest
from mien.sessions import open_first

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

ASSETS = Path(__file__).parent / "assets"
DEFAULT_MODEL = "expression"
DETECTOR_SIZE = 640
"""Default maximum long side, in pixels, at which an image is scanned for faces."""
MIN_CONFIDENCE = 0.6
"""Default minimum confidence of the face detector."""
INT8_SUFFIX = ".int8.onnx"
"""End of the name of a model file whose convolutions compute in int8, beside the float32 file of the same network."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Linux file with a container's CPU quota and period, in microseconds."""


def usable_cores() -> int:
    """Return the number of cores available to this process, limited by CPU affinity and the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, _, period = CPU_QUOTA.read_text(encoding="ascii").partition(" ")
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):
        # The file does not exist or contains "max": unlimited.
        return cores


def count_workers(workers: int) -> int:
    """Return a number of parallel workers: one per usable core for 0.

    Raises:
        InputError: when it is negative or not an integer.
    """
    from mien.arguments import check_integer

    return check_integer("workers", workers, 0, meaning="(0 is one per usable core)") or usable_cores()


@dataclass(frozen=True)
class LoadedModel:
    """Thread-safe ONNX Runtime session with the manifest of its model file.

    Attributes:
        session: runs the network.
        manifest: of the file in use.
        path: the file in use.
        device: name of the device in use.
    """

    session: InferenceSession
    manifest: Manifest
    path: Path
    device: str

    @property
    def precision(self) -> Precision:
        """The arithmetic of the file in use."""
        return "int8" if self.path.name.endswith(INT8_SUFFIX) else "float32"

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return outputs of the network, by their names, for inputs by their names.

        Raises:
            ModelError: if the network fails.
        """
        import numpy as np

        try:
            return [np.asarray(output) for output in self.session.run(list(outputs), dict(inputs))]
        except Exception as error:  # ONNX Runtime's own classes share no public base
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{self.path}: {problem}") from None


def shipped_models(task: str = "expression") -> list[str]:
    """Return the sorted names of the shipped models for a task."""
    names = (path.stem for path in ASSETS.glob("*.onnx") if not path.name.endswith(INT8_SUFFIX))
    return sorted(name for name in names if read_manifest(ASSETS / f"{name}.onnx").task == task)


def find_model(name_or_path: str | Path) -> Path:
    """Return the float32 file of a shipped model given by its name, or the file given by its path.

    Raises:
        InputError: when it is neither a string nor a path.
        UnknownModelError: when neither exists.
        ModelError: when the path cannot be accessed.
    """
    if not isinstance(name_or_path, str | PathLike):
        raise InputError(
            f"model is {name_or_path!r}; expected the name of a shipped model or the path of an .onnx file."
        )
    path = Path(name_or_path)
    shipped = ASSETS / f"{name_or_path}.onnx"
    try:
        if path.suffix == ".onnx" and path.is_file():
            return path
        if path.name == str(name_or_path) and not path.suffix and shipped.is_file():
            return shipped
    except OSError as error:
        raise _unreadable(path, error) from None
    raise UnknownModelError(public_name(str(name_or_path)), shipped_models() or ["(none shipped)"])


def portable_name(name_or_path: str | Path) -> str | Path:
    """Return the name of a shipped model, or the absolute path of a file, for a process in another folder.

    Links are kept, because the manifest is beside the link.
    """
    return str(Path(name_or_path).absolute()) if Path(name_or_path).suffix == ".onnx" else name_or_path


def load_model(
    name_or_path: str | Path,
    *,
    task: str = "expression",
    threads: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
) -> LoadedModel:
    """Load a model and validate its manifest.

    Args:
        name_or_path: name of a shipped model, or path of an `.onnx` file with a manifest beside it.
        task: expected task of the model.
        threads: threads of the session; 0 lets ONNX Runtime choose.
        device: see `open_session`.
        precision: "int8" for the int8 file of the model (`NAME.int8.onnx`), "float32" for the other; "auto" takes a
            path as it is, and the int8 file of a shipped model on CPUs on which int8 is faster. A shipped model for
            another task than expressions that has no int8 file is always float32.

    Raises:
        InputError: when the device or the precision is unknown.
        DeviceError: when the device is not available or cannot run the network.
        ModelError: when the model is unknown, its manifest is invalid, or ONNX Runtime cannot read it.
    """
    check_precision(precision)
    path = find_model(name_or_path)
    _read_manifest(path, task)
    is_shipped = path.name != Path(name_or_path).name

    def choose(device: Device) -> Path:
        return choose_file(path, precision, is_shipped=is_shipped, is_optional=task != "expression", device=device)

    session, used = open_first(choose, threads, device)
    file = choose(used)
    return LoadedModel(session, _read_manifest(file, task), file, str(used))


def choose_file(
    path: Path, precision: Precision, *, is_shipped: bool, is_optional: bool = False, device: Device = CPU
) -> Path:
    """Return the file of a model with a precision on a device; see `load_model`.

    Args:
        path: float32 file of a shipped model, or any file.
        precision: the requested one.
        is_shipped: the model was given by its name.
        is_optional: take the float32 file of a shipped model that has no int8 file.
        device: the device in use.

    Raises:
        ModelError: when the file with this precision is missing.
    """
    is_int8 = path.name.endswith(INT8_SUFFIX)
    variant = path if is_int8 else path.with_name(path.stem + INT8_SUFFIX)
    if precision == "float32" and is_int8:
        raise ModelError(f"{path} computes in int8; pass the float32 file, or leave the precision out.")
    if precision == "float32":
        return path
    if precision == "auto":
        is_faster = is_shipped and device == CPU and is_int8_faster()
        return variant if is_faster and variant.is_file() else path
    if not variant.is_file():
        if is_shipped and is_optional:
            return path
        raise ModelError(f'{path} has no int8 file: {variant.name} is missing beside it; use precision "float32".')
    return variant


def check_float_name(path: Path) -> None:
    """Raise `InputError` if a model that does not compute in int8 would get the name of an int8 file."""
    if path.name.endswith(INT8_SUFFIX):
        raise InputError(f"{path}: only the name of a model that computes in int8 ends in {INT8_SUFFIX}.")


def _read_manifest(path: Path, task: str) -> Manifest:
    try:
        manifest = read_manifest(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if manifest.task != task:
        raise ModelError(f"{path} is a model for {manifest.task}; expected one for {task}.")
    return manifest


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"{path}: cannot be read: {reason(error)}.")


def open_session(model: Path | bytes, threads: int = 0, *, device: str = "auto") -> InferenceSession:
    """Open an ONNX Runtime session for a file or a serialized graph.

    Args:
        model: the file or the graph.
        threads: threads of the session; 0 lets ONNX Runtime choose.
        device: "auto" for the first available of `mien.devices.AUTOMATIC`, or a key of `mien.devices.PROVIDERS`,
            with a number where there are several: "cuda:1".

    Raises:
        InputError: when the device is unknown.
        DeviceError: when the device is not available or cannot run the network.
        ModelError: when ONNX Runtime cannot read it.
    """
    return open_first(lambda device: model, threads, device)[0]
