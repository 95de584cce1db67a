"""Streams of media files in libav."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import pytest
from av.container import InputContainer
from av.error import InvalidDataError

from mien.av_streams import decodable_audio, decodable_video, first_frame_s, load_av
from mien.errors import MissingExtraError
from mien.video.io.reader import VideoReader
from support.clips import steady, write_clip
from support.sounds import tone, write_audio


class FailingReads:
    """A container whose first reads fail."""

    def __init__(self, container: InputContainer, failures: int) -> None:
        self.streams = container.streams
        self._container = container
        self._failures = failures

    def demux(self, stream):
        if self._failures:
            self._failures -= 1
            raise InvalidDataError(1, "damaged")
        yield from self._container.demux(stream)


def start_s(path: Path) -> float | None:
    with av.open(str(path)) as container:
        return first_frame_s(container)


def cut_start(path: Path) -> None:
    """Cut a transport stream within a group of pictures: the first frames have no keyframe."""
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 * 3 // 10 * 188 :])


def break_first_packet(path: Path) -> None:
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    start = data.index(bytes(packet), position)
    data[start : start + size] = bytes([0xA5]) * size
    path.write_bytes(data)


@pytest.mark.parametrize(("name", "damage"), [("a.ts", cut_start), ("a.mkv", break_first_packet)])
def test_first_frame_is_that_of_the_video_reader(tmp_path, name, damage):
    path = write_clip(tmp_path / name, times_s=steady(30, fps=25), rate=25)
    undamaged_start_s = start_s(path)
    assert undamaged_start_s is not None
    damage(path)
    with VideoReader(path) as reader:
        last_s = max(frame.timestamp_s for frame in reader)
    assert last_s < 29 / 25
    assert start_s(path) == pytest.approx(undamaged_start_s + 29 / 25 - last_s, abs=1e-3)


@pytest.mark.parametrize(("failures", "expected_s"), [(3, 0.2), (100, None)], ids=["some", "all"])
def test_failed_reads_before_the_first_frame_are_repeated(tmp_path, failures, expected_s):
    path = write_clip(tmp_path / "a.mkv", times_s=[0.2, 0.3, 0.4])
    with av.open(str(path)) as container:
        reads: Any = FailingReads(container, failures)
        assert first_frame_s(reads) == expected_s


def test_sound_without_video_has_no_first_frame(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(0.5))
    with av.open(str(path)) as container:
        assert decodable_audio(container) is container.streams.audio[0]
        assert decodable_video(container) is None
        assert first_frame_s(container) is None


def test_missing_pyav_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"reading audio needs more packages: .*mien\[voice\]"):
        load_av("reading audio", "voice")
