"""A phone bundle is complete, and a program in Node that reads nothing else passes its golden tests."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mien.cli.main import main
from mien.errors import InputError, ModelError, ParityError
from mien.export.bundle.check import check_bundle
from mien.export.bundle.contract import build_contract
from mien.export.bundle.write import check_folder, write_bundle
from mien.manifest import file_sha256, read_manifest, write_manifest
from mien.runtime import find_model

CONSUMER = Path(__file__).parents[2] / "examples" / "phone"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone") / "bundle"
    write_bundle("mobile", folder, canvas=320, mesh=True)
    return folder


@pytest.fixture
def copy(bundle, tmp_path):
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def read(folder, *parts):
    return json.loads(folder.joinpath(*parts).read_text(encoding="utf-8"))


def edit_golden(folder, edit):
    golden = read(folder, "golden", "golden.json")
    edit(golden["cases"][1]["faces"][0])
    (folder / "golden" / "golden.json").write_text(json.dumps(golden), encoding="utf-8")


def keep_edited_case(folder):
    """Leave out the mesh and the other images, so that the consumer starts in less time."""
    golden, contract = read(folder, "golden", "golden.json"), read(folder, "contract.json")
    golden["cases"] = golden["cases"][1:2]
    del contract["graphs"]["mesh"]
    (folder / "golden" / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")


def run_consumer(folder):
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    if not (CONSUMER / "node_modules" / "onnxruntime-node").is_dir():
        pytest.skip("onnxruntime-node is not installed: npm --prefix examples/phone ci --ignore-scripts")
    return subprocess.run(
        ["node", str(CONSUMER / "check.mjs"), str(folder)], capture_output=True, text=True, timeout=300, check=False
    )


def test_contract_describes_every_file_and_tensor(bundle):
    contract = read(bundle, "contract.json")
    assert sorted(contract["graphs"]) == ["detector", "expression", "mesh"]
    for graph in contract["graphs"].values():
        assert file_sha256(bundle / graph["file"]) == graph["sha256"]
        for tensor in (*graph["inputs"], *graph["outputs"]):
            assert tensor["shape"]
            assert tensor["type"] in ("uint8", "int32", "float32")
            assert tensor["meaning"]
    assert contract["call"]["tensors"] == "by name"
    assert not any("static" in limit for limit in contract["limits"])
    assert len(contract["labels"]) == contract["graphs"]["expression"]["outputs"][0]["shape"][0]
    assert any("mesh" in step for step in contract["steps"])
    assert contract["video"].keys() == {"detection_interval_s", "memory_s", "time_constant_s", "hysteresis", "formula"}
    assert {"camera_permission", "notice", "consent", "forbidden"} <= contract["texts"].keys()
    names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    assert {"licenses/LICENSE", "licenses/NOTICE", "licenses/Apache-2.0.txt"} <= set(names)
    assert {"manifests/mobile.json", "manifests/face-detector.json", "manifests/face-landmarks.json"} <= set(names)


def test_golden_tests_cover_no_face_and_several(bundle):
    golden = read(bundle, "golden", "golden.json")
    cases = golden["cases"]
    assert golden["rule"]
    assert all(face.keys() == golden["tolerances"].keys() for case in cases for face in case["faces"])
    assert sorted(len(case["faces"]) for case in cases) == [0, 1, 2]
    # saturated probabilities would not notice an error of the preprocessing
    assert min(max(face["probabilities"]) for case in cases for face in case["faces"]) < 0.95


def test_altered_golden_value_fails(copy):
    edit_golden(copy, lambda face: face["probabilities"].__setitem__(0, face["probabilities"][0] + 0.02))
    with pytest.raises(ParityError, match=r"pair\.rgb, face 0: probabilities differ"):
        check_bundle(copy)


def test_graph_that_does_not_run_is_a_model_error(copy):
    contract = read(copy, "contract.json")
    contract["graphs"]["expression"]["inputs"][2]["name"] = "scores"
    (copy / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    with pytest.raises(ModelError, match=r"expression\.onnx: .*scores"):
        check_bundle(copy)


def test_model_without_quality_temperature(tmp_path):
    model = tmp_path / "adapted.onnx"
    shutil.copyfile(find_model("mobile"), model)
    manifest = replace(read_manifest(find_model("mobile")), quality_temperature=None)
    write_manifest(manifest, model)
    contract = write_bundle(model, tmp_path / "bundle", canvas=320)
    names = [tensor["name"] for tensor in contract["graphs"]["expression"]["inputs"]]
    assert names == ["image", "size", "box", "landmarks"]
    calibration = contract["inside_the_graphs"]["calibration"]
    assert calibration == {"temperature": manifest.temperature, "formula": "softmax(logits / temperature)"}


def test_consumer_in_node_passes_the_golden_tests(bundle):
    result = run_consumer(bundle)
    assert (result.returncode, result.stderr) == (0, "")
    assert "passed: 3 images" in result.stdout


def test_consumer_fails_on_a_missing_golden_value(copy):
    edit_golden(copy, lambda face: face["probabilities"].pop())
    keep_edited_case(copy)
    result = run_consumer(copy)
    assert result.returncode == 1
    assert "failed: pair.rgb, face 0: probabilities has 7 golden values, the graph returns 8" in result.stderr


def test_consumer_fails_on_an_altered_golden_value(copy):
    edit_golden(copy, lambda face: face["boxes"].__setitem__(2, face["boxes"][2] + 1))
    keep_edited_case(copy)
    result = run_consumer(copy)
    assert result.returncode == 1
    assert "failed: pair.rgb, face 0: boxes[2] is" in result.stderr


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"contains other files and no contract\.json"):
        write_bundle("mobile", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_folder_with_a_contract_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "contract.json").write_text('{"parties": []}', encoding="utf-8")
    (tmp_path / "app.kt").write_text("code", encoding="utf-8")
    with pytest.raises(InputError, match=r"contains other files and no contract\.json"):
        check_folder(tmp_path)


@pytest.mark.parametrize("name", ["labels_de.json", "licenses/onnxruntime.txt", ".git/HEAD", "golden/more/face.rgb"])
def test_a_bundle_with_other_files_is_not_replaced(copy, name):
    check_folder(copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("own", encoding="utf-8")
    with pytest.raises(InputError, match=rf"not of the bundle and would be deleted: {re.escape(name)};"):
        write_bundle("mobile", copy)
    assert (copy / name).read_text(encoding="utf-8") == "own"


@pytest.mark.parametrize("has_bundle", [False, True])
def test_the_working_directory_can_be_the_folder(bundle, tmp_path, monkeypatch, has_bundle):
    folder = tmp_path / "app"
    shutil.copytree(bundle, folder) if has_bundle else folder.mkdir()
    if has_bundle:
        (folder / "mesh.tflite").write_bytes(b"of the earlier bundle")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("mien.export.bundle.write.check_bundle", lambda _: None)
    write_bundle("mobile", Path(), canvas=320)
    names = {path.name for path in Path().iterdir()}
    assert names == {"contract.json", "detector.onnx", "expression.onnx", "golden", "licenses", "manifests"}
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_contract_states_the_data_of_the_calibration():
    manifest = read_manifest(find_model("mobile"))
    for metrics, data in (({}, "no data set"), ({"rafdb/valid": {}, "folder/test": {}}, "rafdb/valid, folder/test")):
        contract = build_contract(replace(manifest, metrics=metrics), "onnx", 320, {})
        assert any(text.startswith(f"Probabilities are calibrated on {data};") for text in contract["limits"])
        assert contract["thresholds"]["meaning"].endswith(f"measured on {data}")


def test_reports_a_replaced_bundle(copy, monkeypatch, capsys):
    monkeypatch.setattr("mien.export.bundle.write.check_bundle", lambda _: None)
    assert main(["export", "mobile", "--bundle", str(copy), "--canvas", "320"]) == 0
    assert capsys.readouterr().err == f"mien: replaced the bundle that was in {copy}\n"


@pytest.mark.parametrize("canvas", [100, 650, 4096])
def test_refuses_a_canvas_out_of_range(canvas, tmp_path):
    with pytest.raises(InputError, match=f"canvas is {canvas}"):
        write_bundle("mobile", tmp_path / "bundle", canvas=canvas)


def test_refuses_a_bundle_beside_a_model_file(tmp_path, capsys):
    code = main(["export", "mobile", "--bundle", str(tmp_path / "a"), "-o", str(tmp_path / "a.onnx")])
    assert code == 2
    assert "--bundle" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
