"""Model files and ONNX Runtime sessions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import InputError, ModelError, UnknownModelError
from mien.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ASSETS = Path(__file__).parent / "assets"
DEFAULT_MODEL = "expression"
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


@dataclass(frozen=True)
class LoadedModel:
    """Thread-safe ONNX Runtime session with the manifest of its model file."""

    session: InferenceSession
    manifest: Manifest
    path: Path


def shipped_models(task: str = "expression") -> list[str]:
    """Return the sorted names of the shipped models for a task."""
    names = (path.stem for path in ASSETS.glob("*.onnx"))
    return sorted(name for name in names if read_manifest(ASSETS / f"{name}.onnx").task == task)


def find_model(name_or_path: str | Path) -> Path:
    """Return the file of a model given by the name of a shipped model or by its path.

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
        if path.name == str(name_or_path) and shipped.is_file():
            return shipped
    except OSError as error:
        raise _unreadable(path, error) from None
    raise UnknownModelError(str(name_or_path), shipped_models() or ["(none shipped)"])


def load_model(name_or_path: str | Path, *, task: str = "expression", threads: int = 0) -> LoadedModel:
    """Load a model and validate its manifest.

    Args:
        name_or_path: name of a shipped model, or path of an `.onnx` file with a manifest beside it.
        task: expected task of the model.
        threads: threads of the session; 0 lets ONNX Runtime choose.

    Raises:
        ModelError: when the model is unknown, its manifest is invalid, or ONNX Runtime cannot read it.
    """
    path = find_model(name_or_path)
    try:
        manifest = read_manifest(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if manifest.task != task:
        raise ModelError(f"{path} is a model for {manifest.task}; expected one for {task}.")
    return LoadedModel(open_session(path, threads), manifest, path)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}.")


def open_session(model: Path | bytes, threads: int = 0) -> InferenceSession:
    """Open an ONNX Runtime session on the CPU for a file or a serialized graph.

    Raises:
        ModelError: when ONNX Runtime cannot read it.
    """
    # Some builds of ONNX Runtime send telemetry; mien works offline.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        source = model if isinstance(model, bytes) else str(model)
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        name = "the graph" if isinstance(model, bytes) else model
        raise ModelError(f"{name}: ONNX Runtime cannot read it: {str(error).splitlines()[0]}") from None
