"""`mien convert`: tables of every format become files of other tools; misuse has one clear line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from mien.cli.main import main
from mien.schema import table_columns
from mien.table_files import TableFile
from mien.video.table import RowSchema
from support.video_rows import LABELS, face_rows

ROWS = face_rows((0, 5, "neutral"), (5, 9, "happiness"))


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main(["convert", *map(str, arguments)])
        return code, capsys.readouterr().err.strip()

    return run


def video_table(path, rows=ROWS):
    with TableFile(path, RowSchema(labels=LABELS).columns) as file:
        file.write(rows)
    return path


FACE = {
    **{"image": "a.jpg", "width": 200, "height": 100, "face": 1, "x1": 20.0, "y1": 10.0, "x2": 60.0, "y2": 60.0},
    **{"label": "happiness", "confidence": 0.8},
    **{f"p_{name}": 1 / 3 for name in LABELS},
}


def image_table(path):
    with TableFile(path, table_columns(LABELS)) as file:
        file.write([FACE, {**FACE, "face": 2}])
    return path


def edit_csv(path, change):
    """Apply a function to the list of rows of a .csv file; it may remove columns."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_table_format_gives_the_same_subtitles(run, tmp_path, suffix):
    table = video_table(tmp_path / f"faces{suffix}")
    code, _ = run(table, "-o", tmp_path / "clip.srt")
    assert code == 0
    text = (tmp_path / "clip.srt").read_text(encoding="utf-8")
    assert text == (
        "1\n00:00:00,000 --> 00:00:00,500\nface 1: neutral\n\n2\n00:00:00,500 --> 00:00:00,900\nface 1: happiness\n"
    )


@pytest.mark.parametrize("name", ["a.vtt", "a.eaf"])
def test_format_follows_from_the_name(run, tmp_path, name):
    code, message = run(video_table(tmp_path / "faces.csv"), "-o", tmp_path / name, "--media", tmp_path / "clip.mp4")
    assert (code, message) == (0, f"mien: wrote {tmp_path / name}")
    assert "happiness" in (tmp_path / name).read_text(encoding="utf-8")


def test_boris_has_the_length_of_the_video(run, tmp_path):
    pytest.importorskip("av")
    from support.clips import steady, write_clip

    clip = write_clip(tmp_path / "clip.mp4", times_s=steady(50))
    code, message = run(video_table(tmp_path / "faces.csv"), "-o", tmp_path / "a.boris", "--media", clip)
    assert (code, message) == (0, f"mien: wrote {tmp_path / 'a.boris'}")
    media = json.loads((tmp_path / "a.boris").read_bytes())["observations"]["clip"]["media_info"]
    assert media["length"] == {str(clip): 5.0}
    assert media["fps"] == {str(clip): 10.0}


def test_boris_needs_the_video(run, tmp_path):
    pytest.importorskip("av")
    code, message = run(
        video_table(tmp_path / "faces.csv"), "-o", tmp_path / "a.boris", "--media", tmp_path / "gone.mp4"
    )
    assert code == 2
    assert "gone.mp4" in message
    assert "\n" not in message
    assert not (tmp_path / "a.boris").exists()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("name", "text"), [("a.srt", ""), ("a.vtt", "WEBVTT\n")])
def test_video_without_faces_gives_an_empty_document(run, tmp_path, suffix, name, text):
    code, _ = run(video_table(tmp_path / f"faces{suffix}", []), "-o", tmp_path / name)
    assert code == 0
    assert (tmp_path / name).read_text(encoding="utf-8") == text


def test_refuses_to_overwrite_an_input(run, tmp_path):
    table = video_table(tmp_path / "faces.csv")
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    (tmp_path / "link.csv").symlink_to(table)
    before = table.read_bytes()
    for output in (table, tmp_path / "link.csv"):
        assert run(table, "-o", output, "--format", "srt") == (
            2, f"mien: {output} is the table itself; give another --output."
        )  # fmt: skip
    assert run(table, "-o", clip, "--format", "elan", "--media", clip) == (
        2, f"mien: {clip} is the video itself; give another --output."
    )  # fmt: skip
    assert (table.read_bytes(), clip.read_bytes()) == (before, b"video")


def test_overwriting_is_reported_only_when_it_happens(run, tmp_path):
    (tmp_path / "a.srt").write_text("old")
    missing = tmp_path / "missing.csv"
    assert run(missing, "-o", tmp_path / "a.srt") == (
        2, f"mien: {missing}: cannot be read: no such file or directory."
    )  # fmt: skip
    assert run(video_table(tmp_path / "faces.csv"), "-o", tmp_path / "a.srt") == (
        0, f"mien: overwrote {tmp_path / 'a.srt'}"
    )  # fmt: skip


def drop(*names):
    def change(rows):
        for row in rows:
            for name in names:
                del row[name]

    return change


def put(name, text):
    def change(rows):
        rows[1][name] = text

    return change


