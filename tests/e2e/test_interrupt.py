"""Stop signals during `mien predict`: what was read is kept, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from mien.cli.main import main
from mien.errors import ImageReadError
from mien.inference import reduced
from support.datasets import write_image
from support.shell import Shell, read_table

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
COUNT = 18

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")


@pytest.fixture
def shell(tiny_model, capsys):
    # with more workers all images are read before the first result
    return Shell("predict", tiny_model, capsys, "--workers", "2")


@pytest.fixture
def photos(examples, tmp_path):
    """Images with a face, one without, and a broken file; more than are read ahead of a signal."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        shutil.copy(examples / "astronaut.jpg", folder / f"{number:02}.jpg")
    Image.new("RGB", (40, 30)).save(folder / "01.jpg")
    (folder / "02.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture
def stop(monkeypatch):
    """Return a function that sends a signal when the image of a number is read, and undoes it."""

    def stop_at(name, number=signal.SIGINT, times=1):
        original = reduced.read_reduced

        def read(image, *rest, **options):
            if str(image).endswith(name):
                for _ in range(times):
                    os.kill(os.getpid(), number)
            return original(image, *rest, **options)

        patch = pytest.MonkeyPatch()
        patch.setattr(reduced, "read_reduced", read)
        return patch

    return stop_at


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_keeps_the_rows_and_resumes(shell, stop, photos, tmp_path, number, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    whole, table = tmp_path / f"whole.{suffix}", tmp_path / f"t.{suffix}"
    assert shell(photos, "--table", whole) == 1
    patch = stop("05.jpg", number)
    assert shell(photos, "--table", table, "--json") == 128 + number
    patch.undo()
    done = len(shell.records)
    assert 5 <= done < COUNT
    assert shell.err.splitlines()[-1] == (
        f"mien: stopped after {done} of {COUNT} images; {table} has what was read; continue with the same command and "
        "--resume"
    )
    kept = table.read_bytes()
    assert kept
    if suffix != "parquet":
        assert whole.read_bytes().startswith(kept)
    assert not list(tmp_path.glob("*.partial"))
    assert shell(photos, "--table", table, "--json", "--resume") == 1
    assert len(shell.records) == COUNT - done
    assert f"resuming after {done} of {COUNT} images" in shell.err
    assert f"{COUNT} images, {COUNT - 2} faces, 1 could not be read" in shell.err
    assert table.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("t.*")) == [table.name]


def test_resumes_annotated_copies(shell, stop, photos, tmp_path):
    # two folders with the same names: the second copies get numbers
    arguments = (photos, photos.parent / "photos" / "03.jpg")
    whole, copies = tmp_path / "whole", tmp_path / "copies"
    assert shell(*arguments, "-o", whole) == 1
    patch = stop("06.jpg")
    assert shell(*arguments, "-o", copies) == 130
    patch.undo()
    assert f"{copies} has what was read" in shell.err
    assert 5 < len(list(copies.glob("*.jpg"))) < len(list(whole.iterdir()))
    assert shell(*arguments, "-o", copies, "--resume") == 1
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }


def test_a_killed_run_is_resumed_too(shell, photos, tmp_path, monkeypatch):
    whole, table = tmp_path / "whole.csv", tmp_path / "t.csv"
    assert shell(photos, "--table", whole) == 1
    script = (
        "import os, sys, mien.cli.image_run as run\n"
        "from mien.cli.main import main\n"
        "add = run.ImageRun.add\n"
        "def kill(self, item, *rest, **options):\n"
        "    add(self, item, *rest, **options)\n"
        "    item.name.endswith('07.jpg') and os.kill(os.getpid(), 9)\n"
        "run.ImageRun.add = kill\n"
        "main(sys.argv[1:])"
    )
    arguments = ["predict", photos, "--table", table, "--model", shell.model, "--threads", 1]
    assert subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False).returncode == -9
    journal = tmp_path / "t.csv.run.jsonl"
    assert not table.exists()
    with journal.open("ab") as file:
        file.write(b'{"item": "incompl')
    assert shell(photos, "--table", table, "--resume") == 1
    assert f"resuming after 8 of {COUNT}" in shell.err
    assert table.read_bytes() == whole.read_bytes()
    assert not journal.exists()


@pytest.fixture
def interrupted(shell, stop, photos, tmp_path):
    """Table of an interrupted run."""
    patch = stop("05.jpg")
    assert shell(photos, "--table", tmp_path / "t.csv") == 130
    patch.undo()
    return tmp_path / "t.csv"


@pytest.mark.parametrize(
    "option", ["--max-faces=1", "--min-confidence=0.7", "--no-pose", "--flip-tta", "--detector-size=320"]
)
def test_refuses_other_options(shell, photos, interrupted, option):
    before = interrupted.read_bytes()
    assert shell(photos, "--table", interrupted, "--resume", option) == 2
    assert option.lstrip("-").split("=")[0].removeprefix("no-") in shell.err.replace("_", "-")
    assert "belongs to a run with other settings (" in shell.err
    assert shell.err.count("\n") == 1
    assert interrupted.read_bytes() == before
    assert shell(photos, "--table", interrupted, "--resume") == 1


def test_refuses_another_model(shell, photos, interrupted, explainable_model):
    assert shell(photos, "--table", interrupted, "--resume", model=explainable_model) == 2
    assert "other settings (model)" in shell.err


