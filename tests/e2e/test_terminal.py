"""Output on a terminal of limited width."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


def run_on_terminal(columns, *arguments):
    """Run mien on a pseudo-terminal; return its output without escape codes."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "mien", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux: the other end was closed
                break
            if not chunk:
                break
            chunks.append(chunk)
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(chunks).decode()).replace("\r", "")


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


def test_progress_bar_does_not_capture_standard_output(examples, tmp_path):
    """Standard error on a terminal, standard output in a file."""
    ours, theirs = pty.openpty()
    target = tmp_path / "faces.jsonl"
    images = [str(examples / "biden.jpg"), str(examples / "astronaut.jpg")]
    command = [sys.executable, "-m", "mien", "predict", *images, "--json"]
    with target.open("wb") as file:
        result = subprocess.run(command, stdout=file, stderr=theirs, timeout=60, check=False)
    os.close(theirs)
    os.close(ours)
    assert result.returncode == 0
    assert len(target.read_text().splitlines()) == 2
