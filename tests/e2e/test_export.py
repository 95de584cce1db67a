"""From a folder of faces to a model file: `mien train`, `mien export`, `mien models`."""

import shutil
from dataclasses import replace

import pytest
import torch

from mien.cli.main import main
from mien.cli.outputs import check_no_loss
from mien.errors import InputError
from mien.manifest import TrainingSource, read_manifest
from mien.training.checkpoint import load_checkpoint, save_checkpoint
from support.training import write_recipe, write_stripes


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "faces", train=4, valid=2)


@pytest.fixture(scope="module")
def run_folder(stripes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder, stripes, epochs=2, frozen=0)
    assert main(["train", str(recipe), "training.evaluate_steps=0", "-o", str(folder / "run")]) == 0
    return folder / "run"


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_training_prints_every_epoch_without_a_terminal(stripes, tmp_path, capsys):
    recipe = write_recipe(tmp_path, stripes, epochs=2, frozen=0)
    code, out, err = run(capsys, "train", recipe, "training.evaluate_steps=0", "-o", tmp_path / "run")
    assert code == 0
    lines = err.splitlines()
    assert lines[0] == "training/validation faces: neutral 4/2, happiness 4/2, surprise 4/2"
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert "last.ckpt" in out


def test_exports_the_best_checkpoint_of_a_run(run_folder, stripes, tmp_path, capsys):
    last = load_checkpoint(run_folder / "last.ckpt")
    path = tmp_path / "a.onnx"
    code, out, err = run(capsys, "export", run_folder, "-o", path)
    assert (code, err) == (0, "")
    best = load_checkpoint(run_folder / "best.ckpt")
    assert f"uncalibrated  from {run_folder / 'best.ckpt'}, step {best.step}" in out
    assert read_manifest(path).source["step"] == best.step
    code, out, err = run(
        capsys, "export", run_folder / "last.ckpt", "-o", path, "--dataset", "folder", "--data", stripes
    )
    assert code == 0
    assert read_manifest(path).source["step"] == last.step
    assert "mien: only 6 validation faces" in err
    assert f"mien: replaced the model that was in {path}" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.onnx"]
    code, out, _ = run(capsys, "models", path)
    assert "folder faces, 12 training faces" in out
    assert "CC0 (stated by the user)" in out
    assert "VGGFace2" not in out


def test_a_new_calibration_replaces_the_metrics(stripes, tmp_path, capsys):
    path = tmp_path / "a.onnx"
    assert run(capsys, "export", "compact", "-o", path)[0] == 0
    assert list(read_manifest(path).metrics) == ["ferplus/valid"]
    assert run(capsys, "export", "compact", "-o", path, "--dataset", "folder", "--data", stripes)[0] == 0
    assert list(read_manifest(path).metrics) == ["folder/valid"]


def test_license_of_the_result_names_what_restricts_it(run_folder, tmp_path, capsys):
    source = TrainingSource(name="VGGFace2", license="CC BY-NC 4.0")
    checkpoint = load_checkpoint(run_folder / "last.ckpt")
    save_checkpoint(replace(checkpoint, trained_on=(source,)), tmp_path / "a.ckpt")
    assert run(capsys, "export", tmp_path / "a.ckpt", "-o", tmp_path / "a.onnx")[0] == 0
    manifest = read_manifest(tmp_path / "a.onnx")
    assert manifest.trained_on == (source,)
    assert manifest.license == "CC0; restricted by its training data: VGGFace2 (CC BY-NC 4.0)"


def test_checkpoint_of_another_version_is_refused_in_one_line(run_folder, tmp_path, capsys):
    record = torch.load(run_folder / "last.ckpt", weights_only=True)
    renamed = {**record, "ema": {f"trunk.{name}": value for name, value in record["ema"].items()}}
    newer = {**record, "config": {**record["config"], "augment": {"cutmix": 1.0}}}
    for number, (changed, problem) in enumerate(((renamed, "has other layers"), (newer, "unknown key augment.cutmix"))):
        path = tmp_path / f"{number}.ckpt"
        torch.save(changed, path)
        code, out, err = run(capsys, "export", path, "-o", tmp_path / "a.onnx")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert problem in err
        assert str(path) in err
    assert run(capsys, "export", tmp_path, "-o", tmp_path / "a.onnx")[0] == 2
    assert not (tmp_path / "a.onnx").exists()


def test_interrupted_export_leaves_the_earlier_model(run_folder, tmp_path, capsys, monkeypatch):
    path = tmp_path / "a.onnx"
    assert run(capsys, "export", run_folder, "-o", path)[0] == 0
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.export.onnx.write_manifest", interrupt)
    assert run(capsys, "export", run_folder / "last.ckpt", "-o", path, "--weights", "float32")[0] == 130
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.onnx"]