@pytest.mark.parametrize("change", ["content", "gone"])
def test_images_that_have_changed_are_read_again(shell, photos, interrupted, tmp_path, change):
    first = photos / "00.jpg"
    if change == "content":
        Image.new("RGB", (9, 9)).save(first)
    else:
        first.unlink()
    assert shell(photos, "--table", interrupted, "--resume") == 1
    assert ("1 image changed and will be read again" in shell.err) == (change == "content")
    assert shell(photos, "--table", tmp_path / "whole.csv") == 1
    assert interrupted.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_the_copy_of_a_changed_image_is_replaced_beside_the_images(shell, stop, photos):
    patch = stop("03.jpg")
    arguments = (*sorted(photos.iterdir())[3:], "-o", photos)
    assert shell(*arguments) == 130
    patch.undo()
    write_image(photos / "03.jpg")
    assert shell(*arguments, "--resume") == 0
    assert "1 image changed" in shell.err
    assert (photos / "04-2.jpg").exists()
    assert not (photos / "03-3.jpg").exists()


def test_a_new_image_takes_its_place_in_the_order(shell, photos, interrupted, tmp_path):
    shutil.copy(photos / "00.jpg", photos / "00b.jpg")
    assert shell(photos, "--table", interrupted, "--resume") == 1
    assert shell(photos, "--table", tmp_path / "whole.csv") == 1
    assert interrupted.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_damaged_journal_is_one_clear_line(shell, photos, interrupted, tmp_path):
    (tmp_path / "t.csv.run.jsonl").write_text("[]\n{\n")
    assert shell(photos, "--table", interrupted, "--resume") == 2
    assert "is damaged" in shell.err
    assert shell.err.count("\n") == 1


def test_without_resume_a_run_starts_over_and_says_so(shell, photos, interrupted, tmp_path):
    assert shell(photos, "--table", interrupted) == 1
    assert f"mien: overwriting {interrupted}\n" in shell.err
    assert "overwriting t.csv.run.jsonl" not in shell.err
    assert "--resume would have continued it" in shell.err
    assert len(read_table(interrupted)) == COUNT
    assert shell(photos, "--table", interrupted, "--quiet") == 1
    assert "overwriting" not in shell.err


def test_resume_needs_something_to_continue(shell, photos):
    assert shell(photos, "--resume") == 2
    assert "--table or --output" in shell.err
    assert shell("-", "--resume", "--table", "t.csv") == 2
    assert "standard input" in shell.err


def test_json_alone_says_how_to_be_able_to_continue(shell, stop, photos):
    patch = stop("05.jpg")
    assert shell(photos, "--json") == 130
    patch.undo()
    assert shell.err.splitlines()[-1].endswith("with --table or --output an interrupted run can be continued")
    assert all(json.loads(line) for line in shell.out.splitlines())


def test_a_second_signal_stops_at_once_and_keeps_the_rows(shell, photos, tmp_path, monkeypatch):
    from mien.cli.image_run import ImageRun

    original = ImageRun.add

    def add(self, item, *rest, **options):
        original(self, item, *rest, **options)
        if item.name.endswith("04.jpg"):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ImageRun, "add", add)
    assert shell(photos, "--table", tmp_path / "t.csv") == 143
    assert len(read_table(tmp_path / "t.csv")) == 5
    assert shell.err.count("\n") == 2


def test_a_full_disk_keeps_what_was_read(shell, photos, tmp_path, monkeypatch):
    from mien.cli.console import ConsolePrinter

    printed = []

    def full(self, result):
        printed.append(result)
        if len(printed) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(ConsolePrinter, "add", full)
    assert shell(photos, "--table", tmp_path / "t.csv") == 2
    assert f"stopped after 3 of {COUNT} images" in shell.err
    assert shell.err.endswith("mien: no space left on device.\n")
    assert not (tmp_path / "t.csv").exists()
    monkeypatch.undo()
    assert shell(photos, "--table", tmp_path / "t.csv", "--resume") == 1
    assert f"resuming after 3 of {COUNT}" in shell.err


def test_a_closed_pipe_ends_quietly_and_keeps_the_table(photos, tiny_model, tmp_path):
    command = [sys.executable, "-m", "mien", "predict", photos, "--json", "--model", tiny_model, "--table"]
    process = subprocess.Popen(
        [*map(str, command), str(tmp_path / "t.csv")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    with process:
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(60) == 141
    assert not list(tmp_path.glob("*.partial"))


def test_a_signal_that_nohup_ignores_stays_ignored(shell, stop, photos):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        patch = stop("05.jpg", signal.SIGHUP)
        assert shell(photos, "--json") == 1
        patch.undo()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("command", "target"),
    [
        (("evaluate",), "mien.evaluation.predictions.read_image"),
        (("compare", "open", "MODEL"), "mien.evaluation.predictions.read_image"),
        (("data", "check"), "mien.datasets.check.read_image"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_commands_on_data_sets_say_where_they_stopped(
    command, target, number, tiny_model, tmp_path, monkeypatch, capsys
):
    module, name = target.rsplit(".", 1)
    assert hasattr(sys.modules.get(module) or __import__(module, fromlist=["*"]), name)
    for index in range(40):
        write_image(tmp_path / "faces" / "happy" / f"{index:02}.png")

    signals = iter([number])

    def stop(*_, **__):
        time.sleep(0.05)
        for one in signals:
            os.kill(os.getpid(), one)
        raise ImageReadError("stopped")

    monkeypatch.setattr(target, stop)
    words = [str(tiny_model) if word == "MODEL" else word for word in command]
    output = [] if command[0] == "data" else ["-o", str(tmp_path / "out")]
    code = main([*words, "--dataset", "folder", "--data", str(tmp_path / "faces"), *output])
    error = capsys.readouterr().err
    assert code == 128 + number
    assert error.startswith("mien: stopped after ")
    assert error.endswith("nothing was written; give the command again\n")
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.partial"))
