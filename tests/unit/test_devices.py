from __future__ import annotations

import onnxruntime
import pytest

from mien import devices
from mien.devices import (
    PROVIDERS,
    Device,
    available_devices,
    check_precision,
    explain_conflict,
    find_devices,
    parse_device,
    provider_options,
)
from mien.errors import DeviceError, InputError


@pytest.fixture
def build(monkeypatch):
    """Return a function that replaces the providers and distributions of ONNX Runtime."""

    def replace(providers, distributions):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
        monkeypatch.setattr(devices, "installed_builds", lambda: distributions)
        monkeypatch.setattr(devices, "_failed", set())

    return replace


@pytest.mark.parametrize("name", [*PROVIDERS, "cuda:0", "cuda:1", "tensorrt:2", "openvino:GPU", "directml:1"])
def test_names_of_devices(name):
    assert str(parse_device(name)) == name


def test_auto_is_no_particular_device():
    assert parse_device("auto") is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cudda", 'did you mean "cuda"'),
        ("cuda:", "cuda:1"),
        ("cuda:x", "cuda:1"),
        ("cuda:-1", "cuda:1"),
        ("cpu:0", "cuda:1"),
        ("auto:1", "cuda:1"),
        ("openvino:", "openvino:gpu.1"),
        ("openvino:gpu.", "openvino:gpu.1"),
        ("", "expected one of auto, cpu, cuda"),
        (None, "unknown device None"),
        (0, "unknown device 0"),
    ],
)
def test_rejects_unknown_devices(name, hint):
    with pytest.raises(InputError, match=hint) as error:
        parse_device(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("precision", ["int16", "float16", "", None, 8])
def test_rejects_unknown_precisions(precision):
    with pytest.raises(InputError, match="expected one of auto, float32, int8"):
        check_precision(precision)


def test_cpu_is_always_available():
    assert "cpu" in available_devices()
    assert find_devices("cpu") == [Device("cpu")]
    assert find_devices("auto")[-1] == Device("cpu")


def test_auto_takes_a_gpu_first_and_compiles_for_none(build):
    providers = [provider.name for provider in PROVIDERS.values()]
    build(providers, {})
    assert list(map(str, find_devices("auto"))) == ["cuda", "migraphx", "directml", "cpu"]


def test_auto_tries_a_failed_device_once(build):
    build(["CUDAExecutionProvider", "CPUExecutionProvider"], {})
    devices.mark_failed(Device("cuda"))
    assert find_devices("auto") == [Device("cpu")]
    assert find_devices("cuda") == [Device("cuda")]


@pytest.mark.parametrize(("device", "extra"), [("cuda", "gpu"), ("tensorrt:1", "gpu"), ("openvino", "openvino")])
def test_absent_device_names_the_extra(build, device, extra):
    build(["CPUExecutionProvider"], {"onnxruntime": "1.30.0"})
    with pytest.raises(DeviceError) as error:
        find_devices(device)
    assert str(error.value) == f"device \"{device}\" needs another build of ONNX Runtime: pip install 'mien[{extra}]'"


def test_absent_device_without_an_extra_names_the_package(build):
    build(["CPUExecutionProvider"], {"onnxruntime": "1.30.0"})
    with pytest.raises(DeviceError, match=r"pip install onnxruntime-migraphx$"):
        find_devices("migraphx")


def test_device_of_another_platform_says_so(build):
    build(["CPUExecutionProvider"], {"onnxruntime": "1.30.0"})
    with pytest.raises(DeviceError, match=r"onnxruntime 1\.30\.0 does not support it on this platform"):
        find_devices("coreml")


def test_two_builds_are_named_with_the_repair(build):
    build(["CPUExecutionProvider"], {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.29.1"})
    with pytest.raises(DeviceError) as error:
        find_devices("cuda:1")
    assert str(error.value) == (
        'device "cuda:1": the installed onnxruntime and onnxruntime-gpu overwrite each other: '
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu==1.29.1"
    )


def test_one_build_is_no_conflict():
    assert explain_conflict({}) == explain_conflict({"onnxruntime-gpu": "1.29.1"}) == ""


def test_options_of_the_providers(monkeypatch):
    monkeypatch.delenv("MIEN_CACHE", raising=False)
    assert provider_options(Device("cpu"), 2) == {}
    assert provider_options(Device("cuda", "1"), 2)["device_id"] == "1"
    assert provider_options(Device("openvino"), 2) == {"device_type": "CPU", "num_of_threads": "2"}
    assert provider_options(Device("openvino", "gpu"), 0) == {"device_type": "GPU"}
    assert provider_options(Device("tensorrt"), 0) == {}


def test_compiled_networks_are_kept_where_the_variable_says(monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", "networks")
    assert provider_options(Device("openvino"), 0)["cache_dir"] == "networks"
    assert provider_options(Device("tensorrt"), 0)["trt_engine_cache_path"] == "networks"
    assert "networks" not in provider_options(Device("cuda"), 0).values()


def test_second_gpu_of_openvino_has_a_name():
    assert parse_device("openvino:gpu.1") == Device("openvino", "gpu.1")
