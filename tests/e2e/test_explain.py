"""End-to-end tests of `mien explain`."""

import json

import pytest
from PIL import Image

from mien.cli.main import main
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
    assert "upper" in out
    with Image.open(tmp_path / "astronaut-explained.png") as drawing:
        assert min(drawing.size) > 400
    assert run(capsys, "explain", image, "--model", explainable_model, "-o", "new/a.jpg")[0] == 0
    with Image.open(tmp_path / "new/a.jpg") as drawing:
        assert drawing.format == "JPEG"


def test_json_prints_the_maps_and_writes_no_image(explainable_model, examples, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["explain", examples / "astronaut.jpg", "--model", explainable_model, "--label", "fear", "--json"]
    code, out, err = run(capsys, *arguments)
    (face,) = json.loads(out)["faces"]
    assert (code, err, face["explained"]) == (0, "", "fear")
    assert set(face["maps"]) == set(face["expression"]["probabilities"])
    assert [len(row) for row in face["maps"]["fear"]] == [6] * 6
    assert sum(face["region_weights"].values()) == pytest.approx(1, abs=1e-5)
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


def test_explains_a_face_upside_down_like_an_upright_one(examples, tmp_path, capsys):
    with Image.open(examples / "biden.jpg") as image:
        image.rotate(180).save(tmp_path / "rotated.png")
    faces = [
        json.loads(run(capsys, "explain", path, "--json")[1])["faces"]
        for path in (examples / "biden.jpg", tmp_path / "rotated.png")
    ]
    [[upright], [rotated]] = faces
    assert rotated["expression"]["label"] == upright["expression"]["label"] == "neutral"
