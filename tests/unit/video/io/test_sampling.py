"""Sampling of files, animations and own frames at a given rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.video.io.reader import VideoReader
from mien.video.io.sampling import FrameSampler

av = pytest.importorskip("av")

from support.clips import assert_same, numbered, read, steady, write_clip  # noqa: E402


@pytest.mark.parametrize(("fps", "step"), [(0.5, 20), (1, 10), (2, 5), (5, 2), (10, 1), (25, 1)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_file_is_sampled_at_the_rate(tmp_path: Path, fps: float, step: int, suffix: str):
    path = write_clip(tmp_path / f"clip.{suffix}", "mpeg4" if suffix == "avi" else "libx264")
    frames = read(path, fps=fps)
    assert_same(frames, read(path)[::step])
    with VideoReader(path, fps=fps) as reader:
        assert reader.info.fps == min(fps, 10) or suffix == "avi"  # AVI states 25
        assert reader.info.frames == pytest.approx(len(frames), abs=1) or suffix == "avi"


def test_sampled_file_continues_exactly(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(50))
    frames = read(path, fps=4)
    for number in (0, 3, 10):
        with VideoReader(path, fps=4) as reader:
            reader.skip_to(frames[number].index, frames[number].timestamp_s)
            assert_same(list(reader), frames[number + 1 :])


def test_animation_is_sampled_and_a_folder_is_not(tmp_path: Path):
    images = [Image.fromarray(numbered(index)) for index in range(12)]
    path = tmp_path / "clip.gif"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    assert [round(frame.timestamp_s, 3) for frame in read(path, fps=2)] == [0.0, 0.5, 1.0]
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(images):
        image.save(folder / f"{index}.png")
    assert [frame.timestamp_s for frame in read(folder, fps=2)] == [index / 2 for index in range(12)]


def test_variable_rate_and_gaps():
    sampler = FrameSampler(2)
    times_s = [0.0, 0.1, 0.49, 0.5, 0.51, 3.2, 3.3, 3.51]
    assert [sampler.is_due(time_s) for time_s in times_s] == [True, False, False, True, False, True, False, True]
    sampler = FrameSampler(None)
    assert all(sampler.is_due(time_s) for time_s in times_s)


@pytest.mark.parametrize("fps", [3, 7, 23.976, 29.97, 30])
def test_rate_of_the_file_selects_every_frame(fps: float):
    sampler = FrameSampler(fps)
    assert all(sampler.is_due(round(index / fps, 6)) for index in np.arange(200))


@pytest.mark.parametrize("fps", [12, 15, 24, 30, 48, 60, 120, 240])
@pytest.mark.parametrize("divisor", [1, 2, 3])
def test_rounded_times_are_sampled_evenly(fps: int, divisor: int):
    sampler = FrameSampler(fps / divisor, tick_s=0.001)
    selected = [index for index in range(600) if sampler.is_due(round(index / fps, 3))]
    assert selected == list(range(0, 600, divisor))


@pytest.mark.parametrize("fps", [15, 24, 30, 60, 120])
@pytest.mark.parametrize("to_tick", [round, math.floor])
def test_times_since_a_rounded_first_time_are_sampled_evenly(fps: int, to_tick: Callable[[float], int]):
    sampler = FrameSampler(fps, tick_s=0.001)
    ticks = [to_tick(1000 * (0.0107 + index / fps)) for index in range(600)]
    assert all(sampler.is_due((tick - ticks[0]) / 1000) for tick in ticks)


def test_long_ticks_do_not_move_frames_into_the_interval_before():
    sampler = FrameSampler(10, tick_s=0.04)
    assert [index for index in range(11) if sampler.is_due(index * 0.04)] == [0, 3, 5, 8, 10]


@pytest.mark.parametrize(("fps", "step"), [(30, 1), (15, 2)])
def test_matroska_is_sampled_at_its_rate(tmp_path: Path, fps: float, step: int):
    path = write_clip(tmp_path / "clip.mkv", times_s=steady(60, 30), rate=30)
    assert_same(read(path, fps=fps), read(path)[::step])


@pytest.mark.parametrize("fps", ["2", 0, -1, float("inf"), True])
def test_rejects_other_rates(tmp_path: Path, fps: object):
    with pytest.raises(InputError, match=r"fps is .*; expected a finite number above 0"):
        VideoReader(write_clip(tmp_path / "clip.mp4"), fps=fps)  # pyright: ignore[reportArgumentType]
