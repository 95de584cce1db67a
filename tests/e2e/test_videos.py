"""Several videos in one call of `mien video`, and runs that are stopped and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from mien.cli.video_sources import name_folders
from mien.errors import InputError
from mien.video.annotation import AnnotatedVideoWriter
from mien.video.follower import FaceFollower
from support.images import bust
from support.permissions import deny
from support.shell import Shell
from support.video import image_times, switching_frames, write_clip

NAMES = ["annotated.mp4", "faces.csv", "segments.csv", "tracks.csv"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = switching_frames([bust("obama")], 1.2, size_wh=(320, 240))
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", frames)


@pytest.fixture
def shell(tiny_model, capsys):
    return Shell("video", tiny_model, capsys)


@pytest.fixture
def stop_at(monkeypatch):
    """Return a function that sends a signal to this process before a frame is analyzed."""

    def install(frame, number, times=1):
        original, calls = FaceFollower.step, []

        def step(self, *arguments):
            calls.append(1)
            if len(calls) == frame:
                for _ in range(times):
                    os.kill(os.getpid(), number)
            return original(self, *arguments)

        patch = pytest.MonkeyPatch()
        patch.setattr(FaceFollower, "step", step)
        return patch

    return install


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_video_has_a_folder_of_its_own(shell, clip, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(clip, other / "a.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    assert shell(clip, tmp_path / "bad.mp4", other / "a.mp4", "-o", out, "--no-report") == 1
    assert files(out) == [*(f"{folder}/{name}" for folder in ("a-2", "a") for name in NAMES), "run.jsonl"]
    assert (out / "a" / "faces.csv").read_bytes() == (out / "a-2" / "faces.csv").read_bytes()
    assert [line for line in shell.out.splitlines() if line.endswith(".mp4:")] == [
        f"{path}:" for path in (clip, tmp_path / "bad.mp4", other / "a.mp4")
    ]
    assert "bad.mp4 is not a readable video" in shell.err
    assert shell.err.endswith("mien: 3 videos, 1 could not be read\n")


def test_patterns_are_expanded_and_nothing_is_written_without_output(shell, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x.mp4", "y.mp4"):
        shutil.copy(clip, tmp_path / name)
    assert shell("*.mp4") == 0
    assert [line for line in shell.out.splitlines() if line.endswith(":")] == ["x.mp4:", "y.mp4:"]
    assert files(tmp_path) == ["x.mp4", "y.mp4"]
    assert shell("*.mkv") == 2
    assert shell.err == "mien: no videos match *.mkv.\n"


def test_only_bad_videos_give_exit_code_2(shell, tmp_path):
    assert shell(tmp_path / "a.mp4", tmp_path / "b.mp4") == 2
    assert shell.err.count("\n") == 3


@pytest.mark.parametrize("option", [("--json",), ("--table", "t.csv")])
def test_one_stream_of_rows_takes_one_video(shell, clip, option):
    assert shell(clip, clip, *option) == 2
    assert "take one video" in shell.err
    assert shell.err.count("\n") == 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_still_image_points_to_predict(shell, tmp_path, suffix):
    Image.new("RGB", (20, 20)).save(tmp_path / f"photo.{suffix}")
    assert shell(tmp_path / f"photo.{suffix}") == 2
    assert shell.err == f"mien: {tmp_path / f'photo.{suffix}'} is an image; give it to mien predict.\n"


def test_a_folder_of_videos_is_named_as_such(shell, clip):
    assert shell(clip.parent) == 2
    assert f"{clip.parent} holds videos" in shell.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2)], ids=["int", "term", "twice"]
)
def test_a_stopped_run_is_complete_and_resumes(shell, clip, tmp_path, stop_at, monkeypatch, number, times):
    monkeypatch.setattr("mien.recording.CHECKPOINT_S", 0.0)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert shell(clip, "-o", whole, "--no-report") == 0
    patch = stop_at(12, number, times)
    assert shell(clip, "-o", out, "--no-report") == 128 + number
    patch.undo()
    assert "stopped early at" in shell.err
    assert "continue with the same command and --resume" in shell.err
    done = len(image_times(out / "annotated.mp4"))
    # The first signal waits for the current frame.
    assert done == (12 if times == 1 else 11)
    assert (whole / "faces.csv").read_bytes().startswith((out / "faces.csv").read_bytes())
    assert shell(clip, "-o", out, "--no-report", "--resume") == 0
    assert files(out) == NAMES
    assert (out / "faces.csv").read_bytes() == (whole / "faces.csv").read_bytes()
    assert image_times(out / "annotated.mp4") == image_times(whole / "annotated.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
def test_a_run_stopped_in_the_second_pass_resumes(shell, clip, tmp_path):
    original, calls = AnnotatedVideoWriter.add, []

    def add(self, *arguments):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, *arguments)

    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnnotatedVideoWriter, "add", add)
        assert shell(clip, "-o", out, "--no-report", "--blur", "all") == 143
    assert len(calls) == 5
    assert "stopped before annotated.mp4 was complete; continue with the same command and --resume\n" in shell.err
    assert "annotated.mp4" not in files(out)
    assert shell(clip, "-o", out, "--no-report", "--blur", "all", "--resume") == 0
    assert files(out) == NAMES
    assert len(image_times(out / "annotated.mp4")) == 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
def test_a_stopped_run_can_be_started_over(shell, clip, tmp_path, stop_at):
    patch = stop_at(12, signal.SIGTERM)
    assert shell(clip, "-o", tmp_path / "out", "--no-report") == 143
    patch.undo()
    assert shell(clip, "-o", tmp_path / "out", "--no-report") == 0
    assert "overwriting" in shell.err
    assert files(tmp_path / "out") == NAMES
    assert len(image_times(tmp_path / "out" / "annotated.mp4")) == 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
def test_several_videos_resume_after_the_finished_ones(shell, clip, tmp_path, stop_at):
    second = shutil.copy(clip, tmp_path / "b.mp4")
    out = tmp_path / "out"
    patch = stop_at(42, signal.SIGINT)
    assert shell(clip, second, "-o", out, "--no-report") == 130
    patch.undo()
    first = (out / "a" / "faces.csv").stat().st_mtime_ns
    assert shell(clip, second, "-o", out, "--no-report", "--resume", "--max-faces", "1") == 2
    assert "other settings (max_faces);" in shell.err
    assert shell(clip, second, "-o", out, "--no-report", "--resume") == 0
    assert (out / "a" / "faces.csv").stat().st_mtime_ns == first
    assert (out / "a" / "faces.csv").read_bytes() == (out / "b" / "faces.csv").read_bytes()
    assert files(out) == [*(f"{folder}/{name}" for folder in ("a", "b") for name in NAMES), "run.jsonl"]


def test_images_that_are_left_out_are_named(shell, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.new("RGB", (64, 48)).save(folder / "0.png")
    (folder / "1.png").write_bytes(b"broken")
    (folder / "2.heic").touch()
    assert shell(folder) == 0
    assert shell.err.splitlines()[:3] == [
        f"mien: left out 1 file of {folder} that cannot be read: 2.heic.",
        f"mien: {folder / '1.png'} is not an image in a supported format.",
        "mien: 1 frame, 0 faces, " + shell.err.splitlines()[2].split(", ")[2] + ", 1 broken frame skipped",
    ]


def test_a_folder_without_permission_is_one_bad_video(shell, clip, tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    original = Path.iterdir

    def iterdir(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert shell(tmp_path / "locked", clip) == 1
    assert f"mien: {tmp_path / 'locked'} cannot be read: permission denied.\n" in shell.err


def test_an_image_without_permission_is_one_bad_video(shell, clip, tmp_path, monkeypatch):
    deny(monkeypatch, tmp_path / "locked")
    assert shell(tmp_path / "locked/a.jpg", clip, "-o", tmp_path / "out", "--no-annotate", "--no-report") == 1
    assert f"mien: {tmp_path / 'locked/a.jpg'} cannot be read: permission denied.\n" in shell.err
    assert "2 videos, 1 could not be read" in shell.err


class FakeAnalysis:
    """Writes an empty table instead of an analysis; stores the folders of source and files of each video.

    Attributes:
        calls: pairs of the names of both folders.
        stop_at: number of the video in which the run is stopped.
        failed: names of the folders whose streams fail.
    """

    def __init__(self):
        self.calls = []
        self.failed = ()
        self.stop_at = None

    def __call__(self, source, analyzer, voices, folder, *_):
        self.calls.append((Path(source).parent.name, folder.name))
        was_stopped = len(self.calls) == self.stop_at
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faces.csv").touch()
        return SimpleNamespace(was_stopped=was_stopped, has_failed=folder.name in self.failed)

    def take(self):
        """Return the calls and forget them."""
        calls, self.calls, self.stop_at = self.calls, [], None
        return calls


@pytest.fixture
def analysis(monkeypatch):
    fake = FakeAnalysis()
    monkeypatch.setattr("mien.cli.video._analyze", fake)
    return fake


@pytest.fixture
def namesakes(tmp_path):
    """Return videos of the same name in the folders d0 to d3."""
    paths = [tmp_path / f"d{number}" / "clip.mp4" for number in range(4)]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    return paths


def test_resumed_videos_keep_their_folders_in_another_order(shell, analysis, namesakes, tmp_path):
    new, first, second, _ = namesakes
    out = tmp_path / "out"
    analysis.stop_at = 2
    assert shell(first, second, "-o", out) == 130
    assert analysis.take() == [("d1", "clip"), ("d2", "clip-2")]
    assert shell(new, second, first, "-o", out, "--resume") == 0
    assert analysis.take() == [("d0", "clip-3"), ("d2", "clip-2")]
    assert "mien: 3 videos, 1 analyzed earlier\n" in shell.err


def test_resuming_some_videos_keeps_the_journal_of_the_others(shell, analysis, namesakes, tmp_path):
    first, second, third, new = namesakes
    out = tmp_path / "out"
    analysis.stop_at = 2
    assert shell(first, second, third, "-o", out) == 130
    analysis.take()
    assert shell(new, first, "-o", out, "--resume") == 0
    assert analysis.take() == [("d3", "clip-3")]
    assert shell(first, third, second, new, "-o", out, "--resume") == 0
    assert analysis.take() == [("d2", "clip-4"), ("d1", "clip-2")]


def test_resume_skips_the_finished_videos_of_a_complete_run(shell, analysis, namesakes, tmp_path):
    first, second, new, _ = namesakes
    out = tmp_path / "out"
    assert shell(first, second, "-o", out) == 0
    analysis.take()
    assert shell(first, second, new, "-o", out, "--resume") == 0
    assert analysis.take() == [("d2", "clip-3")]
    assert shell(first, second, new, "-o", out, "--resume") == 0
    assert analysis.take() == []
    assert shell(first, second, "-o", out) == 0
    assert analysis.take() == [("d0", "clip"), ("d1", "clip-2")]


def test_resume_repeats_a_video_that_could_not_be_read(shell, analysis, namesakes, tmp_path, monkeypatch):
    first, second, *_ = namesakes
    out = tmp_path / "out"

    def fail_once(source, *rest):
        monkeypatch.setattr("mien.cli.video._analyze", analysis)
        raise InputError("broken")

    monkeypatch.setattr("mien.cli.video._analyze", fail_once)
    assert shell(first, second, "-o", out) == 1
    assert analysis.take() == [("d1", "clip-2")]
    assert shell(first, second, "-o", out, "--resume") == 0
    assert analysis.take() == [("d0", "clip")]


def test_resume_repeats_a_stream_that_failed(shell, analysis, namesakes, tmp_path):
    first, second, *_ = namesakes
    analysis.failed = ("clip",)
    assert shell(first, second, "-o", tmp_path / "out") == 1
    assert analysis.take() == [("d0", "clip"), ("d1", "clip-2")]
    analysis.failed = ()
    assert shell(first, second, "-o", tmp_path / "out", "--resume") == 0
    assert analysis.take() == [("d0", "clip")]


def test_resume_repeats_videos_that_changed_and_those_without_a_table(shell, analysis, namesakes, tmp_path):
    out = tmp_path / "out"
    analysis.stop_at = 4
    assert shell(*namesakes, "-o", out) == 130
    analysis.take()
    shutil.rmtree(out / "clip-2")
    namesakes[2].write_bytes(b"changed")
    assert shell(*namesakes, "-o", out, "--resume") == 0
    assert analysis.take() == [("d1", "clip-2"), ("d2", "clip-3"), ("d3", "clip-4")]


def test_resume_repeats_a_changed_folder_of_images(shell, analysis, namesakes, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.png").touch()
    analysis.stop_at = 2
    assert shell(frames, namesakes[0], "-o", tmp_path / "out") == 130
    analysis.take()
    (frames / "1.png").touch()
    assert shell(frames, namesakes[0], "-o", tmp_path / "out", "--resume") == 0
    assert [folder for _, folder in analysis.take()] == ["frames", "clip"]


def test_several_videos_are_not_resumed_with_another_precision(shell, analysis, namesakes, tmp_path, monkeypatch):
    analysis.stop_at = 2
    assert shell(*namesakes, "-o", tmp_path / "out") == 130
    monkeypatch.setattr("mien.runtime.LoadedModel.precision", property(lambda _: "int4"))
    assert shell(*namesakes, "-o", tmp_path / "out", "--resume") == 2
    assert "belongs to a run with other settings (precision);" in shell.err


def test_passwords_and_control_characters_are_not_printed_or_stored(shell, analysis, tmp_path):
    analysis.stop_at = 3
    addresses = ["rtsp://u:pass/word@host", "rtsp://v:pass/word@host"]
    out = tmp_path / "out"
    odd = tmp_path / "a\x1b[2Jb.mp4"
    odd.touch()
    assert shell(*addresses, odd, "-o", out) == 130
    entries = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()[1:]]
    assert [entry["item"] for entry in entries if entry["is_done"]] == ["rtsp://host", "rtsp://host (2)"]
    assert shell.out == f"rtsp://host:\nrtsp://host:\n{tmp_path}/a\\x1b[2Jb.mp4:\n"
    assert "pass/word" not in (out / "run.jsonl").read_text()
    # Both are recognized, in spite of the same name.
    assert shell(*addresses, "-o", out, "--resume") == 0
    assert shell.out == ""


def test_folders_of_addresses_have_no_password():
    names = name_folders(["rtsp://user:pass/word@host", "rtsp://user:word@host"], ["a", "b"])
    assert names == {"a": "host", "b": "host-2"}


def test_range_errors_name_the_option(shell, clip):
    for option, value in (("--smoothing", "99"), ("--detect-every", "0"), ("--fps", "-1"), ("--max-faces", "0")):
        assert shell(clip, option, value) == 2
        assert shell.err.startswith(f"mien: {option} is ")
