"""`mien compare` as a user calls it."""

import json

import pytest

from mien.cli.compare import _names
from mien.cli.main import main
from support.datasets import write_ferplus
from support.models import make_model


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_two_models_on_the_same_faces(tiny_model, explainable_model, tmp_path, capsys):
    data = ["--data", write_ferplus(tmp_path / "ferplus"), "--split", "train"]
    code, out, err = run(capsys, "compare", tiny_model, explainable_model, *data, "--json")
    record = json.loads(out)
    assert (code, err, record["n"]) == (0, "", 2)
    assert sum(record["table"].values()) == record["n"]
    assert len({record[key]["sha256"] for key in ("first", "second")}) == 2
    for model, key in ((tiny_model, "first"), (explainable_model, "second")):
        alone = json.loads(run(capsys, "evaluate", "--model", model, *data, "--json")[1])
        assert alone["accuracy"] == record[key]["accuracy"]
    report = tmp_path / "report"
    code, out, _ = run(
        capsys, "compare", tiny_model, explainable_model, *data, "--flip-tta", "--report", report
    )
    assert code == 0
    assert "McNemar's test" in out or "equally often" in out
    assert {path.name for path in report.iterdir()} >= {"comparison.html", "recalls.png", "faces.png"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("expression", "runs/mine.onnx"), ("expression", "mine")),
        (("runs/full/model.onnx", "runs/sum/model.onnx"), ("full", "sum")),
        (("full/best/model.onnx", "/else/sum/best/model.onnx"), ("full", "sum")),
        (("open", "runs/open.onnx"), ("open", "runs/open.onnx")),
        (("a/m.onnx", "a/m.onnx"), ("a/m.onnx", "a/m.onnx")),
    ],
)
def test_labels_tell_the_models_apart(words, names):
    assert _names(*words) == names


def test_a_model_is_no_better_than_itself(tiny_model, tmp_path, capsys):
    data = ["--data", write_ferplus(tmp_path / "ferplus"), "--split", "train"]
    code, out, _ = run(capsys, "compare", tiny_model, tiny_model, *data)
    assert code == 0
    assert "Both are right equally often (p = 1.000)." in out


def test_other_classes_and_unknown_models_are_one_line(tiny_model, tmp_path, capsys):
    names = ("a", "b", "c", "d", "e", "f", "g", "h")
    other = make_model(tmp_path / "other.onnx", labels=names)
    data = ["--data", write_ferplus(tmp_path / "ferplus")]
    for second, problem in ((other, "the model other does not know"), ("nothing", "no model 'nothing'")):
        code, out, err = run(capsys, "compare", tiny_model, second, *data)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert problem in err
