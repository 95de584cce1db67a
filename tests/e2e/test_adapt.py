"""`mien adapt`: a model file adapted to a folder or a table of labeled photographs."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import mien
from mien.adaptation.correction import Correction
from mien.adaptation.model_file import write_corrected
from mien.cli.main import main
from mien.errors import InputError
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import read_manifest
from mien.runtime import find_model
from support.datasets import zip_folder
from support.images import bust

LABELS = {"astronaut": "surprise", "biden": "anger", "obama": "happiness"}
"""Labels that differ from the predictions of the shipped models."""
VARIANTS = 9


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder with one subfolder per class, and a table of the same images with a column of groups."""
    folder = tmp_path_factory.mktemp("photographs")
    rows = [("image", "label", "session")]
    for name, label in LABELS.items():
        for number in range(VARIANTS):
            image = Image.fromarray(bust(name)).resize((160 + 8 * number, 190 + 8 * number))
            path = folder / "photos" / label / f"{name}{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            ImageEnhance.Brightness(image).enhance(0.7 + 0.06 * number).save(path)
            rows.append((f"photos/{label}/{path.name}", label, f"session {number}"))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


def run_adapt(*arguments):
    return main(["adapt", *map(str, arguments)])


def test_adapts_to_a_folder_and_predicts_its_labels(photographs, tmp_path, capsys):
    output = tmp_path / "mine.onnx"
    code = run_adapt("compact", photographs / "photos", "-o", output)
    out, err = capsys.readouterr()
    assert code == 0, err
    assert "wrote" in out
    analyzer = mien.Analyzer(output, threads=1)
    labels = [analyzer.analyze(photographs / f"photos/{label}/{name}4.jpg") for name, label in LABELS.items()]
    assert [result[0].expression.top(1)[0][0] for result in labels] == list(LABELS.values())
    manifest = json.loads(output.with_suffix(".json").read_text())
    assert manifest["source"]["adapted_from"] == "compact, version 2"
    assert manifest["trained_on"][-1]["name"].endswith("27 faces, adaptation")
    ((data, protocols),) = manifest["metrics"].items()
    assert data.endswith("/cross-validated")
    assert set(protocols) == {"labels", "labels, before adaptation"}
    assert set(protocols["labels"]) >= {"n", "accuracy", "balanced_accuracy", "ece"}


def test_license_names_restrictions_of_the_labeled_faces(photographs, tmp_path):
    index = replace(mien.read_dataset("folder", photographs / "photos"), title="Faces", license="for research")
    manifest = mien.adapt("compact", index, tmp_path / "mine.onnx").manifest
    assert manifest is not None
    before = read_manifest(find_model("compact")).license
    assert manifest.license == f"{before}; restricted by its training data: Faces: 27 faces, adaptation (for research)"


def test_adapts_to_a_zip_archive(photographs, tmp_path, capsys):
    archive = zip_folder(photographs / "photos", tmp_path / "photos.zip")
    assert run_adapt("compact", archive, "-o", tmp_path / "mine.onnx") == 0, capsys.readouterr().err
    assert "27 faces, five-fold cross-validation" in capsys.readouterr().out


