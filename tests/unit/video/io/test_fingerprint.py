"""Fingerprints of files, folders of images and patterns, and sources without one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mien.video.io.fingerprint import identify


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.png").write_bytes(b"%d" % index)
    return folder


def test_a_file_has_size_and_time(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"12")
    assert identify(str(tmp_path / "a.mp4")) == [2, (tmp_path / "a.mp4").stat().st_mtime_ns]


def test_other_sources_and_files_out_of_reach_have_none(tmp_path: Path):
    (tmp_path / "holds videos").mkdir()
    (tmp_path / "holds videos" / "a.mp4").touch()
    for source in (
        *("camera:0", "rtsp://host/stream", tmp_path / "gone.mp4", f"{'x' * 400}.mp4", "a\0b.mp4"),
        *(tmp_path / "holds videos", tmp_path / "%04d.png"),
    ):
        assert identify(source) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_has_none(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert identify(tmp_path / "pipe") is None


@pytest.mark.parametrize("pattern", ["", "%d.png"])
def test_an_image_sequence_changes_with_each_of_its_images(frames: Path, pattern: str):
    source = frames / pattern
    digest = identify(source)
    assert isinstance(digest, str)
    assert identify(source) == digest
    (frames / "notes.txt").touch()
    assert identify(source) == digest
    shutil.copy(frames / "0.png", frames / "7.png")
    longer = identify(source)
    (frames / "7.png").rename(frames / "8.png")
    renamed = identify(source)
    status = (frames / "1.png").stat()
    os.utime(frames / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    assert len({digest, longer, renamed, identify(source)}) == 4


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_broken_link_is_part_of_a_sequence(frames: Path):
    digest = identify(frames)
    (frames / "9.png").symlink_to("gone.png")
    assert identify(frames) not in (None, digest)
