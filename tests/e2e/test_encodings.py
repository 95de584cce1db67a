"""Output in encodings other than UTF-8, and file names that are not valid text."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

from support.datasets import write_image

ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "cp437": {"PYTHONIOENCODING": "cp437"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "c-locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def run(environment, *arguments):
    """Run mien in an environment; fail on a traceback."""
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, timeout=120, env=os.environ | environment, check=False)
    assert b"Traceback" not in result.stderr, result.stderr.decode(errors="replace")
    return result


@pytest.fixture
def photos(examples, tmp_path):
    folder = tmp_path / "照片 é"
    folder.mkdir()
    for name in ("a.jpg", "漢字 ü.jpg", "z.jpg"):
        shutil.copy(examples / "biden.jpg", folder / name)
    return folder


@pytest.fixture
def faces(tmp_path):
    for name in ("happy/漢.png", "sad/ü.png"):
        write_image(tmp_path / "faces" / name)
    (tmp_path / "faces" / "happy" / "ß broken.png").write_bytes(b"x")
    return tmp_path / "faces"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_predict_reads_every_image(encoding, photos, tiny_model, tmp_path):
    options = ("--table", tmp_path / "表.csv", "--model", tiny_model)
    result = run(ENCODINGS[encoding], "predict", photos, *options)
    assert result.returncode == 0
    assert result.stdout.count(b"1 face") == 3
    rows = list(csv.DictReader((tmp_path / "表.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["image"] for row in rows] == [str(path) for path in sorted(photos.iterdir())]


@pytest.mark.parametrize("encoding", ["ascii", "c-locale"])
@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("serve", "--help"),
        ("models",),
        ("data", "check", "--dataset", "folder", "--data", "FACES", "--leaks", "OUT/漏.csv"),
        ("evaluate", "--dataset", "folder", "--data", "FACES", "-o", "OUT/報告", "--model", "MODEL"),
        ("compare", "MODEL", "open", "--dataset", "folder", "--data", "FACES"),
        ("explain", "PHOTO", "-o", "OUT/図.png"),
        ("serve", "--write-page", "OUT/頁", "--model", "compact"),
        ("predict", "OUT/無.jpg"),
    ],
    ids=lambda command: command[0],
)
def test_commands_print_replacement_characters(encoding, command, photos, faces, tiny_model, tmp_path):
    out = tmp_path / "出"
    out.mkdir()
    places = {"FACES": faces, "OUT": out, "MODEL": tiny_model, "PHOTO": photos / "漢字 ü.jpg"}
    arguments = []
    for word in command:
        head, *rest = word.split("/")
        arguments.append("/".join([str(places.get(head, head)), *rest]))
    result = run(ENCODINGS[encoding], *arguments)
    assert (result.stdout + result.stderr).isascii()
    assert result.stdout or result.stderr
    for path in out.rglob("*"):
        if path.suffix in (".csv", ".json", ".html"):
            path.read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_names_that_are_not_utf8_reach_every_output(suffix, examples, tiny_model, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in (b"\xe9.jpg", b"\xff\xfe.jpg"):
        shutil.copy(examples / "biden.jpg", os.path.join(os.fsencode(folder), name))  # noqa: PTH118 - bytes
    table = tmp_path / f"t.{suffix}"
    result = run({}, "predict", folder, "--table", table, "--json", "-o", tmp_path / "copies", "--model", tiny_model)
    assert result.returncode == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["image"].encode().decode().rsplit("/", 1)[1] for record in records] == [
        "\ufffd.jpg",
        "\ufffd\ufffd.jpg",
    ]
    assert table.stat().st_size > 0
    assert len(list((tmp_path / "copies").iterdir())) == 2
    assert run({}, "predict", folder, "--model", tiny_model).stdout.count(b"1 face") == 2