def test_float16_uses_abstain_and_commit_and_reports_broken_images(run_folder, stripes, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(stripes, data)
    (data / "valid/neutral/0.png").write_bytes(b"broken")
    arguments = ("--dataset", "folder", "--data", data, "--abstain", "0.5", "--commit", "abc")
    path = tmp_path / "a.onnx"
    code, _, err = run(capsys, "export", run_folder, "-o", path, "--precision", "float16", *arguments)
    assert code == 1
    assert "1 missing or broken image counts as an error: valid/neutral/0.png" in err
    manifest = read_manifest(path)
    assert manifest.source["commit"] == "abc"
    assert manifest.abstain_below > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--precision float16 --quantize int8 --weights int8", "--weights, --quantize: no effect on onnx files in flo"),
        ("--precision float16 --max-loss 0.1", "--max-loss: no effect without int8"),
        ("--max-loss 0.5 --calibration-faces 3", "--calibration-faces, --max-loss: no effect without int8"),
        ("--abstain 0.4 --split test", "--abstain, --split: no effect without --data"),
        ("--format litert --split test", "--split: no effect without --data"),
        ("--commit abc", "--commit: no effect on a model file, which states its own"),
        ("--format litert --weights float16", "--weights: no effect on litert files in float32"),
        ("--precision float32 --quantize int8", "--quantize: no effect with --precision float32"),
        ("--precision float16 --canvas 320", "--canvas: no effect without --bundle"),
        ("--pose", "--pose: no effect without --bundle"),
    ],
)
def test_options_without_effect_are_rejected(tmp_path, capsys, arguments, message):
    code, out, err = run(capsys, "export", "mobile", "-o", tmp_path / "a.onnx", *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--abstain 0.4", "--split test", "--commit abc", "--max-loss 0.2"])
def test_bundle_rejects_options_of_model_files(tmp_path, capsys, option):
    code, out, err = run(capsys, "export", "mobile", "--bundle", tmp_path / "phone", *option.split())
    assert (code, out) == (2, "")
    assert "--bundle takes a finished .onnx model and no options of --output" in err
    assert list(tmp_path.iterdir()) == []


def test_name_of_an_int8_file_is_for_int8(tmp_path, capsys):
    for options in (["--weights", "int8"], ["--precision", "float16"]):
        code, _, err = run(capsys, "export", "compact", "-o", tmp_path / "compact.int8.onnx", *options)
        assert (code, err.count("\n")) == (2, 1)
        assert "only the name of a model that computes in int8 ends in .int8.onnx" in err
    assert list(tmp_path.iterdir()) == []


def test_converted_model_replaces_only_a_model(tmp_path, capsys):
    own = tmp_path / "own.onnx"
    assert run(capsys, "export", "compact", "-o", own)[0] == 0
    (tmp_path / "labels.json").write_text('{"my": "labels"}')
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "folder.onnx" / "thesis.txt").write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, problem in (
        ("own.onnx", "is the model itself"),
        ("labels.onnx", "labels.json is not a manifest and would be overwritten"),
        ("folder.onnx", "is a directory"),
    ):
        code, out, err = run(capsys, "export", own, "--precision", "float16", "-o", tmp_path / name)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert problem in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    arguments = ("export", own, "--precision", "float16", "-o", tmp_path / "half.onnx")
    assert "replaced" not in run(capsys, *arguments)[2]
    assert run(capsys, *arguments)[2] == f"mien: replaced the model that was in {tmp_path / 'half.onnx'}\n"


def test_core_ml_package_may_be_replaced(tmp_path):
    package = tmp_path / "a.mlpackage"
    package.mkdir()
    (package / "Manifest.json").write_text("{}")
    check_no_loss(package, "mobile")


def test_other_folder_is_not_replaced_by_core_ml(tmp_path):
    package = tmp_path / "a.mlpackage"
    package.mkdir()
    with pytest.raises(InputError, match="is a directory"):
        check_no_loss(package, "mobile")


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_recipes_for_own_data_train(root, tmp_path, capsys, kind):
    """The stripes are no faces: crops are used whole, so the table is read as face crops by its folder."""
    data = write_stripes(tmp_path / "own", train=2, valid=1)
    recipe = root / f"recipes/{kind}.toml"
    changes = [f"data.path={data}", "data.dataset=folder", "data.patch=32", "data.size=32", "model.upsample=64"]
    changes += ["training.epochs=1", "training.threads=1", 'training.device="cpu"', "data.license=mine"]
    code, _, err = run(capsys, "train", recipe, *changes, "-o", tmp_path / "run")
    assert code == 0, err
    sources = load_checkpoint(tmp_path / "run/last.ckpt").trained_on
    assert [source.license for source in sources][:2] == ["mine (stated by the user)", "Apache-2.0"]
