"""`mien convert`: tables of every format become files of other tools; misuse has one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.cli.main import main
from mien.table_files import TableFile
from mien.video.table import row_columns
from support.video_rows import LABELS, face_rows

ROWS = face_rows((0, 5, "neutral"), (5, 9, "happiness"))


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main(["convert", *map(str, arguments)])
        return code, capsys.readouterr().err.strip()

    return run


def video_table(path):
    with TableFile(path, row_columns(LABELS)) as file:
        file.write(ROWS)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_table_format_gives_the_same_subtitles(run, tmp_path, suffix):
    table = video_table(tmp_path / f"faces{suffix}")
    code, _ = run(table, "-o", tmp_path / "clip.srt")
    assert code == 0
    text = (tmp_path / "clip.srt").read_text(encoding="utf-8")
    assert text == (
        "1\n00:00:00,000 --> 00:00:00,500\nface 1: neutral\n\n2\n00:00:00,500 --> 00:00:00,900\nface 1: happiness\n"
    )


@pytest.mark.parametrize("name", ["a.vtt", "a.eaf", "a.boris"])
def test_format_follows_from_the_name(run, tmp_path, name):
    code, message = run(video_table(tmp_path / "faces.csv"), "-o", tmp_path / name, "--media", tmp_path / "clip.mp4")
    assert (code, message) == (0, f"mien: wrote {tmp_path / name}")
    assert "happiness" in (tmp_path / name).read_text(encoding="utf-8")


def test_table_of_predict_becomes_label_studio_tasks(tmp_path, tiny_model, capsys):
    table, image = tmp_path / "faces.csv", Path(__file__).parents[2] / "examples" / "astronaut.jpg"
    assert main(["predict", str(image), "--table", str(table), "--model", str(tiny_model), "--threads", "1"]) == 0
    arguments = ["convert", str(table), "-o", str(tmp_path / "tasks.json"), "--format", "label-studio"]
    assert main(arguments) == 0
    capsys.readouterr()
    (task,) = json.loads((tmp_path / "tasks.json").read_bytes())
    assert task["data"]["image"] == str(image)
    assert len(task["predictions"][0]["result"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.json"], "end it in .srt, .vtt, .eaf, .boris, or give --format label-studio or fiftyone."),
        (["-o", "a.boris"], "mien: a BORIS project names its video; give it with --media."),
        (["-o", "a.json", "--format", "fiftyone"], "is not a table of mien predict: it has no column image"),
    ],
)
def test_misuse_is_one_line_that_says_what_to_do(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, error = run(video_table(tmp_path / "faces.csv"), *arguments)
    assert code == 2
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / arguments[1]).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or directory"),
        ("", "has no rows"),
        ("a,b\n1\n", "is not a table of mien: a row has another number of cells than the header"),
        ("timestamp_s\nsoon\n", "is not a table of mien: could not convert string to float: 'soon'"),
    ],
)
def test_broken_tables_are_one_line(run, tmp_path, content, message):
    if content is not None:
        (tmp_path / "faces.csv").write_text(content, encoding="utf-8")
    code, error = run(tmp_path / "faces.csv", "-o", tmp_path / "a.srt")
    assert code == 2
    assert message in error
    assert "\n" not in error
