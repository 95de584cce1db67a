"""Devices: execution providers of ONNX Runtime, by the hardware or library that they use."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import Literal

from mien.errors import DeviceError, InputError

# Some builds of ONNX Runtime send telemetry; mien works offline. It is read when onnxruntime is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Precision = Literal["auto", "float32", "int8"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "int8")
CACHE_VARIABLE = "MIEN_CACHE"
"""Environment variable with a folder where TensorRT and OpenVINO keep compiled networks; by default they keep none."""


@dataclass(frozen=True)
class Provider:
    """An execution provider and the way to install it.

    Attributes:
        name: in ONNX Runtime.
        package: distribution that contains it.
        extra: extra of mien that installs the package; empty for packages without one.
    """

    name: str
    package: str
    extra: str = ""


PROVIDERS = {
    "cpu": Provider("CPUExecutionProvider", "onnxruntime"),
    "cuda": Provider("CUDAExecutionProvider", "onnxruntime-gpu", "gpu"),
    "tensorrt": Provider("TensorrtExecutionProvider", "onnxruntime-gpu", "gpu"),
    "openvino": Provider("OpenVINOExecutionProvider", "onnxruntime-openvino", "openvino"),
    "directml": Provider("DmlExecutionProvider", "onnxruntime-directml", "directml"),
    "migraphx": Provider("MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime"),
}
"""Execution providers by the name of the device."""
AUTOMATIC = ("cuda", "migraphx", "directml", "cpu")
"""Order in which "auto" tries devices. The others compile a network for seconds or minutes: they are used by name."""
NUMBERED = ("cuda", "tensorrt", "directml", "migraphx")
"""Devices with a number, such as "cuda:1", where a machine has several."""

_failed: set[str] = set()
"""Devices that "auto" tried in vain in this process."""


@dataclass(frozen=True)
class Device:
    """A device; see `parse_device`.

    Attributes:
        kind: key of `PROVIDERS`.
        unit: number of the device, or OpenVINO's name of it; empty for the default.
    """

    kind: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.unit}" if self.unit else self.kind

    @property
    def provider(self) -> Provider:
        """The execution provider."""
        return PROVIDERS[self.kind]


CPU = Device("cpu")


def parse_device(device: str) -> Device | None:
    """Return the device with a name such as "cpu", "cuda:1" or "openvino:gpu"; None for "auto".

    Raises:
        InputError: when the device is unknown.
    """
    kind, has_unit, unit = device.partition(":") if isinstance(device, str) else ("", "", "")
    pattern = r"[a-zA-Z]+(\.\d+)?" if kind == "openvino" else r"\d+" if kind in NUMBERED else ""
    is_unit = re.fullmatch(pattern, unit, re.ASCII) is not None
    if kind in PROVIDERS and (is_unit or not has_unit):
        return Device(kind, unit)
    if device == "auto":
        return None
    names = ("auto", *PROVIDERS)
    hint = difflib.get_close_matches(kind, names, n=1)
    is_other = bool(hint) and hint[0] != kind
    example = f'did you mean "{hint[0]}"?' if is_other else 'a unit follows as in "cuda:1" and "openvino:gpu.1".'
    raise InputError(f"unknown device {device!r}; expected one of {', '.join(names)}; {example}")


def check_precision(precision: str) -> None:
    """Raise `InputError` for an unknown precision."""
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; expected one of {', '.join(PRECISIONS)}.")


def find_devices(device: str) -> list[Device]:
    """Return the devices to try, in order: the named one, or the available ones of "auto".

    Raises:
        InputError: when the device is unknown.
        DeviceError: when the installed build of ONNX Runtime does not support it.
    """
    named = parse_device(device)
    available = available_devices()
    if named is None:
        return [Device(kind) for kind in AUTOMATIC if kind in available and kind not in _failed]
    if named.kind not in available:
        raise DeviceError(explain_absence(named))
    return [named]


def mark_failed(device: Device) -> None:
    """Keep "auto" from trying a device again in this process."""
    _failed.add(device.kind)


def failed_devices() -> list[str]:
    """Return the devices that "auto" tried in vain in this process."""
    return sorted(_failed)


def available_devices() -> list[str]:
    """Return the names of the devices that the installed build of ONNX Runtime supports.

    Raises:
        DeviceError: when ONNX Runtime cannot be imported, as after the removal of one of two builds.
    """
    try:
        import onnxruntime as ort

        names: list[str] = ort.get_available_providers()  # pyright: ignore[reportAttributeAccessIssue]
    except (ImportError, AttributeError) as error:
        package = next(iter(installed_builds()), "onnxruntime")
        raise DeviceError(f"ONNX Runtime cannot start ({error}): pip install --force-reinstall {package}") from None
    return [kind for kind, provider in PROVIDERS.items() if provider.name in names]


def installed_builds() -> dict[str, str]:
    """Return the installed distributions of ONNX Runtime with their versions; they exclude each other."""
    from importlib.metadata import PackageNotFoundError, version  # only errors and `mien doctor` need it

    builds: dict[str, str] = {}
    for package in sorted({provider.package for provider in PROVIDERS.values()}):
        try:
            builds[package] = version(package)
        except PackageNotFoundError:
            continue
    return builds


def explain_conflict(builds: dict[str, str], package: str = "") -> str:
    """Return the command that leaves one build of several; empty for a single build.

    Args:
        builds: see `installed_builds`.
        package: build to keep; by default the first that is not for the CPU only.
    """
    if len(builds) < 2:
        return ""
    package = package or next(name for name in builds if name != "onnxruntime")
    names = " ".join(builds)
    return f"pip uninstall -y {names} && pip install {package}=={builds[package]}"


def explain_absence(device: Device) -> str:
    """Return why a device is not available and what to do, in one line."""
    provider = device.provider
    builds = installed_builds()
    if provider.package in builds and (repair := explain_conflict(builds, provider.package)):
        names = " and ".join(builds)
        return f'device "{device}": the installed {names} overwrite each other: {repair}'
    if provider.package in builds:
        return f'device "{device}": {provider.package} {builds[provider.package]} does not support it on this platform.'
    package = f"'mien[{provider.extra}]'" if provider.extra else provider.package
    return f'device "{device}" needs another build of ONNX Runtime: pip install {package}'


def provider_options(device: Device, threads: int) -> dict[str, str]:
    """Return the options of a device's execution provider.

    Args:
        device: a device.
        threads: threads of the session; 0 lets the provider choose.
    """
    cache = os.environ.get(CACHE_VARIABLE)
    if device.kind == "openvino":
        options = {"device_type": device.unit.upper() or "CPU"}
        if threads:
            options["num_of_threads"] = str(threads)
        return options | ({"cache_dir": cache} if cache else {})
    options = {"device_id": device.unit} if device.unit else {}
    if device.kind == "cuda":
        # batches and detector inputs change their shape; an exhaustive search would time every algorithm for each
        options["cudnn_conv_algo_search"] = "HEURISTIC"
    if device.kind == "tensorrt" and cache:
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
    return options