PROBABILITIES = [f"p_{name}" for name in LABELS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("scene"), " has no column scene, which srt needs."),
        (drop("track_id"), " has no column track_id, which srt needs."),
        (drop("label"), " has no column label, which srt needs."),
        (drop("s_happiness"), " has no column s_happiness, which srt needs."),
        (drop(*PROBABILITIES), " has no columns p_..., the probabilities of the classes, which srt needs."),
        (put("scene", ""), ", row 2: scene is empty."),
        (put("timestamp_s", "soon"), ", row 2: timestamp_s is 'soon'; expected a finite number."),
        (put("track_id", "inf"), ", row 2: track_id is inf; expected a finite number."),
        (put("timestamp_s", "nan"), ", row 2: timestamp_s is nan; expected a finite number."),
        (put("s_neutral", ""), ", row 2: s_neutral is empty."),
        (put("s_surprise", "-inf"), ", row 2: s_surprise is -inf; expected a finite number."),
    ],
)
def test_missing_columns_and_cells_of_video_tables(run, tmp_path, change, message):
    table = video_table(tmp_path / "faces.csv")
    edit_csv(table, change)
    assert run(table, "-o", tmp_path / "a.srt") == (2, f"mien: {table}{message}")
    assert not (tmp_path / "a.srt").exists()


def test_a_column_of_text_that_was_added_does_not_matter(run, tmp_path):
    def add(rows):
        for number, row in enumerate(rows):
            row["participant"] = "12" if number else "P01"

    table = video_table(tmp_path / "faces.csv")
    assert run(table, "-o", tmp_path / "before.srt")[0] == 0
    edit_csv(table, add)
    assert run(table, "-o", tmp_path / "after.srt") == (0, f"mien: wrote {tmp_path / 'after.srt'}")
    assert (tmp_path / "after.srt").read_bytes() == (tmp_path / "before.srt").read_bytes()


@pytest.mark.parametrize("format", ["label-studio", "fiftyone"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("width"), " has no column width, which {} needs."),
        (drop("confidence"), " has no column confidence, which {} needs."),
        (drop("x2"), " has no column x2, which {} needs."),
        (put("image", ""), ", row 2: image is empty."),
        (put("confidence", "80%"), ", row 2: confidence is '80%'; expected a finite number."),
        (put("height", ""), ", row 2: height is empty."),
        (put("height", "0"), ", row 2: height is 0; expected more than 0."),
        (put("confidence", ""), ", row 2: confidence is empty."),
        (put("x1", ""), ", row 2: x1 is empty."),
        (put("x2", "nan"), ", row 2: x2 is nan; expected a finite number."),
        (put("yaw_deg", "nan"), ", row 2: yaw_deg is nan; expected a finite number."),
    ],
)
def test_missing_columns_and_cells_of_image_tables(run, tmp_path, format, change, message):
    table = image_table(tmp_path / "faces.csv")
    edit_csv(table, change)
    code, error = run(table, "-o", tmp_path / "a.json", "--format", format)
    assert (code, error) == (2, f"mien: {table}{message.format(format)}")


def test_fiftyone_needs_the_classes(run, tmp_path):
    table = image_table(tmp_path / "faces.csv")
    edit_csv(table, drop(*PROBABILITIES))
    code, error = run(table, "-o", tmp_path / "a.json", "--format", "fiftyone")
    assert (code, error) == (
        2, f"mien: {table} has no columns p_..., the probabilities of the classes, which fiftyone needs."
    )  # fmt: skip
    assert run(table, "-o", tmp_path / "a.json", "--format", "label-studio")[0] == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("image", 5, "image is 5; expected text."), ("width", "wide", "width is 'wide'; expected a finite number."),
     ("x1", 10**400, "expected a finite number."), ("label", ["a"], "label is ['a']; expected text.")],
)  # fmt: skip
def test_cells_of_json_lines_have_their_type(run, tmp_path, name, value, message):
    table = tmp_path / "faces.jsonl"
    table.write_text(json.dumps({**FACE, name: value}) + "\n", encoding="utf-8")
    code, error = run(table, "-o", tmp_path / "a.json", "--format", "fiftyone")
    assert code == 2
    assert message in error
    assert "\n" not in error


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
        ("", "is not a table of mien: it has no header"),
        ("a,b\n1\n", "is not a table of mien: row 1 has another number of cells than the header"),
        ("timestamp_s\nsoon\n", " has no column scene, which srt needs."),
    ],
)
def test_broken_tables_are_one_line(run, tmp_path, content, message):
    if content is not None:
        (tmp_path / "faces.csv").write_text(content, encoding="utf-8")
    code, error = run(tmp_path / "faces.csv", "-o", tmp_path / "a.srt")
    assert code == 2
    assert message in error
    assert "\n" not in error


def test_deeply_nested_rows_are_one_line(run, tmp_path):
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    code, error = run(tmp_path / "deep.jsonl", "-o", tmp_path / "a.srt")
    assert code == 2
    assert "deep.jsonl is not a table of mien: " in error
    assert "\n" not in error
