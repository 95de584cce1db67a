"""Command line: `--prior` of the commands that predict, and `mien prior`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import mien
from mien.cli.main import main
from mien.emotions import EXPRESSIONS
from support.images import no_face, portrait
from support.models import make_model

CALIBRATION = dict(zip(EXPRESSIONS, (0.4, 0.3, 0.1, 0.08, 0.06, 0.03, 0.02, 0.01), strict=True))
SETTING = {**dict.fromkeys(EXPRESSIONS, 0.05), "anger": 0.65}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "tiny.onnx", class_prior=CALIBRATION, temperature=200.0)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(portrait("astronaut")).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.fixture
def setting(tmp_path):
    path = tmp_path / "setting.json"
    path.write_text(json.dumps(SETTING), encoding="utf-8")
    return path


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def probabilities(out):
    return np.array(list(json.loads(out)["faces"][0]["expression"]["probabilities"].values()))


def corrected(plain, target):
    """Return p'(c|x), proportional to p(c|x) * target(c) / calibration(c)."""
    weighted = plain * np.array(list(target.values())) / np.array(list(CALIBRATION.values()))
    return weighted / weighted.sum()


def test_predict_corrects_probabilities_for_a_file(model, photo, setting, capsys):
    _, out, _ = run(capsys, "predict", photo, "--model", model, "--json")
    plain = probabilities(out)
    code, out, err = run(capsys, "predict", photo, "--model", model, "--json", "--prior", setting)
    assert (code, err) == (0, "")
    np.testing.assert_allclose(probabilities(out), corrected(plain, SETTING), atol=2e-6)


def test_analyzer_corrects_for_one_call_and_when_it_is_copied(model, photo):
    analyzer = mien.Analyzer(model, threads=1)
    plain = analyzer.analyze(photo)[0].expression.probabilities
    uniform = corrected(plain, dict.fromkeys(EXPRESSIONS, 1 / 8))
    one_call = analyzer.analyze(photo, prior="uniform")[0].expression
    np.testing.assert_allclose(one_call.probabilities, uniform, atol=1e-6)
    assert one_call.label == EXPRESSIONS[int(uniform.argmax())]
    copy = analyzer.with_options(prior=SETTING)
    assert copy.options.prior == pytest.approx(SETTING)
    np.testing.assert_allclose(copy.analyze(photo)[0].expression.probabilities, corrected(plain, SETTING), atol=1e-6)
    np.testing.assert_allclose(analyzer.analyze(photo)[0].expression.probabilities, plain)


def test_evaluate_corrects_before_it_counts(model, photo, setting, tmp_path, capsys):
    _, out, _ = run(capsys, "predict", photo, "--model", model, "--json", "--prior", setting)
    predicted = EXPRESSIONS[int(probabilities(out).argmax())]
    assert predicted == "anger"
    (tmp_path / "t.csv").write_text("image,label\nface.png,anger\n")
    data = ["--dataset", "table", "--data", tmp_path / "t.csv", "--json"]
    _, out, _ = run(capsys, "evaluate", "--model", model, *data)
    assert json.loads(out)["accuracy"] == 0
    _, out, _ = run(capsys, "evaluate", "--model", model, *data, "--prior", setting)
    record = json.loads(out)
    assert record["accuracy"] == 1
    assert record["prior"] == str(setting)


def test_prior_writes_frequencies_that_predict_reads(model, photo, tmp_path, capsys):
    output = tmp_path / "prior.json"
    Image.fromarray(no_face()).save(tmp_path / "wall.png")
    code, out, err = run(capsys, "prior", photo, tmp_path / "wall.png", "--model", model, "-o", output)
    assert code == 0
    assert "mien: only 1 face; take at least 200" in err
    assert out.startswith("1 face\n")
    assert "anger" in out
    shares = json.loads(output.read_text())
    assert tuple(shares) == EXPRESSIONS
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert run(capsys, "predict", photo, "--model", model, "--prior", output)[0] == 0


def test_prior_counts_an_image_once(model, photo, capsys):
    code, out, _ = run(capsys, "prior", photo, photo.parent, photo.parent / "*.png", "--model", model)
    assert code == 0
    assert out.startswith("1 face\n")


def test_prior_reports_what_it_overwrites(model, photo, tmp_path, capsys):
    output = tmp_path / "prior.json"
    output.write_text("{}")
    code, _, err = run(capsys, "prior", photo, "--model", model, "-o", output)
    assert code == 0
    assert f"mien: overwriting {output}\n" in err


def test_prior_refuses_a_manifest_and_a_folder(model, photo, tmp_path, capsys):
    manifest = model.with_suffix(".json")
    before = manifest.read_bytes()
    (tmp_path / "folder.json").mkdir()
    for output, problem in ((manifest, "is the manifest of a model"), (tmp_path / "folder.json", "is a directory")):
        code, out, err = run(capsys, "prior", photo, "--model", model, "-o", output)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"mien: {output} {problem}" in err
    assert manifest.read_bytes() == before


def test_prior_reports_unreadable_images(model, photo, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    code, _, err = run(capsys, "prior", photo, tmp_path / "broken.jpg", "--model", model)
    assert code == 1
    assert err.count("broken.jpg") == 1


def test_prior_reports_misspelled_options_and_empty_folders(model, photo, tmp_path, capsys):
    code, _, err = run(capsys, "prior", photo, "--ouput", tmp_path / "p.json", "--model", model)
    assert (code, err) == (2, "mien: unknown option --ouput. Try: mien prior --help\n")
    (tmp_path / "empty").mkdir()
    output = tmp_path / "new" / "p.json"
    code, _, err = run(capsys, "prior", photo, tmp_path / "empty", "-o", output, "--model", model)
    assert code == 1
    assert f"mien: no images found in {tmp_path / 'empty'}" in err
    assert output.is_file()


@pytest.mark.parametrize("command", [["predict"], ["prior"], ["evaluate"]])
def test_a_model_without_class_prior_is_one_clear_error(tiny_model, photo, tmp_path, capsys, command):
    (tmp_path / "t.csv").write_text("image,label\nface.png,anger\n")
    inputs = {
        "predict": [photo, "--prior", "uniform"],
        "prior": [photo],
        "evaluate": ["--dataset", "table", "--data", tmp_path / "t.csv", "--prior", "uniform"],
    }[command[0]]
    code, out, err = run(capsys, *command, *inputs, "--model", tiny_model)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "has no class_prior in its manifest" in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--prior", "nowhere.json"], "nowhere.json: no such file"),
        (["--prior", "uniform", "--max-error", "0.1"], "max_error cannot be combined with prior"),
        (["--prior", "https://example.org/prior.json"], "--prior"),
    ],
)
def test_reports_bad_priors_in_one_line(model, photo, capsys, options, problem):
    code, out, err = run(capsys, "predict", photo, "--model", model, *options)
    assert (code, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1
