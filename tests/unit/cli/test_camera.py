"""Tests of `mien camera` with a video file as the camera and a fake window."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from mien.cli import window as window_module
from mien.cli.main import main
from mien.inference.analyzer import Analyzer
from mien.video.io.reader import VideoReader
from support.images import bust
from support.video import switching_frames, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """One face, for 1.2 seconds."""
    frames = switching_frames([bust("obama")], 1.2, size_wh=(320, 240))
    return write_clip(tmp_path_factory.mktemp("camera") / "clip.mp4", frames)


class FakeWindow:
    """Records the shapes of its images and the last image, and closes after `ends_after` of them."""

    def __init__(self, ends_after=None):
        self.shapes, self.ends_after, self.closed = [], ends_after, 0

    def show(self, image):
        self.shapes.append(image.shape)
        self.last = image
        return self.ends_after is None or len(self.shapes) < self.ends_after

    def close(self):
        self.closed += 1


@pytest.fixture
def shell(tiny_model, capsys, monkeypatch):
    def run(*arguments, window=None):
        monkeypatch.setattr(window_module, "open_window", lambda title: window)
        code = main(["camera", *map(str, arguments), "--model", str(tiny_model), "--threads", "1"])
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-")]
        return code, *capsys.readouterr()

    return run


def test_prints_twice_a_second_without_a_display(shell, clip):
    code, out, err = shell(clip)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [float(line.split()[0]) for line in lines] == pytest.approx([0, 0.5, 1.0], abs=0.06)
    assert all(line.split()[1:3] == ["s", "1:"] and line.endswith("%") for line in lines)


def test_no_window_opens_no_window(shell, clip):
    window = FakeWindow()
    code, out, _ = shell(clip, "--no-window", window=window)
    assert (code, window.shapes, window.closed) == (0, [], 0)
    assert out


def test_shows_every_frame_and_closes_the_window(shell, clip):
    window = FakeWindow()
    assert shell(clip, window=window) == (0, "", "")
    assert window.shapes == [(240, 320, 3)] * 30
    assert window.closed == 1


def test_closing_the_window_ends_the_run(shell, clip):
    window = FakeWindow(ends_after=4)
    assert shell(clip, window=window) == (0, "", "")
    assert (len(window.shapes), window.closed) == (4, 1)


def test_closing_the_window_completes_the_recording(shell, clip, tmp_path):
    window = FakeWindow(ends_after=10)
    code, out, err = shell(clip, "-o", tmp_path / "out", window=window)
    assert code == 0
    assert "perceived expression" in out
    assert "stopped early at" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("annotated.mp4", "faces.csv", "report.html", "segments.csv", "tracks.csv")
    ]
    rows = (tmp_path / "out" / "faces.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 11
    assert window.closed == 1


@pytest.mark.parametrize("has_output", [True, False])
def test_failed_camera_has_exit_code_1(shell, clip, tmp_path, monkeypatch, has_output):
    monkeypatch.setattr(VideoReader, "has_failed", True)
    monkeypatch.setattr(VideoReader, "problems", ["camera 0 failed: no such device."])
    code, out, err = shell(clip, *(["-o", tmp_path / "out"] if has_output else []))
    assert code == 1
    assert "camera 0 failed: no such device." in err
    assert out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close differently on Windows")
def test_a_closed_pipe_completes_the_recording(shell, clip, tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        code, _, err = shell(clip, "-o", tmp_path / "out")
    assert code == 141
    assert f"wrote {tmp_path / 'out' / 'faces.csv'}" in err
    assert "Traceback" not in err
    rows = (tmp_path / "out" / "faces.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 2


def test_closes_the_window_after_an_error(shell, clip, monkeypatch):
    window = FakeWindow()

    def fail(image):
        raise OSError(5, "the display went away")

    window.show = fail
    code, out, err = shell(clip, window=window)
    assert (code, out, err) == (2, "", "mien: the display went away.\n")
    assert window.closed == 1


@pytest.mark.parametrize("source", ["camera:97", "camera:", "missing.mp4"])
def test_reports_a_missing_camera_in_one_line(shell, source):
    window = FakeWindow()
    code, out, err = shell(source, window=window)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mien: ")
    assert window.closed == 0


def test_opens_no_window_without_tk(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tkinter", None)
    assert window_module.open_window("mien") is None


def test_opens_no_window_without_a_display(monkeypatch):
    tkinter = pytest.importorskip("tkinter")

    def refuse():
        raise tkinter.TclError("no display name")

    monkeypatch.setattr(tkinter, "Tk", refuse)
    assert window_module.open_window("mien") is None


def test_blur_hides_the_face_in_the_window_and_in_the_recording(shell, clip, tmp_path, tiny_model):
    window = FakeWindow()
    shell(clip, "-o", tmp_path, "--blur", "all", "--quiet", window=window)
    detector = Analyzer(tiny_model, threads=1)
    with VideoReader(tmp_path / "annotated.mp4") as frames:
        recorded = [frame.image for frame in frames]
    with VideoReader(clip) as frames:
        assert len(detector.detect(next(frames).image)) == 1
    for image in (window.last, *recorded[::10]):
        assert detector.detect(image) == []


def test_blur_refuses_a_limited_number_of_faces(shell, clip):
    code, _, err = shell(clip, "--blur", "others", "--max-faces", "2", window=None)
    assert code == 2
    assert "leave out --max-faces" in err
