"""`mien batch` from the command line: tables, errors, resuming, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mien.batch import shards
from mien.cli.main import main
from support.batches import write_tar
from support.shell import Shell

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def shell(tiny_model, capsys):
    return Shell("batch", tiny_model, capsys, "--workers", "1")


@pytest.fixture
def photos(examples, tmp_path):
    """Five images: faces and a broken file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes((examples / "astronaut.jpg").read_bytes())
    (folder / "3.jpg").write_bytes(b"broken")
    return folder


def rows(folder):
    return [row for path in sorted(folder.glob("images/*")) for row in pq.read_table(path).to_pylist()]


def test_table_is_that_of_predict(shell, photos, tiny_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert shell(photos, "-o", out, "--shard-size", "2") == 1
    assert shell.err.splitlines()[-2:] == [
        "mien: 5 inputs, 4 faces, 1 could not be read: see errors.parquet", f"mien: wrote {out}"
    ]  # fmt: skip
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "errors.parquet", "images/000000.parquet", "images/000001.parquet", "images/000002.parquet", "run.jsonl"
    ]  # fmt: skip
    table = tmp_path / "predict.parquet"
    options = ["--model", str(tiny_model), "--threads", "1", "--quiet"]
    assert main(["predict", str(photos), "--table", str(table), *options]) == 1
    capsys.readouterr()
    assert rows(out) == pq.read_table(table).to_pylist()
    (error,) = pq.read_table(out / "errors.parquet").to_pylist()
    assert error["item"] == str(photos / "3.jpg")
    assert error["message"] == f"{photos / '3.jpg'} is not an image in a supported format."
    # the same command has nothing to do, and other options are refused
    files = {path: path.stat().st_mtime_ns for path in out.glob("images/*")}
    assert shell(photos, "-o", out, "--shard-size", "2") == 1
    assert "resuming after 3 of 3 shards" in shell.err
    assert {path: path.stat().st_mtime_ns for path in out.glob("images/*")} == files
    assert shell(photos, "-o", out, "--shard-size", "2", "--max-faces", "1") == 2
    assert "other settings (max_faces); give the same as before" in shell.err
    assert shell(photos, "-o", out, "--shard-size", "2", "--device", "cpu") == 2
    assert "other settings (device); give the same as before" in shell.err


def test_truncated_video_is_a_partial_failure(shell, tmp_path):
    pytest.importorskip("av")
    from support.clips import cut
    from support.images import bust
    from support.video import switching_frames, write_clip

    frames = switching_frames([bust("obama")], 1.6, size_wh=(320, 240))
    clip = cut(write_clip(tmp_path / "cut.mkv", frames, keyframe_every=5), 0.6)
    assert shell(clip, "-o", tmp_path / "out") == 1
    assert "1 input, 1 face, 1 could be read only in part: see errors.parquet" in shell.err
    (error,) = pq.read_table(tmp_path / "out" / "errors.parquet").to_pylist()
    assert error["is_partial"] is True


def test_refuses_changed_inputs(shell, photos, tmp_path):
    assert shell(photos / "3.jpg", "-o", tmp_path / "out") == 2
    (photos / "3.jpg").write_bytes(b"changed")
    assert shell(photos / "3.jpg", "-o", tmp_path / "out") == 2
    assert "run.jsonl belongs to a run with other settings (inputs); give the same as before, or give" in shell.err


def test_tar_file_without_images_fails(shell, tmp_path):
    path = write_tar(tmp_path / "a.tar", ("a.txt", b"1"))
    assert shell(path, "-o", tmp_path / "out") == 2
    assert f"mien: no images found in {path}; expected JPEG, PNG or others." in shell.err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "mien: no source given; expected files, folders or URLs."),
        (("nowhere",), "mien: nowhere: no such file or folder."),
        (("empty",), "mien: no images or videos found in empty; expected JPEG, PNG, tar files, MP4 or others."),
        (("photos", "--shard-size", "0"), "mien: --shard-size is 0; expected an integer, 1 or more."),
        (("photos", "--cpus-per-worker", "0"), "mien: --cpus-per-worker is 0; expected an integer, 1 or more."),
        (("photos", "--gpus-per-worker", "-1"), "mien: --gpus-per-worker is -1.0; expected 0 or more."),
        (("photos", "--gpus-per-worker", "1"), "mien: --gpus-per-worker places workers on a Ray cluster"),
        (("photos", "--model", "nothing"), "mien: unknown model 'nothing'"),
    ],
)
def test_errors_are_one_line_and_write_nothing(photos, tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["batch", *arguments, "-o", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_names_the_extra_without_ray(photos, tmp_path, tiny_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    options = ["-o", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert main(["batch", str(photos), *options, "--cluster", "ray"]) == 2
    assert capsys.readouterr().err == "mien: --cluster ray needs more packages: pip install 'mien[ray]'\n"
    # the folder can be used by the next command
    assert main(["batch", str(photos), *options, "--workers", "1", "--quiet"]) == 1


def shards_in(out):
    manifest = out / "run.jsonl"
    return len(manifest.read_text().splitlines()) - 1 if manifest.exists() else 0


def start_and_stop(photos, out, model, shards, number):
    """Stop a run by a signal when its manifest has a number of shards; return its exit code and messages."""
    options = ["--shard-size", "1", "--workers", "1", "--model", str(model), "--threads", "1"]
    command = [sys.executable, "-m", "mien", "batch", str(photos), "-o", str(out), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline_s = time.monotonic() + 60
    # a file of the stopped run that its manifest lacks does not count: the next run writes it again
    while shards_in(out) < shards and time.monotonic() < deadline_s:
        time.sleep(0.005)
    # Ctrl-C in a terminal reaches the workers too
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
def test_a_stopped_and_a_killed_run_are_continued(shell, photos, tiny_model, tmp_path):
    for number in range(5, 40):  # enough to be stopped twice
        (photos / f"{number}.jpg").write_bytes((photos / "0.jpg").read_bytes())
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert shell(photos, "-o", whole, "--shard-size", "1") == 1
    code, messages = start_and_stop(photos, out, tiny_model, 1, signal.SIGINT)
    done = shards_in(out)
    assert code == 130
    assert messages[-1] == f"mien: stopped after {done} of 40 shards; the same command continues the run"
    code, messages = start_and_stop(photos, out, tiny_model, done + 1, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert messages[0] == f"mien: resuming after {done} of 40 shards"
    assert shell(photos, "-o", out, "--shard-size", "1") == 1
    assert {path.name: path.read_bytes() for path in out.rglob("*.parquet")} == {
        path.name: path.read_bytes() for path in whole.rglob("*.parquet")
    }
    names = [json.loads(line)["item"] for line in (out / "run.jsonl").read_text().splitlines()[1:]]
    assert sorted(names) == [f"images/{number:06}" for number in range(40)]


def test_the_manifest_omits_the_password_of_a_source(shell, tmp_path, monkeypatch):
    monkeypatch.setattr("mien.cli.batch.list_shards", lambda *_, **__: shards.Listing(shards=(), digest=""))
    assert shell("s3://user:secret@bucket/photos", "photos", "-o", tmp_path) == 0
    (line,) = (tmp_path / "run.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == ["s3://bucket/photos", "photos"]
