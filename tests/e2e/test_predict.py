"""End-to-end tests of `mien predict`: output, files and exit codes."""

from __future__ import annotations

import csv
import io
import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.emotions import EXPRESSIONS
from mien.manifest import RiskPoint
from support.models import make_model
from support.shell import Shell, read_table

FACE_KEYS = {"is_face_doubtful", "bbox_xyxy", "confidence", "landmarks_xy", "head_pose_deg", "quality", "expression"}


@pytest.fixture
def shell(tiny_model, capsys):
    return Shell("predict", tiny_model, capsys)


@pytest.fixture
def photo(examples, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return shutil.copy(examples / "astronaut.jpg", folder / "photo.jpg")


def huge_png(path, side=20_000):
    """Write a valid one-bit PNG of side x side pixels, a few kB large."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + side // 8)), 1)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_json_has_the_documented_keys(shell, photo):
    assert shell(photo, "--json") == 0
    (record,) = shell.records
    assert list(record) == ["image", "width", "height", "faces", "warnings", "error"]
    assert (record["image"], record["width"], record["height"], record["error"]) == (str(photo), 512, 512, None)
    (face,) = record["faces"]
    assert set(face) == FACE_KEYS
    assert len(face["bbox_xyxy"]) == 4
    assert np.shape(face["landmarks_xy"]) == (5, 2)
    assert set(face["head_pose_deg"]) == {"yaw", "pitch", "roll"}
    assert set(face["quality"]) == {"size_px", "sharpness", "frontality", "visible"}
    assert set(face["expression"]) == {"label", "confidence", "probabilities", "valence", "arousal"}
    assert list(face["expression"]["probabilities"]) == list(EXPRESSIONS)
    assert sum(face["expression"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert shell.err == ""


def test_prints_a_plain_text_table_to_a_pipe(shell, photo):
    assert shell(photo) == 0
    assert "512 x 512, 1 face" in shell.out
    assert "yaw pitch roll" in shell.out
    assert "\x1b" not in shell.out
    assert shell.err == ""


def test_reads_files_folders_and_patterns(shell, photo, examples, tmp_path):
    folder = photo.parent
    deep = folder / "deep" / "er"
    deep.mkdir(parents=True)
    shutil.copy(examples / "astronaut.jpg", deep / "OTHER.JPG")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.jpg").write_bytes(b"")
    assert shell(folder, "--json") == 0
    assert [record["image"] for record in shell.records] == [str(photo), str(deep / "OTHER.JPG")]
    assert "2 images, 2 faces" in shell.err
    assert shell(folder / "**" / "*", "--json") == 0
    assert sorted(record["image"] for record in shell.records) == sorted([str(photo), str(deep / "OTHER.JPG")])
    assert shell(folder / "*.jpg", "--json") == 0
    assert [record["image"] for record in shell.records] == [str(photo)]


def test_quiet_prints_no_summary(shell, photo, tmp_path):
    assert shell(photo, photo, "--json", "--quiet", "-o", tmp_path / "out") == 0
    assert (len(shell.records), shell.err) == (2, "")
    assert shell(tmp_path / "missing.jpg", photo, "-q") == 1
    assert shell.err.count("\n") == 1
    assert "missing.jpg" in shell.err


def test_reads_a_file_with_the_name_of_a_pattern(shell, photo, tmp_path):
    odd = shutil.copy(photo, tmp_path / "a[1].jpg")
    assert shell(odd, "--json") == 0
    assert shell.records[0]["image"] == str(odd)


def test_reads_a_file_whose_name_begins_with_a_hyphen(shell, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo, "-dash.jpg")
    assert shell("-dash.jpg", "--json") == 0
    assert shell.records[0]["image"] == "-dash.jpg"
    assert shell("-dush.jpg", "--json") == 2
    assert "unknown option -dush.jpg" in shell.err


def test_standard_input_is_read_only_once(shell):
    assert shell("-", "-", "--json") == 2
    assert shell.err == "mien: - is given twice; standard input can be read only once.\n"


def test_reads_standard_input(shell, photo, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert shell("-", "--json", "--output", tmp_path / "out") == 0
    assert shell.records[0]["image"] == "-"
    assert len(shell.records[0]["faces"]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stdin.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert shell("-", "--json") == 2
    assert "empty" in shell.err


def test_csv_has_a_row_per_face_and_per_image_without_faces(shell, photo, examples, tmp_path):
    Image.new("RGB", (50, 40)).save(photo.parent / "blank.png")
    (photo.parent / "broken.jpg").write_bytes(b"no image")
    table = tmp_path / "new" / "faces.csv"
    assert shell(photo.parent, examples / "group.jpg", "--table", table, "--json") == 1
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    assert shell.err.endswith(f"mien: wrote {table}\n")
    counts = {record["image"]: max(1, len(record["faces"])) for record in shell.records}
    assert len(rows) == sum(counts.values())
    blank, broken, face = rows[:3]
    assert (blank["face"], blank["error"], blank["width"]) == ("", "", "50")
    assert broken["error"] == "image_unreadable"
    assert "broken.jpg" in broken["message"]
    assert float(face["x2"]) > float(face["x1"])
    assert sum(float(face[f"p_{name}"]) for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)
    assert list(tmp_path.joinpath("new").iterdir()) == [table]


def test_parquet_has_the_values_of_the_json(shell, photo, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    Image.new("RGB", (50, 40)).save(photo.parent / "blank.png")
    table = tmp_path / "faces.parquet"
    assert shell(photo.parent, "--table", table, "--json") == 0
    blank, face = parquet.read_table(table).to_pylist()
    assert (blank["face"], blank["label"], blank["x1"]) == (None, None, None)
    record = shell.records[1]["faces"][0]
    assert [face[name] for name in ("x1", "y1", "x2", "y2")] == record["bbox_xyxy"]
    assert face["yaw_deg"] == record["head_pose_deg"]["yaw"]
    assert face["label"] == record["expression"]["label"]


def test_parquet_without_pyarrow_names_the_extra(shell, photo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert shell(photo, "--table", tmp_path / "faces.parquet") == 2
    assert shell.err == "mien: Parquet needs more packages: pip install 'mien[table]'\n"
    assert list(tmp_path.iterdir()) == [photo.parent]


def test_copies_keep_the_folders_and_never_overwrite_an_image(shell, photo, examples, tmp_path):
    other = tmp_path / "others"
    (other / "deep").mkdir(parents=True)
    shutil.copy(examples / "astronaut.jpg", other / "photo.jpg")
    shutil.copy(examples / "astronaut.jpg", other / "deep" / "x.gif.png")
    before = photo.read_bytes()
    output = tmp_path / "out"
    assert shell(photo.parent, other, "--output", output, "--json") == 0
    made = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert made == [str(Path("deep", "x.gif.png")), "photo-2.jpg", "photo.jpg"]
    with Image.open(output / "photo.jpg") as copy:
        assert copy.size == (1024, 1024)
    assert shell(photo, "--output", photo.parent, "--json") == 0
    assert photo.read_bytes() == before
    assert (photo.parent / "photo-2.jpg").is_file()


def test_a_copy_beside_its_image_never_overwrites_another_file(shell, photo):
    (photo.parent / "photo-2.jpg").write_bytes(b"precious")
    assert shell(photo, "--output", photo.parent, "--json") == 0
    assert (photo.parent / "photo-2.jpg").read_bytes() == b"precious"
    assert (photo.parent / "photo-3.jpg").is_file()


def test_a_copy_of_another_format_beside_its_image_never_overwrites_another_file(shell, photo):
    source, other = photo.with_suffix(".gif"), photo.with_suffix(".png")
    with Image.open(photo) as image:
        image.save(source)
    other.write_bytes(b"precious")
    assert shell(source, "--output", photo.parent, "--json") == 0
    assert other.read_bytes() == b"precious"
    assert (photo.parent / "photo-2.png").is_file()


def test_keeps_a_journal_of_another_command(shell, photo, tmp_path):
    manifest = tmp_path / "run.jsonl"
    manifest.write_text('{"command": "mien batch"}\n')
    assert shell(photo, "--output", tmp_path, "--json") == 2
    assert shell.err == (
        f"mien: {manifest} is damaged or not a journal of mien predict; move it away, or write to another place.\n"
    )
    assert manifest.read_text() == '{"command": "mien batch"}\n'


def test_an_error_keeps_an_existing_table(shell, photo, tmp_path):
    table, copies = tmp_path / "old.csv", tmp_path / "out"
    table.write_text("precious")
    shutil.copy(photo, photo.parent / "z.jpg")
    (copies / "z.jpg").mkdir(parents=True)
    assert shell(photo.parent, "--table", table, "--output", copies, "--workers", "1", "--json") == 2
    assert table.read_text() == "precious"
    assert f"stopped after 1 of 2 images; {table}.run.jsonl has what was read" in shell.err
    (copies / "z.jpg").rmdir()
    assert shell(photo.parent, "--table", table, "--output", copies, "--resume", "--json") == 0
    assert [row["image"] for row in read_table(table)] == [str(photo), str(photo.parent / "z.jpg")]


def test_copies_are_not_read_as_images(shell, photo):
    output = photo.parent / "out"
    for _ in range(2):
        assert shell(photo.parent, "--output", output, "--json") == 0
        assert len(shell.records) == 1
        assert [path.name for path in output.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"])
def test_copies_of_every_format(shell, tmp_path, suffix):
    Image.new("RGB", (60, 50), "red").save(tmp_path / f"a{suffix}")
    assert shell(tmp_path / f"a{suffix}", "--output", tmp_path / "out", "--json") == 0
    [copy] = (tmp_path / "out").iterdir()
    with Image.open(copy) as opened:
        assert opened.size == (600, 500)
    assert copy.suffix == (".png" if suffix == ".gif" else suffix)


@pytest.mark.parametrize("change", ["gone", "another"])
def test_reports_an_image_that_changes_and_continues(shell, photo, monkeypatch, change):
    from mien.cli import outputs

    folder = photo.parent
    shutil.copy(photo, folder / "z.jpg")
    original = outputs.ImageWriter.add

    def change_first(self, image, analysis):
        if image.source == photo:
            photo.unlink()
            if change == "another":
                Image.new("RGB", (7, 8)).save(photo)
        original(self, image, analysis)

    monkeypatch.setattr(outputs.ImageWriter, "add", change_first)
    output = folder / "out"
    assert shell(folder, "--output", output, "--json") == 1
    assert [len(record["faces"]) for record in shell.records] == [1, 1]
    error, summary, written = shell.err.splitlines()
    assert error.startswith(f"mien: {photo}")
    assert written == f"mien: wrote {output}"
    assert summary == "mien: 2 images, 2 faces, 1 could not be read"
    assert [path.name for path in output.iterdir()] == ["z.jpg"]


@pytest.mark.parametrize("name", ["old.csv", "old.parquet"])
def test_keeps_an_existing_table_if_the_run_fails(shell, photo, tmp_path, monkeypatch, name):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    table = tmp_path / name
    table.write_text("precious")
    (tmp_path / "file").write_text("")

    def interrupt(*_):
        raise KeyboardInterrupt

    assert shell(photo, "--table", table, "--output", tmp_path / "file" / "out") == 2
    assert table.read_text() == "precious"
    with monkeypatch.context() as patch:
        patch.setattr("mien.cli.console.ConsolePrinter.add", interrupt)
        assert shell(photo, "--table", table) == 130
    assert table.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", name, "photos"]
    assert shell(photo, "--table", table) == 0
    assert table.read_bytes()[:8] != b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", name, "photos"]


@pytest.fixture
def bad_files(examples, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not an image")
    (folder / "truncated.jpg").write_bytes((examples / "astronaut.jpg").read_bytes()[:30_000])
    huge_png(folder / "huge.png")
    return folder


def test_reports_bad_files_and_analyzes_the_others(shell, photo, bad_files):
    Image.new("RGB", (1, 1)).save(bad_files / "one.png")
    shutil.copy(photo, bad_files / "a.jpg")
    shutil.copy(photo, bad_files / "z.jpg")
    assert shell(bad_files, "--json") == 1
    records = {Path(record["image"]).name: record for record in shell.records}
    assert len(records) == 7
    assert [name for name, record in records.items() if record["error"]] == [
        *("empty.jpg", "huge.png", "text.jpg", "truncated.jpg")
    ]
    assert len(records["a.jpg"]["faces"]) == len(records["z.jpg"]["faces"]) == 1
    assert (records["one.png"]["faces"], records["one.png"]["width"]) == ([], 1)
    lines = shell.err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("mien: ") for line in lines)
    assert lines[-1] == "mien: 7 images, 2 faces, 4 could not be read"


@pytest.mark.parametrize("name", ["empty.jpg", "text.jpg", "truncated.jpg", "huge.png"])
def test_a_single_bad_file_gives_one_line_and_a_record(shell, bad_files, name):
    assert shell(bad_files / name, "--json") == 2
    (record,) = shell.records
    assert (record["faces"], record["error"]["code"]) == ([], "image_unreadable")
    assert shell.err.count("\n") == 1
    assert name in shell.err


def test_reports_missing_inputs_in_one_line(shell, tmp_path):
    for arguments in [(tmp_path / "missing.jpg",), (tmp_path,), (tmp_path / "*.jpg",), (), ("--jsom",)]:
        assert shell(*arguments) == 2
        assert (shell.out, shell.err.count("\n")) == ("", 1)
        assert shell.err.startswith("mien: ")


def test_continues_after_a_missing_file(shell, photo, tmp_path):
    assert shell(tmp_path / "missing.jpg", photo, tmp_path / "*.png", "--json") == 1
    assert [record["error"] is None for record in shell.records] == [False, False, True]
    assert "3 images, 1 face, 2 could not be read" in shell.err


def test_reports_names_that_are_too_long(shell, photo):
    long = "x" * 5000
    assert shell(long, photo, "--json") == 1
    assert [record["error"] is None for record in shell.records] == [False, True]
    for options in (("--table", f"{long}.csv"), ("--output", long)):
        assert shell(photo, *options) == 2
        assert shell.err.count("\n") == 1
    for model in (long, f"{long}.onnx"):
        assert shell(photo, model=model) == 2
        assert shell.err.count("\n") == 1


def test_reports_a_full_disk_in_one_line(shell, photo, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "results")

    monkeypatch.setattr("mien.cli.outputs.print_json", full)
    assert shell(photo, "--json") == 2
    assert shell.err == "mien: results: no space left on device.\n"


def test_prints_no_label_if_the_model_abstains(shell, photo, tmp_path):
    assert shell(photo, model=make_model(tmp_path / "never.onnx", abstain_below=1.0)) == 0
    assert "not sure" in shell.out
    assert "?" not in shell.out
    assert not [name for name in EXPRESSIONS if name in shell.out]


def test_max_error_raises_the_abstention_threshold(shell, photo, tmp_path):
    points = (RiskPoint(coverage=0.9, error=0.1, confidence=0.0), RiskPoint(coverage=0.5, error=0, confidence=1.0))
    model = make_model(tmp_path / "careful.onnx", risk_coverage=points)
    assert shell(photo, "--max-error", "0.1", "--json", model=model) == 0
    assert shell.records[0]["faces"][0]["expression"]["label"] is not None
    assert shell(photo, "--max-error", "0.05", "--json", model=model) == 0
    assert shell.records[0]["faces"][0]["expression"]["label"] is None
    assert shell(photo, "--max-error", "0.05") == 2
    assert "Export the model again" in shell.err


@pytest.mark.parametrize(
    "options",
    [
        ("--max-faces", "0"),
        ("--threads", "-2"),
        ("--min-confidence", "2"),
        ("--detector-size", "5"),
        ("--max-faces", "many"),
        ("--table", "faces.xlsx"),
        ("--nonsense",),
    ],
)
def test_reports_bad_options_in_one_line(shell, photo, options):
    assert shell(photo, *options) == 2
    assert (shell.out, shell.err.count("\n")) == ("", 1)
    assert options[0].strip("-") in shell.err.replace("_", "-")


def test_reports_outputs_that_cannot_be_written(shell, photo, tmp_path):
    (tmp_path / "file").write_text("")
    assert shell(photo, "--output", tmp_path / "file") == 2
    assert shell.err == f"mien: {tmp_path / 'file'} is a file; expected a folder.\n"
    assert shell(photo, "--table", tmp_path / "file" / "t.csv") == 2
    assert "cannot be written" in shell.err


def test_reports_bad_models(shell, photo, tmp_path):
    assert shell(photo, model=tmp_path / "missing.onnx") == 2
    assert "unknown model" in shell.err
    assert not shell.err.rstrip().endswith(": .")
    assert shell(photo, model=make_model(tmp_path / "hash.onnx", sha256="0" * 64)) == 2
    assert "not the file that hash.json describes" in shell.err
    (tmp_path / "hash.json").unlink()
    assert shell(photo, model=tmp_path / "hash.onnx") == 2
    assert "no manifest" in shell.err
    assert (shell.out, shell.err.count("\n")) == ("", 1)


def run_mien(*arguments, **options):
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=120, **options)


def test_runs_as_a_process(photo, tiny_model):
    result = run_mien("predict", "-", "--json", "--model", tiny_model, input=photo.read_bytes())
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(json.loads(result.stdout)["faces"]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close differently on Windows")
def test_exits_quietly_if_the_reader_closes_the_pipe(photo, tiny_model):
    command = [sys.executable, "-m", "mien", "predict", str(photo), "--json", "--model", str(tiny_model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process:
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_interrupt_prints_nothing(shell, photo, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.inference.reduced.read_reduced", interrupt)
    assert shell(photo) == 130
    assert shell.err == ""


def test_blur_hides_the_face_in_the_copy(shell, photo, tmp_path):
    assert shell(photo, "-o", tmp_path / "out", "--blur", "all", "--quiet") == 0
    assert shell(tmp_path / "out" / "photo.jpg", "--json") == 0
    assert shell.records[0]["faces"] == []
    assert shell(photo, "-o", tmp_path / "out", "--blur", "others", "--quiet") == 0
    assert shell(tmp_path / "out" / "photo.jpg", "--json") == 0
    assert len(shell.records[0]["faces"]) == 1


def test_blur_needs_copies_of_all_faces(shell, photo, tmp_path):
    assert shell(photo, "--blur", "all") == 2
    assert "--blur needs the --output folder" in shell.err
    assert shell(photo, "-o", tmp_path / "out", "--blur", "all", "--max-faces", "1") == 2
    assert "leave out --max-faces or --blur" in shell.err
