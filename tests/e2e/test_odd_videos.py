"""End-to-end tests of `mien video` on unusual sources: no faces, no audio, variable rate, rotated, truncated, 4K."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.video.io.reader import VideoReader
from support import clips
from support.images import bust, scaled_to_face
from support.shell import Shell, read_table
from support.video import audio_seconds, image_times, switching_frames, write_clip

SIZE_WH = 320, 240


@pytest.fixture
def shell(tiny_model, capsys):
    return Shell("video", tiny_model, capsys)


def test_video_without_faces(shell, tmp_path):
    clip = clips.write_clip(tmp_path / "clip.mp4", times_s=clips.steady(5))
    assert shell(clip, "--output", tmp_path / "out") == 0
    assert shell.out == "no face found\n"
    assert read_table(tmp_path / "out" / "faces.csv") == []
    assert len(image_times(tmp_path / "out" / "annotated.mp4")) == 5
    assert "No face was found" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def faces_clip(path, count=10, **options):
    frames = switching_frames([bust("obama")], count / 25, size_wh=SIZE_WH)
    return write_clip(path, frames, **options)


def test_variable_frame_rate_keeps_its_times(shell, tmp_path):
    times_s = [0, 0.04, 0.05, 0.3, 0.31, 0.32, 0.7, 0.75, 0.8, 1.0]
    clip = faces_clip(tmp_path / "vfr.mp4", timestamps_s=times_s)
    assert shell(clip, "--output", tmp_path, "--no-report") == 0
    rows = read_table(tmp_path / "faces.csv")
    np.testing.assert_allclose([float(row["timestamp_s"]) for row in rows], times_s, atol=1e-4)
    np.testing.assert_allclose(image_times(tmp_path / "annotated.mp4"), times_s, atol=1e-4)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_video_is_read_upright(shell, tmp_path, rotation):
    clip = faces_clip(tmp_path / "rotated.mp4", 3, rotation=rotation)
    assert shell(clip, "--output", tmp_path, "--no-report") == 0
    for row in read_table(tmp_path / "faces.csv"):
        middle = (float(row["x1"]) + float(row["x2"])) / 2
        assert middle == pytest.approx(160, abs=25)
        assert abs(float(row["roll_deg"])) < 15
    with av.open(str(tmp_path / "annotated.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == SIZE_WH


def test_single_frame_without_audio(shell, tmp_path):
    clip = faces_clip(tmp_path / "one.mp4", 1)
    assert shell(clip, "--output", tmp_path / "out") == 0
    assert "mien: 1 frame, 1 face" in shell.err
    assert image_times(tmp_path / "out" / "annotated.mp4") == [0]
    assert audio_seconds(tmp_path / "out" / "annotated.mp4") == 0
    assert len(read_table(tmp_path / "out" / "faces.csv")) == 1
    assert "0:00" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_truncated_file_is_analyzed_up_to_its_end(shell, tmp_path):
    clip = clips.cut(faces_clip(tmp_path / "cut.mkv", 40, keyframe_every=5), 0.6)
    assert shell(clip, "--output", tmp_path / "out") == 0
    assert "the video is truncated" in shell.err
    rows = read_table(tmp_path / "out" / "faces.csv")
    assert 10 < len(rows) < 40
    assert [int(row["frame_index"]) for row in rows] == list(range(len(rows)))
    assert len(image_times(tmp_path / "out" / "annotated.mp4")) == len(rows)
    assert "the video is truncated" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_failed_stream_is_complete_up_to_there_with_exit_code_1(shell, tmp_path, monkeypatch):
    clip = faces_clip(tmp_path / "clip.mp4", 5)
    problem = "rtsp://host/one sent nothing for 60 s."
    monkeypatch.setattr(VideoReader, "has_failed", True)
    monkeypatch.setattr(VideoReader, "problems", [problem])
    assert shell(clip, "--output", tmp_path / "out", "--no-report", "--quiet") == 1
    assert problem in shell.err
    assert len(read_table(tmp_path / "out" / "faces.csv")) == 5


def test_4k_video(shell, tmp_path):
    image = np.full((2160, 3840, 3), 120, dtype=np.uint8)
    face = scaled_to_face("obama", 400)
    image[500 : 500 + face.shape[0], 2500 : 2500 + face.shape[1]] = face
    clip = write_clip(tmp_path / "4k.mp4", [image, image])
    assert shell(clip, "--output", tmp_path, "--no-report") == 0
    rows = read_table(tmp_path / "faces.csv")
    assert len(rows) == 2
    assert 2500 < float(rows[0]["x1"]) < float(rows[0]["x2"]) < 2500 + face.shape[1]
    assert len(image_times(tmp_path / "annotated.mp4")) == 2


def test_folder_of_images_at_given_rate(shell, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, image in enumerate(switching_frames([bust("obama")], 0.24, size_wh=SIZE_WH)):
        Image.fromarray(image).save(folder / f"{number}.png")
    assert shell(folder, "--output", tmp_path / "out", "--fps", 2) == 0
    rows = read_table(tmp_path / "out" / "faces.csv")
    assert [float(row["timestamp_s"]) for row in rows] == [0, 0.5, 1, 1.5, 2, 2.5]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image") >= 1


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "audio", "truncated", "folder"])
def test_unreadable_source_prints_one_line(shell, tmp_path, kind):
    path: Path = tmp_path / "clip.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("plain text\n" * 20)
    elif kind == "audio":
        path = clips.write_sound(tmp_path / "audio.m4a", "aac")
    elif kind == "truncated":
        clips.cut(faces_clip(path, 3), 0.5)
    elif kind == "folder":
        path.mkdir()
    assert shell(path, "--output", tmp_path / "out") == 2
    assert (shell.out, shell.err.count("\n")) == ("", 1)
    assert shell.err.startswith("mien: ")
    assert path.name in shell.err
    assert not (tmp_path / "out").exists()