def test_images_of_the_test_split_only_are_an_error(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("image,label,split\na.png,happy,test\nb.png,sad,test\n")
    assert run_adapt("compact", tmp_path / "t.csv", "-o", tmp_path / "mine.onnx") == 2
    assert "all images are in the split test, which is left out" in capsys.readouterr().err


def test_an_adapted_model_is_adapted_again(photographs, tmp_path, capsys):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    assert run_adapt("compact", photographs / "photos", "-o", first) == 0
    other = tmp_path / "photos"
    for label, renamed in (("surprise", "sadness"), ("anger", "surprise"), ("happiness", "anger")):
        shutil.copytree(photographs / "photos" / label, other / renamed)
    assert run_adapt(first, other, "-o", second) == 0, capsys.readouterr().err
    result = mien.Analyzer(second, threads=1).analyze(other / "sadness" / "astronaut4.jpg")
    assert result[0].expression.top(1)[0][0] == "sadness"


def test_a_file_that_is_no_model_is_one_clear_error(photographs, tmp_path, capsys):
    (tmp_path / "broken.onnx").write_text("no model")
    assert run_adapt(tmp_path / "broken.onnx", photographs / "photos", "-o", tmp_path / "mine.onnx") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_adapts_to_a_table_with_groups(photographs, tmp_path, capsys):
    code = run_adapt("compact", photographs / "table.csv", "--group", "session", "-o", tmp_path / "mine.onnx")
    err = capsys.readouterr().err
    assert code == 0, err
    assert "--group" not in err
    source = json.loads((tmp_path / "mine.json").read_text())["source"]
    assert source["groups"] == "session"


def test_unknown_group_names_the_columns(photographs, tmp_path, capsys, monkeypatch):
    # the error comes before the prediction, which takes hours on large data sets
    monkeypatch.setattr("mien.adaptation.adapt.predict_dataset", None)
    code = run_adapt("compact", photographs / "table.csv", "--group", "person", "-o", tmp_path / "mine.onnx")
    assert code == 2
    assert "session" in capsys.readouterr().err


def test_output_must_not_have_the_name_of_an_int8_file(photographs, tmp_path):
    with pytest.raises(InputError, match=r"only the name of a model that computes in int8 ends in \.int8\.onnx"):
        mien.adapt("compact", mien.read_dataset("folder", photographs / "photos"), tmp_path / "mine.int8.onnx")
    assert not list(tmp_path.iterdir())


def test_refuses_a_model_that_computes_in_float16(photographs, tmp_path, capsys):
    pytest.importorskip("torch")
    half = tmp_path / "half.onnx"
    assert main(["export", "compact", "--precision", "float16", "-o", str(half)]) == 0
    capsys.readouterr()
    assert run_adapt(half, photographs / "photos", "-o", tmp_path / "mine.onnx") == 2
    assert capsys.readouterr().err == (
        "mien: the model computes in float16; adapt the float32 model that it was made from.\n"
    )


def test_output_must_be_a_model_file(photographs, tmp_path, capsys):
    code = run_adapt("compact", photographs / "photos", "-o", tmp_path / "mine.json")
    assert code == 2
    assert ".onnx" in capsys.readouterr().err


def test_refuses_to_overwrite_a_file_that_is_not_a_manifest(photographs, tmp_path, capsys):
    (tmp_path / "mine.json").write_text('{"anger": 1.0}')
    assert run_adapt("compact", photographs / "photos", "-o", tmp_path / "mine.onnx") == 2
    message = f"mien: {tmp_path / 'mine.json'} is not a manifest and would be overwritten; give another --output.\n"
    assert capsys.readouterr().err == message
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine.json", '{"anger": 1.0}')]


@pytest.mark.parametrize("name", ["compact", "expression", "mobile", "open"])
def test_every_shipped_model_takes_a_correction(name, tmp_path):
    classifier = ExpressionClassifier(name, threads=1, precision="float32")
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    embeddings = classifier.embeddings(crops)
    rng = np.random.default_rng(1)
    correction = Correction(scale=0.7, weight=0.01 * rng.normal(size=(8, embeddings.shape[1])), bias=rng.normal(size=8))
    write_corrected(find_model(name), correction, classifier.manifest, tmp_path / "corrected.onnx")
    corrected = ExpressionClassifier(tmp_path / "corrected.onnx", threads=1)
    calibrated = classifier.logits(crops) / classifier.manifest.temperature
    expected = 0.7 * calibrated + embeddings @ correction.weight.T + correction.bias
    np.testing.assert_allclose(corrected.logits(crops), expected, atol=2e-3)
    maps = np.stack([explanation.maps.mean(axis=(1, 2)) for explanation in corrected.explain(crops)])
    shifts = corrected.logits(crops) - maps
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[0], shifts.shape), atol=5e-2)


def test_images_without_a_face_are_skipped(photographs, tmp_path, capsys):
    for label in ("anger", "happiness"):
        for number in range(15):
            pixels = np.random.default_rng(number).integers(0, 256, (80, 80, 3), dtype=np.uint8)
            path = tmp_path / "noise" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    assert run_adapt("compact", tmp_path / "noise", "-o", tmp_path / "noise.onnx") == 2
    assert "no face was detected in any of the 30 labeled images" in capsys.readouterr().err
    assert not (tmp_path / "noise.onnx").exists()


def test_absent_classes_are_named(photographs, tmp_path, capsys):
    run_adapt("compact", photographs / "photos", "-o", tmp_path / "new" / "mine.onnx")
    assert "no face shows neutral, sadness, disgust, fear, contempt" in capsys.readouterr().err
    assert (tmp_path / "new" / "mine.onnx").is_file()
