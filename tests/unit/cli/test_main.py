"""Tests of the command-line entry point and of the options that commands share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mien
from mien.cli.main import COMMANDS, main
from mien.datasets import ADAPTERS
from support.datasets import write_ferplus, write_image, zip_folder

DATA_COMMANDS = ("data check", "data prepare", "data preview")
ALL = [name for name in COMMANDS if name != "data"] + ["data", *DATA_COMMANDS]
WRITING = ("predict", "video", "camera", "explain", "evaluate", "compare", "train", "export", *DATA_COMMANDS[1:])


def run_help(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command.split(), "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["", *ALL])
def test_help_fits_80_columns(command, monkeypatch, capsys):
    lines = run_help(command, monkeypatch, capsys).splitlines()
    assert lines[0].startswith(f"Usage: mien {command}".rstrip())
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", WRITING)
def test_commands_that_write_have_an_output_option(command, monkeypatch, capsys):
    shown = run_help(command, monkeypatch, capsys)
    assert re.search(r"--output -o (FOLDER|FILE) ", shown)


@pytest.mark.parametrize("command", ALL)
def test_help_has_no_generated_negatives(command, monkeypatch, capsys):
    shown = run_help(command, monkeypatch, capsys)
    known = {"--no-pose", "--no-annotate", "--no-report", "--no-window", "--no-groups"}
    assert set(re.findall(r"--(?:no|empty)-[a-z-]+", shown)) <= known
    assert " STR" not in shown


def test_help_of_serve_is_grouped(monkeypatch, capsys):
    shown = run_help("serve", monkeypatch, capsys)
    names = ("─ Options", "─ Address and access", "│ --host", "─ Models and workers", "─ Limits", "─ Time limits")
    positions = [shown.index(name) for name in names]
    assert positions == sorted(positions)


@pytest.mark.parametrize("arguments", [("--model", "open", "compact"), ("--model", "open", "--model", "compact")])
def test_a_list_takes_several_values_or_several_options(arguments, monkeypatch):
    seen = []
    monkeypatch.setattr("mien.server.run.listen", lambda settings, on_ready: seen.append(settings))
    assert main(["serve", *arguments, "--port", "0"]) == 0
    assert seen[0].model == ("open", "compact")


def test_a_list_without_a_value_is_an_error(capsys):
    assert main(["serve", "--model", "--port", "0"]) == 2
    assert "--model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", ""),
        ("predict", "a.jpg", "--table", ""),
        ("predict", "a.jpg", "--table="),
        ("predict", "a.jpg", "-o", ""),
        ("video", ""),
        ("video", "a.mp4", "--output="),
        ("camera", ""),
        ("explain", ""),
        ("models", ""),
        ("evaluate", "--data", "", "--dataset", "folder"),
        ("data", "check", "--data", "faces", "--dataset", "folder", "--leaks", " "),
        ("train", ""),
        ("export", "last.ckpt", "-o", ""),
        ("serve", "--write-page", ""),
    ],
    ids=" ".join,
)
def test_empty_values_are_reported_and_nothing_is_written(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mien: the value")
    assert "is empty; is a shell variable unset?" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_messages_on_numbers_name_the_option(examples, capsys):
    assert main(["predict", str(examples / "obama.jpg"), "--max-faces", "0"]) == 2
    expected = "mien: --max-faces is 0; expected an integer, 1 or more (by default all are kept).\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        (("batch", "photos", "-o", "out", "--shard-size", "99.6"), "--shard-size", "99.6"),
        (("batch", "photos", "-o", "out", "--workers=.5"), "--workers", ".5"),
        (("predict", "a.jpg", "--max-faces", "1.5"), "--max-faces", "1.5"),
        (("predict", "a.jpg", "--max-faces", "9.96e1"), "--max-faces", "9.96e1"),
        (("predict", "a.jpg", "--max-faces", "1_0.6"), "--max-faces", "1_0.6"),
        (("video", "a.mp4", "--detect-every", "-2.50"), "--detect-every", "-2.50"),
        (("serve", "--port", "80.5"), "--port", "80.5"),
        (("data", "preview", "--data", "faces", "-o", "out", "--faces", "1.5"), "--faces", "1.5"),
    ],
)
def test_fractions_are_not_rounded_to_integers(arguments, option, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"mien: {option} is {value}; expected an integer.\n"


def test_accepts_integers_with_decimal_zeros(monkeypatch):
    limits = []
    monkeypatch.setattr("mien.server.run.listen", lambda settings, on_ready: limits.append(settings.max_faces))
    assert main(["serve", "--max-faces", "2.0", "--body-timeout-s", "1.5"]) == 0
    assert limits == [2]


@pytest.mark.parametrize("option", [["--table", "-"], ["-o", "-"], ["--output=-"]])
def test_standard_output_is_not_a_file(option, capsys):
    assert main(["predict", "photo.jpg", *option]) == 2
    name = option[0].partition("=")[0]
    assert capsys.readouterr().err == f"mien: {name} takes the name of a file, not - (standard output).\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "a.jpg", "--table", "s3://bucket/t.csv"),
        ("predict", "a.jpg", "-o", "https://example.org/out"),
        ("evaluate", "--dataset", "folder", "--data=https://example.org/faces.zip"),
        ("serve", "--write-page", "file:///tmp/page"),
    ],
    ids=" ".join,
)
def test_addresses_are_not_paths(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "//" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", ["predict", "video", "camera", "evaluate", "compare", "data check", "data prepare", "train", "export"]
)
def test_commands_with_progress_have_a_quiet_option(command, monkeypatch, capsys):
    assert "--quiet -q" in run_help(command, monkeypatch, capsys)


def test_help_lists_commands_in_sections(monkeypatch, capsys):
    shown = run_help("", monkeypatch, capsys)
    names = ("─ Analyze", "│ predict", "─ Evaluate", "│ compare", "─ Train", "│ export", "─ Serve")
    positions = [shown.index(name) for name in names]
    assert positions == sorted(positions)
    assert "--install-completion" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--model", "MODEL", "--data", "FACES"),
        ("compare", "MODEL", "MODEL", "--data", "FACES"),
        ("data", "check", "--data", "FACES"),
        ("data", "check", "--data", "FACES/label.csv"),
        ("data", "prepare", "--data", "FACES", "-o", "OUT/store"),
        ("export", "mobile", "-o", "OUT/m.onnx", "--data", "FACES"),
    ],
)
def test_another_layout_without_dataset_option_names_the_kinds(arguments, tiny_model, tmp_path, capsys):
    root = write_ferplus(tmp_path / "ferplus")
    (root / "label.csv").write_text("image name,emotion\na.png,3\n")
    places = {"FACES": str(root), "OUT": str(tmp_path / "out"), "MODEL": str(tiny_model)}
    arguments = [re.sub("FACES|OUT|MODEL", lambda match: places[match[0]], argument) for argument in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--dataset" in error
    assert "--dataset: ferplus, rafdb, affectnet, affectnet7, fer2013." in error
    assert set(ADAPTERS) - set(re.findall(r"\w+", error)) == {"folder", "table", "joined"}


def test_a_missing_path_and_a_broken_row_do_not_name_other_layouts(tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("image,label\na.png,happy\nb.png,hungry\n")
    for path, problem in (
        (tmp_path / "none", "does not exist"),
        (tmp_path / "none.csv", "expected a .csv or .parquet file"),
        (tmp_path / "labels.csv", "line 3: the label 'hungry'"),
    ):
        assert main(["data", "check", "--data", str(path)]) == 2
        error = capsys.readouterr().err
        assert problem in error
        assert "--dataset" not in error


def test_data_sets_of_ones_own_need_no_dataset_option(tmp_path, capsys):
    write_image(tmp_path / "faces" / "happy" / "a.png")
    (tmp_path / "labels.csv").write_text("image,label\nfaces/happy/a.png,happy\n")
    archive = zip_folder(tmp_path / "faces", tmp_path / "faces.zip")
    root = write_ferplus(tmp_path / "ferplus")
    for path, name in (
        (tmp_path / "faces", "folder"),
        (archive, "folder"),
        (tmp_path / "labels.csv", "table"),
        (f"folder={tmp_path / 'faces'},ferplus={root}", "folder+ferplus"),
    ):
        assert main(["data", "check", "--data", str(path), "--json"]) in (0, 1)
        assert json.loads(capsys.readouterr().out)["name"] == name


def test_a_missing_split_option_names_the_splits(tiny_model, tmp_path, capsys):
    root = write_ferplus(tmp_path / "ferplus")
    arguments = ["evaluate", "--model", str(tiny_model), "--dataset", "ferplus", "--data", str(root)]
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"mien: --split is missing: {root} has train, valid, test.\n"


def test_the_only_split_is_the_default(tiny_model, tmp_path, capsys):
    write_image(tmp_path / "faces" / "train" / "happy" / "a.png")
    arguments = ["evaluate", "--model", str(tiny_model), "--dataset", "folder", "--data", str(tmp_path / "faces")]
    assert main(arguments) == 0
    assert "split: train" in capsys.readouterr().out


def test_runs_as_a_module():
    command = [sys.executable, "-m", "mien", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (0, mien.__version__)


def test_installs_completion_for_bash(tmp_path, capsys):
    script = tmp_path / "mien.bash"
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-m", "mien", "--install-completion", "--shell", "bash", "-o", str(script)]
    environment = {"HOME": str(home), "PYTHONPATH": str(Path(mien.__file__).parents[1])}
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert result.returncode == 0, result.stderr
    text = script.read_text(encoding="utf-8")
    assert all(name in text for name in ("predict", "--min-confidence", "--without-duplicates"))
