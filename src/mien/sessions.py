"""ONNX Runtime sessions on a device."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.cpu_features import has_int8_products
from mien.devices import CPU, Device, find_devices, mark_failed, provider_options
from mien.errors import DeviceError, ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_REASON = 200
"""Maximum number of characters of a provider's own message in an error."""
QUIET, NORMAL = 4, 2
"""Severities from which ONNX Runtime logs on: fatal errors, and its default, warnings."""


def open_first(choose: Callable[[Device], Path | bytes], threads: int, device: str) -> tuple[InferenceSession, Device]:
    """Open a session on the named device, or on the first that works for "auto".

    Args:
        choose: returns the model file or the serialized graph for a device.
        threads: threads of the session; 0 lets ONNX Runtime choose.
        device: see `mien.devices.parse_device`.

    Returns:
        The session and its device.

    Raises:
        InputError: when the device is unknown, or the number of threads is out of range.
        DeviceError: when the device is not available or cannot run the network.
        ModelError: when ONNX Runtime cannot read the model.
    """
    # imports NumPy, which --help does without
    from mien.arguments import check_threads

    threads = check_threads(threads)
    *others, last = find_devices(device)
    import onnxruntime as ort

    failed: list[Device] = []
    for candidate in others:
        ort.set_default_logger_severity(QUIET)
        try:
            session = _open(choose(candidate), threads, candidate)
            break
        except DeviceError:
            failed.append(candidate)
        finally:
            ort.set_default_logger_severity(NORMAL)
    else:
        candidate = last
        session = _open(choose(last), threads, last)
    # the model is sound, since another device has opened it
    for other in failed:
        mark_failed(other)
    return session, candidate


def _open(model: Path | bytes, threads: int, device: Device) -> InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # errors are raised; they need not be logged too
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not has_int8_products():
        # the x86 kernels for signed weights add in 16 bits, where sums saturate; those for unsigned ones are exact
        options.add_session_config_entry("session.x64quantprecision", "1")
    chain = [device]
    if device.kind == "directml":
        options.enable_mem_pattern = False
    elif device.kind == "tensorrt":
        chain.append(Device("cuda", device.unit))
    if device.kind in ("cuda", "tensorrt"):
        check_cuda(device)
    providers: list[Any] = [(item.provider.name, provider_options(item, threads)) for item in chain]
    name = "the graph" if isinstance(model, bytes) else model
    try:
        source = model if isinstance(model, bytes) else str(model)
        # by default ONNX Runtime prints a failure and continues on the CPU
        session = ort.InferenceSession(source, options, providers=providers, enable_fallback=0)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        if device == CPU:
            raise ModelError(f"{name}: ONNX Runtime cannot read it: {lines[0]}") from None
        # OpenVINO's message is a chain of its functions; the cause is at its end
        reason = lines[-1][-MAX_REASON:].strip()
        raise DeviceError(f'{name}: device "{device}" cannot run it: {reason}') from None
    if session.get_providers()[0] != device.provider.name:
        raise DeviceError(
            f'device "{device}" cannot start: ONNX Runtime found no such hardware or driver; see docs/devices.md.'
        )
    if device.kind == "directml":
        run_one_at_a_time(session)
    return session


def run_one_at_a_time(session: InferenceSession) -> None:
    """Make `session.run` wait for runs of other threads, which DirectML does not support at once."""
    lock = threading.Lock()
    run = session.run

    def run_alone(*arguments: Any, **options: Any) -> Any:
        with lock:
            return run(*arguments, **options)

    session.run = run_alone


_cuda_lock = threading.Lock()


def check_cuda(device: Device) -> None:
    """Load CUDA and cuDNN from the packages of `mien[gpu]` or from the system.

    Raises:
        DeviceError: when libraries of CUDA are missing.
    """
    with _cuda_lock:
        missing = _load_cuda()
    if missing:
        raise DeviceError(
            f'device "{device}" cannot start: {", ".join(missing)} cannot be loaded. '
            "Install CUDA and cuDNN: pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )


@cache
def _load_cuda() -> tuple[str, ...]:
    """Return the names of the libraries that cannot be loaded; ONNX Runtime prints them."""
    import onnxruntime as ort

    with redirect_stdout(io.StringIO()) as output:
        # available from ONNX Runtime 1.21 on
        getattr(ort, "preload_dlls", lambda: None)()
    return tuple(re.findall(r"^Failed to load ([^\s:]+):", output.getvalue(), flags=re.MULTILINE))
