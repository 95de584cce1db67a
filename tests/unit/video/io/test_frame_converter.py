"""Decoded frames: square pixels, changing sizes and orientations, and memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.video.io.reader import VideoReader, frames_at
from mien.video.io.writer import VideoWriter

av = pytest.importorskip("av")

from support.clips import LOSSLESS, nearest_corners, orient, read, steady, write_clip  # noqa: E402

DISC_HW = (96, 128)


def disc(size_hw: tuple[int, int], ratio: float = 1.0) -> np.ndarray:
    """Return a white disc on black, squeezed by the width of a pixel; it is 5/8 of the shorter side."""
    radius = min(size_hw[0], size_hw[1] * ratio) * 5 / 16
    rows, columns = np.indices(size_hw)
    x, y = (columns + 0.5) * ratio - size_hw[1] * ratio / 2, rows + 0.5 - size_hw[0] / 2
    return np.repeat(np.where(x**2 + y**2 <= radius**2, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def disc_hw(image: np.ndarray) -> tuple[int, int]:
    is_white = image.mean(axis=2) > 127
    return int(is_white.any(axis=1).sum()), int(is_white.any(axis=0).sum())


@pytest.mark.parametrize(
    ("suffix", "codec", "size_hw", "ratio"),
    [
        ("mp4", "libx264", (96, 64), "2"), ("mp4", "libx264", (96, 64), "8/9"), ("mp4", "libx264", (96, 64), "4/3"),
        ("mkv", "libx264", (96, 64), "2"), ("avi", "mpeg4", (96, 64), "1/2"), ("ts", "libx264", (96, 64), "16/11"),
        ("mpg", "mpeg2video", (576, 720), "16/15"), ("vob", "mpeg2video", (576, 720), "64/45"),
        ("mpg", "mpeg2video", (480, 720), "8/9"),
    ],
)  # fmt: skip
def test_pixels_are_square(tmp_path: Path, suffix: str, codec: str, size_hw: tuple[int, int], ratio: str):
    if codec not in av.codecs_available:
        pytest.skip(f"this build of libav has no {codec}")
    path = write_clip(
        tmp_path / f"clip.{suffix}", codec, images=[disc(size_hw, float(Fraction(ratio)))] * 3, size_hw=size_hw,
        pixel_ratio=Fraction(ratio), rate=25, times_s=steady(3, 25), time_base=Fraction(1, 25),
    )  # fmt: skip
    with VideoReader(path) as reader:
        image = next(reader).image
        assert reader.info.size_hw == image.shape[:2] == (size_hw[0], round(size_hw[1] * Fraction(ratio)))
    height, width = disc_hw(image)
    assert height == pytest.approx(width, abs=4)


def test_pixels_of_a_rotated_video_are_square(tmp_path: Path):
    images = [disc((96, 64), 2.0)] * 2
    clip = write_clip(tmp_path / "clip.mp4", images=images, size_hw=(96, 64), pixel_ratio=Fraction(2))
    image = read(orient(clip, (0, 1, -1, 0)))[0].image
    assert image.shape == (128, 96, 3)
    assert disc_hw(image) == (pytest.approx(60, abs=3), pytest.approx(60, abs=3))


@pytest.mark.parametrize("ratio", ["1000/1", "1/1000"])
def test_impossible_pixel_ratio_is_ignored(tmp_path: Path, ratio: str):
    path = write_clip(tmp_path / "clip.mkv", "ffv1", pixel_ratio=Fraction(ratio), times_s=steady(2))
    assert read(path)[0].image.shape == (48, 64, 3)


def test_times_and_seeking_return_the_same_square_pixels(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", pixel_ratio=Fraction(2), times_s=steady(30), options=LOSSLESS)
    frames = read(path)
    assert {frame.image.shape for frame in frames} == {(48, 128, 3)}
    (_, image), (_, late) = frames_at(path, [0.0, 2.5])
    np.testing.assert_array_equal(image, frames[0].image)
    np.testing.assert_array_equal(late, frames[25].image)
    with VideoReader(path) as reader:
        reader.skip_to(19, 1.9)
        np.testing.assert_array_equal(next(reader).image, frames[20].image)


def joined(tmp_path: Path, *sizes_hw: tuple[int, int], ratios: tuple[str, ...] = ()) -> Path:
    """Return a transport stream whose parts have different sizes, each with a disc."""
    data = b""
    for number, size_hw in enumerate(sizes_hw):
        ratio = Fraction(ratios[number]) if ratios else None
        part = write_clip(
            tmp_path / f"{number}.ts", images=[disc(size_hw, float(ratio or 1))] * 5, size_hw=size_hw,
            times_s=[number + time_s for time_s in steady(5)], pixel_ratio=ratio,
        )  # fmt: skip
        data += part.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("second_hw", [(128, 96), (192, 256), (48, 64), (96, 256), (194, 258)])
def test_frames_of_another_size_keep_their_shape(tmp_path: Path, second_hw: tuple[int, int]):
    frames = read(joined(tmp_path, DISC_HW, second_hw))
    assert {frame.image.shape[:2] for frame in frames} == {DISC_HW}
    assert len(frames) >= 8
    for frame in (frames[0], frames[-1]):
        height, width = disc_hw(frame.image)
        assert height == pytest.approx(width, abs=3)
    scale = min(96 / second_hw[0], 128 / second_hw[1])
    assert disc_hw(frames[-1].image)[0] == pytest.approx(min(second_hw) * scale * 5 / 8, abs=3)


def test_pixel_ratio_may_change_with_the_size(tmp_path: Path):
    frames = read(joined(tmp_path, (96, 128), (96, 64), ratios=("1", "2")))
    assert disc_hw(frames[-1].image) == (pytest.approx(60, abs=3), pytest.approx(60, abs=3))


def test_every_source_fits_images_alike(tmp_path: Path):
    """A wide image, then a tall one: in a folder, an animation and a video."""
    wide, tall = Image.fromarray(disc((96, 128))), Image.fromarray(disc((128, 96)))
    folder = tmp_path / "images"
    folder.mkdir()
    wide.save(folder / "1.png")
    tall.save(folder / "2.png")
    for source in (folder, folder / "%d.png", joined(tmp_path, (96, 128), (128, 96))):
        last = read(source)[-1].image
        assert last.shape == (96, 128, 3)
        assert disc_hw(last) == (pytest.approx(45, abs=2), pytest.approx(45, abs=2))
        assert not last[:, :26].any()


def test_turned_recording_can_be_written(tmp_path: Path):
    path = joined(tmp_path, DISC_HW, (128, 96))
    with VideoReader(path) as reader, VideoWriter(tmp_path / "copy.mp4", size_hw=reader.info.size_hw) as writer:
        for frame in reader:
            writer.add(frame.image, frame.timestamp_s)
    assert disc_hw(read(tmp_path / "copy.mp4")[-1].image) == (pytest.approx(45, abs=2), pytest.approx(45, abs=2))


@pytest.mark.parametrize("matrix", [None, (0, 1, -1, 0)])
def test_frames_are_freed_without_garbage_collection(tmp_path: Path, matrix: tuple[int, int, int, int] | None):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(20))
    if matrix:
        orient(path, matrix)
    gc.collect()
    gc.disable()
    try:
        with VideoReader(path, threads=1) as reader:
            assert sum(1 for _ in reader) == 20
        del reader
        assert not [item for item in gc.get_objects() if type(item) is av.VideoFrame]
    finally:
        gc.enable()
    assert nearest_corners(read(path)[0].image)


PEAK = """
import gc, resource, sys
gc.disable()  # when it runs depends on the other objects of a program
from mien.video.io.reader import VideoReader
with VideoReader(sys.argv[1], threads=1, max_side=640) as reader:
    next(reader)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 1 + sum(1 for _ in reader)
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 // 10**6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux only")
def test_memory_of_4k_frames_is_flat(tmp_path: Path):
    """60 frames of 12 MB each are 750 MB if every one stays in memory."""
    images = [np.full((2160, 3840, 3), 40 * (index % 5), np.uint8) for index in range(5)] * 12
    options = {"preset": "ultrafast", "bf": "0"}
    path = write_clip(tmp_path / "clip.mp4", images=images, size_hw=(2160, 3840), options=options)
    command = [sys.executable, "-c", PEAK, str(path)]
    printed = subprocess.run(command, env=os.environ, check=True, capture_output=True, text=True).stdout
    count, growth_mb = map(int, printed.split())
    assert count == 60
    assert growth_mb < 100
