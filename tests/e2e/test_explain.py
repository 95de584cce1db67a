"""End-to-end tests of `mien explain`."""

import json

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.inference.explain import explain
from support.images import no_face


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_writes_no_image_without_a_face(explainable_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(no_face()).save(tmp_path / "wall.png")
    code, out, err = run(capsys, "explain", "wall.png", "--model", explainable_model)
    assert (code, out, err) == (0, "wall.png: no face found\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["wall.png"]


def test_writes_the_image_to_the_current_folder_or_to_output(
    explainable_model, examples, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    image = examples / "astronaut.jpg"
    code, out, err = run(capsys, "explain", image, "--model", explainable_model)
    assert (code, err) == (0, "mien: wrote astronaut-explained.png\n")
    assert out.startswith("face 1: ")
    assert "with a hidden region: right eye and brow" in out
    with Image.open(tmp_path / "astronaut-explained.png") as drawing:
        assert min(drawing.size) > 400
    assert run(capsys, "explain", image, "--model", explainable_model, "-o", "new/a.jpg")[0] == 0
    with Image.open(tmp_path / "new/a.jpg") as drawing:
        assert drawing.format == "JPEG"


def test_a_folder_as_output_is_refused_before_the_analysis(tmp_path, capsys):
    (tmp_path / "a.png").mkdir()
    for command in (["explain", "none.jpg", "-o"], ["data", "check", "--data", tmp_path, "--leaks"]):
        code, out, err = run(capsys, *command, tmp_path / "a.png")
        assert (code, out, err) == (2, "", f"mien: {tmp_path / 'a.png'} is a directory; expected a file name.\n")


def test_json_prints_the_maps_and_writes_no_image(explainable_model, examples, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["explain", examples / "astronaut.jpg", "--model", explainable_model, "--label", "fear", "--json"]
    code, out, err = run(capsys, *arguments)
    (face,) = json.loads(out)["faces"]
    assert (code, err, face["explained"]) == (0, "", "fear")
    assert set(face["maps"]) == set(face["expression"]["probabilities"])
    assert [len(row) for row in face["maps"]["fear"]] == [6] * 6
    assert list(face["region_drops"])[-1] == "mouth and chin"
    assert list(tmp_path.iterdir()) == []


def test_reports_problems_in_one_line(tiny_model, explainable_model, examples, tmp_path, capsys):
    image, target = examples / "astronaut.jpg", tmp_path / "a.png"
    Image.open(image).save(target)
    for problem, arguments in {
        "has no output maps": [image, "--model", tiny_model, "-o", target],
        "no class 'joy'": [image, "--model", explainable_model, "--label", "joy", "-o", target],
        "must end in": [image, "--model", explainable_model, "-o", tmp_path / "a.txt"],
        "is the image itself": [target, "--model", explainable_model, "-o", target],
        "none.jpg": ["none.jpg", "--model", explainable_model],
    }.items():
        code, out, err = run(capsys, "explain", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert problem in err


def test_help_states_what_a_map_does_not_show(capsys):
    assert main(["explain", "--help"]) == 0
    assert "not why a person feels" in " ".join(capsys.readouterr().out.split())


@pytest.fixture(scope="module")
def shown(examples):
    """The faces of an example image, explained by the default model."""
    return explain(examples / "biden.jpg") + explain(examples / "astronaut.jpg")


def test_hiding_bright_parts_of_the_map_costs_more_than_hiding_dark_ones(shown, examples):
    """Deletion test on the predicted class: a fifth of the crop is filled with its mean color."""
    analyzer = Analyzer()
    drops = {True: [], False: []}
    for name in ("biden.jpg", "group.jpg"):
        pixels = read_image(examples / name)
        _, crops = analyzer.crop_faces(pixels, analyzer.detect(pixels))
        for crop, explanation in zip(crops, analyzer.classifier.explain(np.stack(crops)), strict=True):
            label = explanation.expression.labels[int(explanation.expression.probabilities.argmax())]
            heat = np.kron(explanation.heat(label), np.ones((13, 13)))[: len(crop), : len(crop)]
            order = np.argsort(heat, axis=None, kind="stable")
            for is_bright in drops:
                part = order[-order.size // 5 :] if is_bright else order[: order.size // 5]
                hidden = crop.reshape(-1, 3).copy()
                hidden[part] = crop.mean(axis=(0, 1))
                (changed,) = analyzer.classifier.classify(hidden.reshape(crop.shape)[None])
                drops[is_bright].append(explanation.expression[label] - changed[label])
    assert len(drops[True]) == 12
    assert np.mean(drops[True]) > np.mean(drops[False]) + 0.01


def test_region_drops_differ_between_faces(shown):
    """They were one constant for every face when they were attention weights."""
    first, second = (list(face.explanation.region_drops(face.label).values()) for face in shown)
    assert np.abs(np.subtract(first, second)).max() > 0.2
    assert shown[1].label == "happiness"
    assert np.argmax(second) == 3, "a smile is in the mouth"


def test_class_at_zero_percent_is_darker_than_the_predicted_one(shown):
    for face in shown:
        probabilities = face.explanation.expression.probabilities
        names = face.explanation.expression.labels
        peaks = np.array([face.explanation.heat(name).max() for name in names])
        assert peaks[probabilities.argmax()] == 1.0
        assert peaks[probabilities < 0.001].max() < 0.35
        assert peaks[probabilities.argmin()] < 0.05


def test_explains_a_face_upside_down_like_an_upright_one(examples, tmp_path, capsys):
    with Image.open(examples / "biden.jpg") as image:
        image.rotate(180).save(tmp_path / "rotated.png")
    faces = [
        json.loads(run(capsys, "explain", path, "--json")[1])["faces"]
        for path in (examples / "biden.jpg", tmp_path / "rotated.png")
    ]
    [[upright], [rotated]] = faces
    assert rotated["expression"]["label"] == upright["expression"]["label"] == "neutral"
