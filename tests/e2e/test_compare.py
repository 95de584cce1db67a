"""End-to-end tests of `mien compare`."""

import json

import pytest

from mien.cli.compare import distinct_names
from mien.cli.main import main
from support.datasets import write_ferplus
from support.models import make_model


def dataset(folder):
    return ["--dataset", "ferplus", "--data", write_ferplus(folder)]


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_compares_two_models_and_writes_the_report(tiny_model, explainable_model, tmp_path, capsys):
    data = [*dataset(tmp_path / "ferplus"), "--split", "train"]
    code, out, err = run(capsys, "compare", tiny_model, explainable_model, *data, "--json")
    record = json.loads(out)
    assert (code, err, record["n"]) == (0, "", 2)
    assert sum(record["table"].values()) == record["n"]
    assert len({record[key]["sha256"] for key in ("first", "second")}) == 2
    for model, key in ((tiny_model, "first"), (explainable_model, "second")):
        evaluation = json.loads(run(capsys, "evaluate", "--model", model, *data, "--json")[1])
        assert evaluation["accuracy"] == record[key]["accuracy"]
        assert record[key]["name"] == model.stem
    report = tmp_path / "report"
    code, out, err = run(capsys, "compare", tiny_model, explainable_model, *data, "--flip-tta", "-o", report)
    assert code == 0
    assert "McNemar's test" in out
    assert err == f"mien: wrote {report / 'comparison.html'}\n"
    assert {path.name for path in report.iterdir()} >= {"comparison.html", "recalls.png", "faces.png"}


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (("expression", "runs/mine.onnx"), ("expression", "mine")),
        (("runs/full/model.onnx", "runs/sum/model.onnx"), ("full", "sum")),
        (("full/best/model.onnx", "/else/sum/best/model.onnx"), ("full", "sum")),
        (("open", "runs/open.onnx"), ("open", "runs/open.onnx")),
        (("a/m.onnx", "a/m.onnx"), ("a/m.onnx", "a/m.onnx")),
    ],
)
def test_models_have_distinct_names(models, names):
    assert distinct_names(*models) == names


def test_a_model_does_not_differ_from_itself(tiny_model, tmp_path, capsys):
    data = [*dataset(tmp_path / "ferplus"), "--split", "train"]
    code, out, _ = run(capsys, "compare", tiny_model, tiny_model, *data)
    assert code == 0
    assert "The difference is not significant: McNemar's test gives p = 1.000." in out


def test_reports_unknown_classes_and_unknown_models_in_one_line(tiny_model, tmp_path, capsys):
    names = ("a", "b", "c", "d", "e", "f", "g", "h")
    other = make_model(tmp_path / "other.onnx", labels=names)
    data = [*dataset(tmp_path / "ferplus"), "--split", "test"]
    for second, problem in ((other, "the model other cannot predict"), ("nothing", "unknown model 'nothing'")):
        code, out, err = run(capsys, "compare", tiny_model, second, *data)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert problem in err
