"""Output on a terminal of limited width."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from support.datasets import write_image
from support.images import bust
from support.video import switching_frames, write_clip

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


def read_to_end(terminal):
    """Return what a command prints; a full pseudo-terminal would stop it."""
    chunks = []
    with suppress(OSError):  # Linux: the other end was closed
        while chunk := os.read(terminal, 65536):
            chunks.append(chunk)
    return b"".join(chunks)


def run_on_terminal(columns, *arguments):
    """Run mien on a pseudo-terminal; return its output without escape codes."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "mien", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        output = read_to_end(ours)
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.decode()).replace("\r", "")


@pytest.mark.parametrize("columns", [60, 80])
def test_table_of_faces_keeps_confidence_and_pose(examples, columns):
    output = run_on_terminal(columns, "predict", str(examples / "biden.jpg"))
    assert re.search(r"neutral +█+·* +\d+% +-?\d+° +-?\d+° +-?\d+°", output)
    assert "…" not in output


def test_table_of_models_keeps_names_and_numbers():
    output = run_on_terminal(80, "models")
    for name in ("expression", "mobile", "compact", "open"):
        assert re.search(rf"{name} +\d+ +\d\.\d .* 3,199 +\d\d\.\d% +\d\d\.\d% +0\.\d{{3}}", output)
    assert "…" not in output


COMMANDS = {
    "predict": ("predict", "PHOTOS", "--model", "MODEL"),
    "predict-json": ("predict", "PHOTOS", "--json", "--model", "MODEL"),
    "video": ("video", "CLIP", "--model", "MODEL"),
    "video-json": ("video", "CLIP", "--json", "--model", "MODEL"),
    "camera": ("camera", "CLIP", "--no-window", "--model", "MODEL"),
    "explain": ("explain", "PHOTO", "-o", "OUT/e.png"),
    "models": ("models",),
    "evaluate": ("evaluate", "--dataset", "folder", "--data", "FACES", "--model", "MODEL"),
    "compare": ("compare", "MODEL", "open", "--dataset", "folder", "--data", "FACES"),
    "check": ("data", "check", "--dataset", "folder", "--data", "FACES"),
    "write-page": ("serve", "--write-page", "OUT/page", "--model", "compact"),
    "help": ("predict", "--help"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory, examples, tiny_model):
    """Paths that stand for the capital words of the commands."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(examples / "biden.jpg", folder / "photos" / name)
    for name in ("happy/a.png", "sad/b.png"):
        write_image(folder / "faces" / name)
    clip = write_clip(folder / "clip.mp4", switching_frames([bust("obama")], 0.6, size_wh=(320, 240)))
    return {
        "PHOTOS": folder / "photos", "PHOTO": folder / "photos" / "a.jpg", "CLIP": clip, "FACES": folder / "faces",
        "MODEL": tiny_model,
    }  # fmt: skip


def fill(command, places, out):
    """Return a command with its places filled in."""
    words = (word.partition("/") for word in command)
    return [f"{({**places, 'OUT': out}).get(head, head)}{slash}{rest}" for head, slash, rest in words]


def run_beside_terminal(command, stdout):
    """Run mien with standard error on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = os.environ | {"TERM": "xterm"}
    reader = threading.Thread(target=read_to_end, args=(ours,))
    reader.start()
    process = subprocess.run(
        [sys.executable, "-m", "mien", *command],
        stdout=stdout,
        stderr=theirs,
        timeout=100,
        check=False,
        env=environment,
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert process.returncode == 0
    return process.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_files_and_pipes_get_everything_beside_a_progress_bar(name, places, tmp_path):
    """Standard error on a terminal, standard output in a file and in a pipe."""
    with (tmp_path / "out.txt").open("wb") as file:
        run_beside_terminal(fill(COMMANDS[name], places, tmp_path / "1"), file)
    piped = run_beside_terminal(fill(COMMANDS[name], places, tmp_path / "2"), subprocess.PIPE)
    written = (tmp_path / "out.txt").read_bytes()
    assert b"\x1b" not in written
    assert written.replace(b"/1/", b"/2/").splitlines()[:-1] == piped.splitlines()[:-1]
    lines = written.decode().splitlines()
    expected = {"predict-json": 2, "video-json": 15}.get(name)
    assert len(lines) == expected if expected else lines


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("name", ["predict", "video", "evaluate", "compare", "check"])
def test_tables_on_a_terminal_are_whole(name, columns, places, tmp_path):
    output = run_on_terminal(columns, *fill(COMMANDS[name], places, tmp_path))
    assert "…" not in output
    assert "..." not in output.replace(", ...", "")
    tables = [line for line in output.splitlines() if "─" in line]
    assert tables
    assert max(map(len, tables)) <= columns


def test_models_fit_60_columns():
    output = run_on_terminal(60, "models")
    for name in ("expression", "mobile", "compact", "open"):
        assert re.search(rf"{name} +\d+\.\d +ferplus/valid, .* 3,199 +\d\d\.\d% +\d\d\.\d%", output)
    assert "Left out at 60 columns: ECE, version." in output
