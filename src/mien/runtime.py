"""Model files opened for inference: the one place that knows ONNX Runtime."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ModelError, UnknownModelError
from mien.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ASSETS = Path(__file__).parent / "assets"
DEFAULT_MODEL = "expression"
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container how many microseconds of processor it gets in how many."""


def usable_cores() -> int:
    """Cores that this process may use: a container's and a cluster job's share of the machine's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, _, period = CPU_QUOTA.read_text(encoding="ascii").partition(" ")
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file here, or "max": no limit
        return cores


@dataclass(frozen=True)
class LoadedModel:
    """An ONNX Runtime session (safe to call from many threads) and the manifest that it was checked against."""

    session: InferenceSession
    manifest: Manifest
    path: Path


def shipped_models(task: str = "expression") -> list[str]:
    """Names of the shipped models for a task, sorted."""
    names = (path.stem for path in ASSETS.glob("*.onnx"))
    return sorted(name for name in names if read_manifest(ASSETS / f"{name}.onnx").task == task)


def find_model(name_or_path: str | Path) -> Path:
    """The file behind a shipped model's name or a path.

    Raises:
        UnknownModelError: when there is neither.
        ModelError: when the file system does not let us look.
    """
    path = Path(name_or_path)
    shipped = ASSETS / f"{name_or_path}.onnx"
    try:
        if path.suffix == ".onnx" and path.is_file():
            return path
        if path.name == str(name_or_path) and shipped.is_file():
            return shipped
    except OSError as error:  # a name too long, or a folder that may not be entered
        raise _unreadable(path, error) from None
    raise UnknownModelError(str(name_or_path), shipped_models() or ["(none is shipped)"])


def load_model(name_or_path: str | Path, *, task: str = "expression", threads: int = 0) -> LoadedModel:
    """Open a model after checking its manifest.

    Args:
        name_or_path: a shipped model's name or the path of an `.onnx` file with a manifest beside it.
        task: what the model must be for.
        threads: of the session; 0 lets ONNX Runtime choose.

    Raises:
        ModelError: when the model is unknown, its manifest is wrong, or ONNX Runtime cannot read it.
    """
    path = find_model(name_or_path)
    try:
        manifest = read_manifest(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if manifest.task != task:
        raise ModelError(f"{path} is a model for {manifest.task}, not for {task}.")
    return LoadedModel(open_session(path, threads), manifest, path)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}.")


def open_session(model: Path | bytes, threads: int = 0) -> InferenceSession:
    """An ONNX Runtime session on the CPU for a file, or for a graph in memory.

    Raises:
        ModelError: when ONNX Runtime cannot read it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # mien is offline; some builds report to their maker
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
