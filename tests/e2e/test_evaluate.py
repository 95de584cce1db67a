"""Command line: `mien evaluate`, `mien data` and `mien export`."""

import json

import pytest
from PIL import Image

from mien.cli.main import main
from mien.emotions import EXPRESSIONS
from support.datasets import HAPPY, add_training_face, write_ferplus, zip_folder
from support.images import no_face, portrait
from support.models import make_model
from support.training import write_recipe, write_stripes


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def evaluate_table(model, table):
    """Return the arguments that evaluate a model on a table."""
    return ["evaluate", "--model", model, "--dataset", "table", "--data", table]


REQUIRED = {
    "n", "accuracy", "accuracy_interval", "balanced_accuracy", "macro_f1", "ece", "per_class", "missed_faces",
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_ferplus_reports_both_protocols(tiny_model, tmp_path, capsys, packed):
    root = write_ferplus(tmp_path / "ferplus")
    root = zip_folder(root, tmp_path / "ferplus.zip") if packed else root
    arguments = ["evaluate", "--model", tiny_model, "--dataset", "ferplus", "--data", root, "--split", "valid"]
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record.keys() >= REQUIRED
    assert set(record["protocols"]) == {"majority", "argmax"}
    assert record["n"] == record["protocols"]["majority"]["n"] > 0
    assert record["protocols"]["argmax"]["n"] >= record["n"]


def test_missed_face_in_a_photograph_is_an_error(tiny_model, tmp_path, capsys):
    Image.fromarray(portrait("astronaut")).save(tmp_path / "face.png")
    Image.fromarray(no_face()).save(tmp_path / "wall.png")
    (tmp_path / "t.csv").write_text("image,label\nface.png,happiness\nwall.png,happiness\n")
    code, out, _ = run(capsys, *evaluate_table(tiny_model, tmp_path / "t.csv"), "--json")
    record = json.loads(out)
    assert code == 0
    assert (record["n"], record["missed_faces"]) == (2, 1)
    _, out, _ = run(capsys, "predict", tmp_path / "face.png", "--model", tiny_model, "--json")
    probabilities = json.loads(out)["faces"][0]["expression"]["probabilities"]
    assert record["accuracy"] == (0.5 if max(probabilities, key=probabilities.get) == "happiness" else 0.0)


def write_groups(folder):
    """Write a table of images without a face: two groups in one column, too many in another."""
    folder.mkdir(exist_ok=True)
    for row in range(41):
        Image.fromarray(no_face((60, 60))).save(folder / f"{row}.png")
    rows = [f"{row}.png,happiness,{'ab'[row % 2]},{row},x" for row in range(41)]
    (folder / "t.csv").write_text("\n".join(["image,label,kind,person,same", *rows]) + "\n")
    return folder / "t.csv"


def test_reports_groups_of_a_table(tiny_model, tmp_path, capsys):
    arguments = evaluate_table(tiny_model, write_groups(tmp_path))
    code, out, _ = run(capsys, *arguments, "--json")
    groups = json.loads(out)["groups"]
    assert code == 0
    assert json.loads(out)["groups_left_out"] == {"person": "41 values, more than 40"}
    assert list(groups) == ["kind"]
    assert {name: item["n"] for name, item in groups["kind"]["groups"].items()} == {"a": 21, "b": 20}
    assert groups["kind"]["accuracy_difference"] == 0.0
    code, out, _ = run(capsys, *arguments)
    assert (code, "best to worst 0.0 points" in out) == (0, True)
    assert "Not measured by person: 41 values, more than 40." in out


def test_no_groups_skips_the_results_by_group(tiny_model, tmp_path, capsys):
    arguments = evaluate_table(tiny_model, write_groups(tmp_path))
    code, out, err = run(capsys, *arguments, "--no-groups", "--json")
    assert (code, err, "groups" in json.loads(out)) == (0, "", False)


def test_names_missing_and_broken_images(tiny_model, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "t.csv").write_text("image,label\ntext.jpg,anger\ngone.png,anger\n")
    arguments = evaluate_table(tiny_model, tmp_path / "t.csv")
    code, out, err = run(capsys, *arguments, "--json")
    record = json.loads(out)
    assert (code, record["missed_faces"], record["unreadable"]) == (1, 0, ["text.jpg", "gone.png"])
    assert (record["n"], record["accuracy"]) == (2, 0.0)
    assert "gone.png" in err
    code, out, _ = run(capsys, *arguments, "-o", tmp_path / "report")
    assert "Faces: 2 missing or broken, counted as errors." in out
    page = (tmp_path / "report/report.html").read_text()
    assert "2 missing or broken, counted as errors" in page
    assert "all detected" not in page
    assert "no face found" not in page
    assert "There are no predictions" in page


def test_data_without_splits_is_evaluated_whole(tiny_model, tmp_path, capsys):
    Image.fromarray(portrait("astronaut")).save(tmp_path / "face.png")
    (tmp_path / "t.csv").write_text("image,label\nface.png,happiness\n")
    arguments = [*evaluate_table(tiny_model, tmp_path / "t.csv"), "--json"]
    assert json.loads(run(capsys, *arguments, "--split", "train")[1])["split"] == "all"
    code, out, err = run(capsys, *arguments, "--without-duplicates")
    assert (code, out) == (2, "")
    assert "has no splits" in err


def test_ignores_classes_of_other_splits(tmp_path, capsys):
    """The model lacks contempt, which only occurs in the training split."""
    names = [*EXPRESSIONS[:7], "boredom"]
    tiny_model = make_model(tmp_path / "other.onnx", labels=tuple(names))
    Image.fromarray(portrait("astronaut")).save(tmp_path / "face.png")
    (tmp_path / "t.csv").write_text("image,label,split\nface.png,happiness,test\nface2.png,contempt,train\n")
    arguments = [*evaluate_table(tiny_model, tmp_path / "t.csv"), "--json"]
    assert json.loads(run(capsys, *arguments, "--split", "test")[1])["n"] == 1
    code, _, err = run(capsys, *arguments, "--split", "train")
    assert (code, "contempt" in err) == (2, True)


def test_prints_dashes_for_undefined_numbers(tiny_model, tmp_path, capsys):
    Image.fromarray(no_face()).save(tmp_path / "wall.png")
    (tmp_path / "t.csv").write_text("image,label\nwall.png,happiness\n")
    code, out, _ = run(capsys, *evaluate_table(tiny_model, tmp_path / "t.csv"))
    assert code == 0
    assert "- to -" not in out
    assert out.count(" – ") >= 3


def test_without_duplicates_skips_images_of_another_split(tiny_model, tmp_path, capsys):
    root = write_stripes(tmp_path / "data", train=2, valid=2)
    duplicate = (root / "train/neutral/0.png").read_bytes()
    (root / "valid/neutral/0.png").write_bytes(duplicate)
    arguments = ["evaluate", "--model", tiny_model, "--dataset", "folder", "--data", root, "--split", "valid"]
    whole = json.loads(run(capsys, *arguments, "--json")[1])
    reduced = json.loads(run(capsys, *arguments, "--json", "--without-duplicates")[1])
    assert (whole["n"], reduced["n"]) == (6, 5)


def test_export_rejects_data_with_other_classes(tmp_path, capsys):
    data = write_stripes(tmp_path / "data", train=3, valid=1)
    run(capsys, "train", write_recipe(tmp_path, data, epochs=1), "-o", tmp_path / "run")
    other = write_stripes(tmp_path / "other", train=1, valid=1)
    (other / "valid/neutral").rename(other / "valid/fear")
    checkpoint = tmp_path / "run/last.ckpt"
    code, _, err = run(capsys, "export", checkpoint, "-o", tmp_path / "m.onnx", "--data", other, "--dataset", "folder")
    assert code == 2
    assert "fear" in err


def test_failed_export_keeps_the_existing_files(tmp_path, capsys):
    data = write_stripes(tmp_path / "data", train=3, valid=2)
    run(capsys, "train", write_recipe(tmp_path, data, epochs=1), "-o", tmp_path / "run")
    files = [tmp_path / "m.onnx", tmp_path / "m.json"]
    arguments = ["export", tmp_path / "run/last.ckpt", "-o", files[0], "--data", data, "--dataset", "folder"]
    assert run(capsys, *arguments, "--abstain", 0)[0] == 0
    before = [path.read_bytes() for path in files]
    assert json.loads(before[1])["abstain_below"] == 0
    assert run(capsys, *arguments, "--abstain", 2)[0] == 2
    assert [path.read_bytes() for path in files] == before
    (data / "valid/neutral/0.png").write_text("not an image")
    code, _, err = run(capsys, *arguments)
    assert (code, "neutral/0.png" in err) == (1, True)
    for image in (data / "valid").rglob("*.png"):
        image.write_text("not an image")
    code, _, err = run(capsys, *arguments)
    assert (code, "can be read" in err) == (2, True)
    assert not list(tmp_path.glob(".mien-*"))


def test_training_reads_prepared_faces(tmp_path, capsys):
    """The leak list applies to prepared faces, so that `mien data prepare` does not need it."""
    root = write_ferplus(tmp_path / "ferplus")
    add_training_face(root, "fer0000002.png", HAPPY)
    leaks = tmp_path / "leaks.csv"
    first = sorted((root / "FER2013Train").glob("*.png"))[0].name
    leaks.write_text(f"Usage,Image name\nTraining,{first}\n")
    store = tmp_path / "store"
    assert (
        run(
            capsys,
            "data",
            "prepare",
            "--data",
            root,
            "--dataset",
            "ferplus",
            "-o",
            store,
            "--patch",
            48,
            "--workers",
            1,
        )[0]
        == 0
    )
    (tmp_path / "r.toml").write_text("[model]\nblocks = 2\n[training]\nepochs = 1\nbatch = 2\nthreads = 1\n")
    code, _, err = run(
        capsys, "train", tmp_path / "r.toml", f"data.path={root}", f"data.store={store}", "data.patch=48",
        f"data.exclude={leaks}", "data.size=32", "-o", tmp_path / "run",
    )  # fmt: skip
    assert code == 0
    assert "happiness 1/1" in err


def test_prints_tables_and_writes_report(tiny_model, tmp_path, capsys):
    root = write_ferplus(tmp_path / "ferplus")
    report = tmp_path / "report"
    code, out, _ = run(
        capsys,
        "evaluate",
        "--model",
        tiny_model,
        "--data",
        root,
        "--dataset",
        "ferplus",
        "--split",
        "train",
        "-o",
        report,
    )
    assert code == 0
    assert "majority" in out
    assert "precision" in out
    assert {path.name for path in report.iterdir()} >= {"report.html", "report.json", "confusion.png"}
    assert "not detected, whole image used" in (report / "report.html").read_text()


@pytest.mark.parametrize("command", [["evaluate", "--model", "open"], ["compare", "open", "open"]])
def test_report_over_a_file_is_refused_before_the_evaluation(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr("mien.inference.classifier.ExpressionClassifier", None)
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    code, out, err = run(
        capsys, *command, "--data", tmp_path, "--dataset", "folder", "--split", "train", "-o", tmp_path / "a.jpg"
    )
    assert (code, out, err) == (2, "", f"mien: {tmp_path / 'a.jpg'} is a file; expected a folder for the report.\n")


def test_names_line_of_malformed_row(tiny_model, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("image,label\na.png,hapiness\n")
    code, out, err = run(capsys, *evaluate_table(tiny_model, tmp_path / "t.csv"))
    assert (code, out) == (2, "")
    assert "line 2" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "check"])
def test_missing_data_set_is_one_line(tiny_model, tmp_path, capsys, command):
    arguments = {
        "evaluate": ["evaluate", "--model", tiny_model, "--data", tmp_path / "none", "--dataset", "ferplus"],
        "check": ["data", "check", "--data", tmp_path / "none", "--dataset", "ferplus"],
    }
    code, out, err = run(capsys, *arguments[command])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "none" in err


def test_checks_and_prepares_data(tmp_path, capsys):
    root = write_ferplus(tmp_path / "ferplus")
    code, out, _ = run(
        capsys, "data", "check", "--data", root, "--dataset", "ferplus", "--json", "--leaks", tmp_path / "leaks.csv"
    )
    assert code == 0
    assert "counts" in json.loads(out)
    assert (tmp_path / "leaks.csv").read_text() == "Usage,Image name\n"
    code, out, _ = run(
        capsys,
        "data",
        "prepare",
        "--data",
        root,
        "--dataset",
        "ferplus",
        "-o",
        tmp_path / "store",
        "--patch",
        48,
        "--workers",
        1,
    )
    assert code == 0
    assert "without a face keep the whole image" in out


def test_trains_exports_and_predicts(tmp_path, capsys):
    """Train, export, calibrate and predict from the command line."""
    data = write_stripes(tmp_path / "data")
    recipe = write_recipe(tmp_path, data, epochs=2)
    assert run(capsys, "train", recipe, "-o", tmp_path / "run", "training.lr=0.002")[0] == 0
    model = tmp_path / "m.onnx"
    code, out, err = run(
        capsys, "export", tmp_path / "run/last.ckpt", "-o", model, "--data", data, "--dataset", "folder"
    )
    assert code == 0
    assert "only 18 validation faces" in err
    assert "temperature" in out
    image = tmp_path / "face.png"
    Image.fromarray(portrait("obama")).save(image)
    code, out, _ = run(capsys, "predict", image, "--model", model, "--json")
    (face,) = json.loads(out)["faces"]
    assert code == 0
    assert set(face["expression"]["probabilities"]) == {"neutral", "happiness", "surprise"}


def test_unknown_key_suggests_the_nearest_one(tmp_path, capsys):
    recipe = write_recipe(tmp_path, tmp_path / "none")
    code, _, err = run(capsys, "train", recipe, "training.epoch=1")
    assert code == 2
    assert "training.epochs" in err
