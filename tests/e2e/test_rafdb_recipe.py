"""The RAF-DB recipe on generated faces: train, interrupt, resume, export, evaluate, report."""

import json
from pathlib import Path

import pytest
import torch

from mien.cli.main import main
from mien.datasets import read_dataset
from mien.manifest import read_manifest
from mien.training.checkpoint import load_checkpoint
from mien.training.config import read_recipe
from mien.training.loop import train
from support.datasets import write_ferplus, write_rafdb

RECIPE = Path(__file__).parents[2] / "recipes/rafdb-hybrid-resnet50.toml"
SMALL = [
    'model.pretrained=""',
    "model.upsample=0",
    "data.patch=48",
    "data.size=48",
    "training.batch=16",
    "training.epochs=1",
    "training.warmup=2",
    "training.checkpoint_steps=1",
    "training.threads=1",
    'training.device="cpu"',
]


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    return write_rafdb(tmp_path_factory.mktemp("rafdb"), "official", train=8, test=4)


def test_recipe_trains_resumes_exports_and_evaluates(rafdb, tmp_path, capsys):
    arguments = ["train", str(RECIPE), *SMALL, f"data.path={rafdb}", f"data.store={tmp_path / 'faces'}"]
    config = read_recipe(RECIPE, arguments[2:])
    train(config, tmp_path / "uninterrupted")

    def stop(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", on_step=stop)
    assert main([*arguments, "--output", str(tmp_path / "run"), "--resume"]) == 0
    checkpoints = [load_checkpoint(tmp_path / name / "last.ckpt") for name in ("uninterrupted", "run")]
    for name, value in checkpoints[0].ema.items():
        assert torch.equal(value, checkpoints[1].ema[name]), name
    assert {path.name for path in (tmp_path / "run").glob("*.png")} >= {"confusion.png", "per_class.png"}

    model = str(tmp_path / "raf.onnx")
    arguments = ["export", str(tmp_path / "run/last.ckpt"), "-o", model]
    assert main([*arguments, "--data", str(rafdb), "--dataset", "rafdb"]) == 0
    capsys.readouterr()
    arguments = ["evaluate", "--model", model, "--data", str(rafdb), "--dataset", "rafdb", "--split", "test"]
    assert main([*arguments, "--json", "-o", str(tmp_path / "report")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["n"] == 28
    assert set(summary["groups"]) == {"gender", "race", "age"}
    assert (tmp_path / "report/groups.png").stat().st_size > 1000
    assert "Accuracy per group" in (tmp_path / "report/report.html").read_text()


def test_recipe_trains_on_ferplus_and_rafdb_together(rafdb, tmp_path, capsys):
    ferplus = write_ferplus(tmp_path / "ferplus")
    path = f"ferplus={ferplus},rafdb={rafdb}"
    arguments = ["train", str(RECIPE), *SMALL, f"data.path={path}", 'data.dataset="joined"']
    arguments += ["model.backbone=face-mobilenet", f"data.store={tmp_path / 'faces'}"]

    def stop(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(read_recipe(RECIPE, arguments[2:]), tmp_path / "run", on_step=stop)
    interrupted = load_checkpoint(tmp_path / "run/last.ckpt").step
    assert main([*arguments, "--output", str(tmp_path / "run"), "--resume"]) == 0
    checkpoint = load_checkpoint(tmp_path / "run/last.ckpt")
    assert checkpoint.step > interrupted
    assert len(checkpoint.labels) == 7
    assert "contempt" not in checkpoint.labels
    index = read_dataset("joined", path)
    assert {sample.groups["dataset"] for sample in index.select("train").samples} == {"ferplus", "rafdb"}

    model = str(tmp_path / "joined.onnx")
    data = ["--data", path, "--dataset", "joined"]
    assert main(["export", str(tmp_path / "run/last.ckpt"), "-o", model]) == 0
    assert read_manifest(Path(model)).source["data"]["name"] == "ferplus+rafdb"
    capsys.readouterr()
    report = str(tmp_path / "report")
    assert main(["evaluate", "--model", model, *data, "--split", "valid", "--json", "-o", report]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["groups"]["dataset"]["groups"]) == {"ferplus", "rafdb"}
    assert "Accuracy per group" in (tmp_path / "report/report.html").read_text()
