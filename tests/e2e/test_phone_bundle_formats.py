"""Phone bundles in formats other than ONNX: static graphs pass the golden tests in the runtime of their format."""

import json
from types import SimpleNamespace

import pytest

from mien.cli.main import main
from mien.errors import InputError, ParityError

conversion = pytest.importorskip("mien.export.formats.conversion")
onnx_format = pytest.importorskip("mien.export.formats.onnx_format")
check = pytest.importorskip("mien.export.bundle.check")
write = pytest.importorskip("mien.export.bundle.write")

CONVERTERS = {"litert": "litert_torch", "executorch": "executorch"}
SUFFIXES = {"litert": ".tflite", "executorch": ".pte"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def onnx_backend(monkeypatch):
    """Replace the backends of all formats by that of ONNX, which is installed everywhere."""
    monkeypatch.setattr(conversion, "import_module", lambda name: onnx_format)


@pytest.mark.parametrize(("name", "tensors"), [("litert", "by name"), ("executorch", "by order")])
def test_static_graphs_pass_the_golden_tests(name, tensors, onnx_backend, tmp_path):
    contract = write.write_bundle("mobile", tmp_path / "phone", canvas=320, format=name)
    assert contract == read(tmp_path / "phone" / "contract.json")
    assert (contract["format"], contract["call"]["tensors"]) == (name, tensors)
    files = [graph["file"] for graph in contract["graphs"].values()]
    assert files == [f"detector{SUFFIXES[name]}", f"expression{SUFFIXES[name]}"]
    assert all((tmp_path / "phone" / file).is_file() for file in files)
    assert any("static" in limit for limit in contract["limits"])
    check.check_bundle(tmp_path / "phone")


def test_refuses_graphs_beyond_the_tolerance(monkeypatch, tmp_path):
    def open_wrong_runner(path, threads, signature):
        run = onnx_format.open_runner(path, threads, signature)

        def run_wrong(inputs):
            first, *others = run(inputs)
            return [first + 0.6, *others]

        return run_wrong

    backend = SimpleNamespace(convert=onnx_format.convert, open_runner=open_wrong_runner)
    monkeypatch.setattr(conversion, "import_module", lambda name: backend)
    with pytest.raises(ParityError, match=r"portrait\.rgb, face 0: boxes differ from Python's by 0\.6"):
        write.write_bundle("mobile", tmp_path / "phone", canvas=320, format="litert")
    assert not list(tmp_path.iterdir())


def test_missing_converter_names_its_extra(monkeypatch, tmp_path, capsys):
    def fail(name):
        raise ModuleNotFoundError("no module", name="litert_torch")

    monkeypatch.setattr(conversion, "import_module", fail)
    assert main(["export", "mobile", "--bundle", str(tmp_path / "phone"), "--format", "litert"]) == 2
    assert "mien[litert]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_refuses_core_ml(tmp_path, capsys):
    assert main(["export", "mobile", "--bundle", str(tmp_path / "phone"), "--format", "coreml"]) == 2
    assert "expected one of onnx, litert, executorch for a phone bundle" in capsys.readouterr().err
    with pytest.raises(InputError, match="coreml"):
        write.write_bundle("mobile", tmp_path / "phone", format="coreml")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONVERTERS)
def test_converted_bundle_passes_its_golden_tests(name, tmp_path, capsys):
    pytest.importorskip(CONVERTERS[name], reason=f"needs the extra {name}")
    folder = tmp_path / "phone"
    assert main(["export", "mobile", "--bundle", str(folder), "--format", name, "--canvas", "320", "--pose"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert f"mesh{SUFFIXES[name]}" in line
    assert "golden tests passed" in line
    differences = check.largest_differences(folder)
    assert differences["boxes"] < 0.1
    assert differences["probabilities"] < 0.002
    assert differences["mesh"] < 0.2
