"""A trained head for valence and arousal: generated AffectNet files, training, model file, prediction, evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import mien
from mien.cli.main import main
from support.datasets import write_affectnet
from support.images import portrait

RECIPE = """
name = "affect"
[model]
name = "efficientface"
width = 0.25
[data]
dataset = "affectnet"
path = {path!r}
patch = 32
size = 32
[target]
valence_arousal = {weight}
[augment]
strength = 0.0
unaligned = 0.0
[training]
epochs = 60
batch = 16
lr = 3e-3
head_lr = 3e-3
warmup = 5
ema = 0.9
threads = 1
device = "cpu"
evaluate_steps = 1000
"""


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory):
    """AffectNet whose images are bright for positive valence, whatever the class; every tenth has none (-2)."""
    root = write_affectnet(tmp_path_factory.mktemp("affectnet"), train=9, test=4)
    rng = np.random.default_rng(0)
    for number, file in enumerate(sorted(root.glob("*/images/*.jpg"))):
        valence = rng.uniform(-0.9, 0.9)
        Image.fromarray(np.full((32, 32, 3), round(128 + 120 * valence), np.uint8)).save(file)
        is_missing = "train_set" in file.parts and number % 10 == 0
        notes = file.parents[1] / "annotations" / f"{file.stem}_val.npy"
        np.save(notes, np.array("-2" if is_missing else f"{valence:.3f}"))
    return root


@pytest.fixture(scope="module")
def model(affectnet, tmp_path_factory):
    """A model file with a trained head."""
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "affect.toml"
    recipe.write_text(RECIPE.format(path=str(affectnet), weight=10.0))
    assert main(["train", str(recipe), "--output", str(folder / "run"), "--quiet"]) == 0
    assert (
        main(["export", str(folder / "run"), "-o", str(folder / "affect.onnx"), "--weights", "float32", "--quiet"]) == 0
    )
    return folder / "affect.onnx"


def evaluate(capsys, model, affectnet):
    arguments = ["--data", affectnet, "--dataset", "affectnet", "--split", "test", "--json", "--quiet"]
    assert main(["evaluate", "--model", *map(str, (model, *arguments))]) in (0, 1)
    return json.loads(capsys.readouterr().out)["affect"]


def test_the_head_learns_what_the_probabilities_cannot_give(model, affectnet, capsys):
    """Annotated valence does not depend on the class, so that a derived value cannot agree with it."""
    trained = evaluate(capsys, model, affectnet)
    assert (trained["source"], trained["n"]) == ("trained", 32)
    assert trained["valence"]["ccc"] > 0.8
    assert trained["valence"]["rmse"] < 0.3
    derived = evaluate(capsys, "open", affectnet)
    assert derived["source"] == "derived"
    assert derived["valence"]["ccc"] < 0.3


def test_predictions_come_from_the_head_and_say_so(model, capsys):
    analyzer = mien.Analyzer(model, threads=1)
    [face] = analyzer.analyze(portrait("astronaut"))
    expression = face.expression
    assert expression.trained_affect is not None
    assert (expression.valence, expression.arousal) == expression.trained_affect
    assert expression.valence_arousal() != expression.trained_affect
    record = expression.to_dict()
    assert record["affect"] == "trained"
    assert record["valence"] == pytest.approx(expression.trained_affect[0], abs=1e-4)


def test_evaluation_prints_both_scores(model, affectnet, capsys):
    arguments = ["--data", affectnet, "--dataset", "affectnet", "--split", "test", "--quiet"]
    main(["evaluate", "--model", *map(str, (model, *arguments))])
    out = capsys.readouterr().out
    assert "trained, n = 32" in out
    assert "CCC" in out
    assert "RMSE" in out


def test_a_head_without_annotated_faces_is_refused(tmp_path, capsys):
    root = write_affectnet(tmp_path / "data", train=2, test=1)
    for file in root.glob("*/annotations/*_val.npy"):
        np.save(file, np.array("-2"))
    recipe = tmp_path / "affect.toml"
    recipe.write_text(RECIPE.format(path=str(root), weight=1.0))
    assert main(["train", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 2
    assert "no training face has valence and arousal" in capsys.readouterr().err
