from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import devices, runtime
from mien.devices import Device
from mien.errors import DeviceError, InputError, ModelError, UnknownModelError
from mien.faces import FaceDetector
from mien.runtime import choose_file, find_model, load_model, open_session, portable_name, shipped_models
from support.models import make_model

GRAY = np.full((1, 3, 48, 48), 127, dtype=np.float32)


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A folder of shipped models: `pair` has an int8 file with other weights, `single` has none."""
    folder = tmp_path / "assets"
    folder.mkdir()
    make_model(folder / "pair.onnx", name="pair")
    make_model(folder / "pair.int8.onnx", name="pair", temperature=3.0)
    make_model(folder / "single.onnx")
    monkeypatch.setattr(runtime, "ASSETS", folder)
    return folder


@pytest.fixture(params=[True, False], ids=["faster", "slower"])
def is_faster(request, monkeypatch):
    """Pretend that int8 is faster on this CPU, or not."""
    monkeypatch.setattr(runtime, "is_int8_faster", lambda: request.param)
    return request.param


def test_portable_name_is_valid_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert portable_name("compact") == "compact"
    assert portable_name("models/own.onnx") == str(tmp_path.resolve() / "models" / "own.onnx")
    assert portable_name(Path("own.onnx")) == str(tmp_path.resolve() / "own.onnx")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights")
def test_portable_name_keeps_links(tmp_path):
    (tmp_path / "blob").touch()
    (tmp_path / "own.onnx").symlink_to(tmp_path / "blob")
    assert portable_name(tmp_path / "own.onnx") == str(tmp_path / "own.onnx")


def test_variants_are_not_listed(assets):
    assert shipped_models() == ["pair", "single"]


def test_variant_is_not_a_name(assets):
    with pytest.raises(UnknownModelError, match="pair, single"):
        find_model("pair.int8")


def test_auto_takes_int8_where_it_is_faster(assets, is_faster):
    model = load_model("pair", device="cpu")
    assert model.precision == ("int8" if is_faster else "float32")
    assert model.path.name == ("pair.int8.onnx" if is_faster else "pair.onnx")
    assert model.manifest.temperature == (3.0 if is_faster else 1.5)
    assert model.device == "cpu"


def test_auto_takes_float32_of_a_model_without_int8(assets, is_faster):
    assert load_model("single", device="cpu").precision == "float32"


def test_auto_takes_a_path_as_it_is(assets, is_faster):
    assert load_model(assets / "pair.onnx", device="cpu").precision == "float32"
    assert load_model(assets / "pair.int8.onnx", device="cpu").precision == "int8"


def test_auto_takes_float32_on_other_devices(assets, monkeypatch):
    monkeypatch.setattr(runtime, "is_int8_faster", lambda: True)
    path = assets / "pair.onnx"
    assert choose_file(path, "auto", is_shipped=True, device=Device("cuda")) == path
    assert choose_file(path, "int8", is_shipped=True, device=Device("cuda")).name == "pair.int8.onnx"


@pytest.mark.parametrize("model", ["pair", "pair.onnx"])
def test_named_precision_is_followed(assets, is_faster, model):
    model = assets / model if model.endswith(".onnx") else model
    assert load_model(model, device="cpu", precision="int8").path.name == "pair.int8.onnx"
    assert load_model(model, device="cpu", precision="float32").path.name == "pair.onnx"


@pytest.mark.parametrize("model", ["single", "single.onnx"])
def test_missing_int8_file_is_an_error(assets, model):
    model = assets / model if model.endswith(".onnx") else model
    with pytest.raises(ModelError, match=r'single.int8.onnx is missing beside it; use precision "float32"'):
        load_model(model, device="cpu", precision="int8")


def test_float32_of_an_int8_file_is_an_error(assets):
    with pytest.raises(ModelError, match="computes in int8"):
        load_model(assets / "pair.int8.onnx", precision="float32")


def test_shipped_networks_around_the_model_may_lack_int8():
    path = Path("face-detector.onnx")
    assert choose_file(path, "int8", is_shipped=True, is_optional=True) == path
    with pytest.raises(ModelError, match="has no int8 file"):
        choose_file(path, "int8", is_shipped=False, is_optional=True)


def test_variant_needs_a_manifest_of_the_same_task(assets):
    make_model(assets / "pair.int8.onnx", task="face-detection", labels=(), alignment=None)
    with pytest.raises(ModelError, match=r"pair.int8.onnx is a model for face-detection; expected one for expression"):
        load_model("pair", device="cpu", precision="int8")


@pytest.mark.parametrize("arguments", [{"precision": "int4"}, {"device": "gpu"}, {"device": "cuda:one"}])
def test_rejects_unknown_choices(assets, arguments):
    with pytest.raises(InputError, match="unknown"):
        load_model("pair", **arguments)


def test_absent_device_is_an_error_and_not_the_cpu(assets):
    absent = next(kind for kind in ("migraphx", "directml", "cuda") if kind not in devices.available_devices())
    with pytest.raises(DeviceError, match=f'device "{absent}"'):
        load_model("pair", device=absent)


def test_broken_file_is_an_error_of_the_model(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match="ONNX Runtime cannot read it") as error:
        open_session(path)
    assert type(error.value) is ModelError


def test_session_of_a_graph_in_memory(tiny_model):
    outputs = open_session(tiny_model.read_bytes(), 1, device="cpu").run(None, {"images": GRAY})
    np.testing.assert_array_equal(outputs[0], open_session(tiny_model, 1).run(None, {"images": GRAY})[0])


def test_copied_assets_are_paths(tmp_path, assets, is_faster):
    """A user's copy of a shipped file is not shipped: it is taken as it is."""
    for name in ("pair.onnx", "pair.json", "pair.int8.onnx", "pair.int8.json"):
        shutil.copy(assets / name, tmp_path / name)
    assert load_model(tmp_path / "pair.onnx").precision == "float32"


@pytest.mark.parametrize("message", ["CUDA out of memory\nat line 3", ""])
def test_failure_of_a_network_is_a_model_error(message):
    network = load_model("face-detector", task="face-detection", threads=1)

    class Failing:
        def run(self, *_):
            raise RuntimeError(message)

    detector = FaceDetector(threads=1)
    detector.network = replace(network, session=Failing())
    expected = message.partition("\n")[0] or "RuntimeError"
    with pytest.raises(ModelError, match=rf"face-detector\.onnx: {expected}$"):
        detector.detect(np.zeros((64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", [str, Path])
def test_unknown_model_is_named_without_a_password(kind):
    with pytest.raises(UnknownModelError, match=r"unknown model 'https://?host/m\.onnx'") as error:
        find_model(kind("https://user:secret@host/m.onnx"))
    assert "secret" not in str(error.value) + error.value.name
