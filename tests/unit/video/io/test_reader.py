"""Video reader: frames, times, orientation, colors, sizes, and damaged files."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import VideoReadError
from mien.video.io.decoder import FrameClock
from mien.video.io.reader import VideoReader

av = pytest.importorskip("av")

from support.clips import (  # noqa: E402
    CORNERS,
    FRAGMENTED,
    INTRA,
    LOSSLESS,
    assert_same,
    corner_colors,
    cut,
    difference,
    nearest_corners,
    numbered,
    orient,
    read,
    steady,
    write_clip,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", sound="aac")


# --- intact files


def test_reads_all_frames_of_a_file(clip: Path):
    with VideoReader(clip) as reader:
        frames = list(reader)
        assert reader.info.source == str(clip)
        assert reader.info.size_hw == (48, 64)
        assert reader.info.fps == pytest.approx(10, rel=0.05)
        assert reader.info.duration_s == pytest.approx(3, abs=0.1)
        assert reader.info.frames == 30
        assert reader.info.has_audio
        assert not reader.info.is_live
        assert (reader.broken, reader.is_truncated) == (0, False)
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.timestamp_s for frame in frames] == pytest.approx(steady(30))
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert difference(frame.image, numbered(frame.index)) < 12


def test_video_without_audio(tmp_path: Path):
    with VideoReader(write_clip(tmp_path / "clip.mp4", times_s=steady(3))) as reader:
        assert not reader.info.has_audio


def test_variable_frame_rate(tmp_path: Path):
    times_s = [0, 0.04, 0.05, 0.4, 1.0, 1.001, 3.5]
    frames = read(write_clip(tmp_path / "clip.mp4", times_s=times_s))
    assert [frame.timestamp_s for frame in frames] == pytest.approx(times_s, abs=1e-9)


def test_times_start_at_the_first_frame(tmp_path: Path):
    times_s = [7.5 + time_s for time_s in steady(5)]
    frames = read(write_clip(tmp_path / "clip.mkv", times_s=times_s))
    assert [frame.timestamp_s for frame in frames] == pytest.approx(steady(5))


# (a, b, c, d) of the display matrix, and the corners of the image in reading order.
ORIENTATIONS = {
    "upright": ((1, 0, 0, 1), [0, 1, 2, 3]),
    "rotated right": ((0, 1, -1, 0), [2, 0, 3, 1]),
    "rotated by 180 degrees": ((-1, 0, 0, -1), [3, 2, 1, 0]),
    "rotated left": ((0, -1, 1, 0), [1, 3, 0, 2]),
    "flipped left to right": ((-1, 0, 0, 1), [1, 0, 3, 2]),
    "flipped top to bottom": ((1, 0, 0, -1), [2, 3, 0, 1]),
    "transposed": ((0, 1, 1, 0), [0, 2, 1, 3]),
}


@pytest.mark.parametrize(("matrix", "corners"), ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_orientation(tmp_path: Path, matrix: tuple[int, int, int, int], corners: list[int]):
    path = orient(write_clip(tmp_path / "clip.mp4", times_s=steady(2)), matrix)
    with VideoReader(path) as reader:
        image = next(reader).image
        assert image.shape[:2] == reader.info.size_hw == ((64, 48) if matrix[0] == 0 else (48, 64))
    assert nearest_corners(image) == corners


@pytest.mark.parametrize(
    ("orientation", "name"), {6: "rotated right", 3: "rotated by 180 degrees", 8: "rotated left"}.items()
)
def test_orientation_of_a_jpeg_with_the_name_of_a_video(tmp_path: Path, orientation: int, name: str):
    """Its frame has EXIF as side data, a kind that PyAV does not know."""
    path = tmp_path / "photo.webm"
    clip = write_clip(tmp_path / "clip.mp4", times_s=steady(1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(read(clip)[0].image).save(path, "JPEG", exif=exif)
    with VideoReader(path) as reader:
        assert nearest_corners(next(reader).image) == ORIENTATIONS[name][1]


def test_display_matrix_follows_libav(tmp_path: Path):
    """`rotation` of libav is counterclockwise."""
    path = orient(write_clip(tmp_path / "clip.mp4", times_s=steady(2)), (0, 1, -1, 0))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation % 360 == 270


@pytest.mark.parametrize(
    ("codec", "suffix", "pixels"),
    [
        ("libx264", "mp4", "yuv420p"),
        ("libx264", "mkv", "yuvj420p"),
        ("libx264", "mkv", "yuv420p10le"),
        ("libx264", "mkv", "yuv444p"),
        ("ffv1", "mkv", "bgra"),
        ("ffv1", "mkv", "yuv422p"),
        ("libvpx", "webm", "yuv420p"),
        ("mjpeg", "avi", "yuvj422p"),
        ("mpeg4", "avi", "yuv420p"),
        ("prores", "mov", "yuv422p10le"),
        ("libx264rgb", "mkv", "rgb24"),
    ],
)
def test_colors_of_codecs_and_pixel_formats(tmp_path: Path, codec: str, suffix: str, pixels: str):
    if codec not in av.codecs_available:
        pytest.skip(f"this build of libav has no {codec}")
    path = write_clip(tmp_path / f"clip.{suffix}", codec, pixels=pixels, times_s=steady(3))
    frames = read(path)
    assert len(frames) == 3
    assert np.abs(np.array(corner_colors(frames[1].image)) - np.array(CORNERS)).max() <= 12


def test_colors_of_bt709(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options=LOSSLESS)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        frame = av.VideoFrame.from_ndarray(numbered(0), format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode(None))
    colors = np.array(corner_colors(read(path)[0].image))
    assert np.abs(colors - np.array(CORNERS)).max() <= 6


def test_gray_video(tmp_path: Path):
    ramp = np.repeat(np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 48, axis=0), 3, axis=2)
    image = read(write_clip(tmp_path / "clip.mkv", "ffv1", pixels="gray", images=[ramp]))[0].image
    assert difference(image, ramp) <= 1


def test_odd_sizes(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", "ffv1", pixels="yuv420p", size_hw=(49, 63), times_s=steady(2))
    assert read(path)[0].image.shape == (49, 63, 3)


def test_blends_transparency_over_white(tmp_path: Path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgra"
        pixels = np.zeros((48, 64, 4), dtype=np.uint8)
        pixels[:, 32:] = (255, 0, 0, 128)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="bgra")))
        container.mux(stream.encode(None))
    image = read(path)[0].image
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 40].tolist() == [255, 127, 127]


def test_max_side_downscales_and_never_upscales(clip: Path):
    assert read(clip, max_side=32)[0].image.shape == (24, 32, 3)
    assert read(clip, max_side=500)[0].image.shape == (48, 64, 3)
    with VideoReader(clip, max_side=32) as reader:
        assert reader.info.size_hw == (48, 64)


def test_4k_video(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", size_hw=(2160, 3840), times_s=steady(2), options={"preset": "ultrafast"})
    frames = read(path, max_side=960)
    assert [frame.image.shape for frame in frames] == [(540, 960, 3)] * 2
    assert nearest_corners(frames[0].image) == [0, 1, 2, 3]
    assert next(iter(VideoReader(path))).image.shape == (2160, 3840, 3)


def test_resizes_frames_to_the_first_size(tmp_path: Path):
    small = write_clip(tmp_path / "small.ts", size_hw=(48, 64), times_s=steady(4))
    large = write_clip(tmp_path / "large.ts", size_hw=(96, 128), times_s=[1 + time_s for time_s in steady(4)])
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    frames = read(both)
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) >= 6
    assert nearest_corners(frames[-1].image) == [0, 1, 2, 3]


def test_memory_does_not_grow_with_length(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(120))
    with VideoReader(path, threads=1) as reader:
        for _ in range(20):
            next(reader)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(90):
                next(reader)
            assert tracemalloc.get_traced_memory()[0] - before < 5 * 48 * 64 * 3
        finally:
            tracemalloc.stop()


def test_prints_nothing(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(clip.read_bytes())
    read(cut(damaged, 0.99) if len(read(damaged)) == 0 else damaged)
    with pytest.raises(VideoReadError):
        read(cut(damaged, 0.5))
    assert capfd.readouterr() == ("", "")


# --- the clock


def test_clock_corrects_missing_repeated_and_set_back_times():
    clock = FrameClock(0.1)
    stamps = [0.0, 0.1, None, 0.2, 0.3, 0.25, 0.4, 9.0, 0.0, 0.1]
    times_s = [clock.time_s(stamp) for stamp in stamps]
    assert times_s == pytest.approx([0, 0.1, 0.2, 0.225, 0.3, 0.325, 0.4, 9.0, 9.1, 9.2])


def test_clock_moves_only_the_frame_with_a_repeated_time():
    clock = FrameClock(0.75)  # of a file whose frames come in bursts
    times_s = [clock.time_s(stamp) for stamp in (0, 10, 20, 20.04, 20.08, 20.08, 20.16, 20.2)]
    assert times_s == pytest.approx([0, 10, 20, 20.04, 20.08, 20.09, 20.16, 20.2])


def test_clock_recovers_from_a_repeated_time_at_the_start_of_a_burst():
    clock = FrameClock(0.75)
    stamps = [0, 10, 20, 20] + [20 + 0.04 * number for number in range(1, 50)]
    times_s = [clock.time_s(stamp) for stamp in stamps]
    assert all(later - earlier > 1e-3 for earlier, later in pairwise(times_s))
    assert times_s[-40:] == pytest.approx(stamps[-40:])


def test_clock_spreads_frames_that_share_a_tick():
    clock = FrameClock(0.001)  # 3000 frames per second with times in milliseconds
    times_s = [clock.time_s(number // 3 / 1000) for number in range(300)]
    assert times_s[:5] == pytest.approx([0, 0.00025, 0.0005, 0.001, 0.00125])
    assert times_s[-1] == pytest.approx(0.0995)


@pytest.mark.parametrize(
    ("stamps", "is_exact"), [([0, 0.1, 0.5], True), ([0, 0.1, 0.1, 0.2], False), ([0, None], False), ([3, 9, 0], False)]
)
def test_clock_remembers_corrections(stamps: list[float | None], is_exact: bool):
    clock = FrameClock(0.1)
    for stamp in stamps:
        clock.time_s(stamp)
    assert clock.is_exact == is_exact
    clock.reset()
    assert clock.is_exact


def test_clock_without_timestamps():
    clock = FrameClock(0.5)
    assert [clock.time_s(None) for _ in range(3)] == [0.0, 0.5, 1.0]


def test_raw_stream_has_increasing_times(tmp_path: Path):
    frames = read(write_clip(tmp_path / "clip.h264", format_name="h264", times_s=steady(12)))
    times_s = [frame.timestamp_s for frame in frames]
    assert len(frames) == 12
    assert times_s[0] == 0
    assert all(later > earlier for earlier, later in pairwise(times_s))


# --- damaged files


def test_truncated_matroska_ends_early(tmp_path: Path):
    intact = read(write_clip(tmp_path / "clip.mkv", times_s=steady(40)))
    with VideoReader(cut(tmp_path / "clip.mkv", 0.6)) as reader:
        frames = list(reader)
        assert reader.is_truncated
    assert 10 < len(frames) < 40
    assert_same(frames[:-3], intact[: len(frames) - 3])


@pytest.mark.parametrize(
    "container_options", [{"movflags": "faststart"}, FRAGMENTED], ids=["index first", "fragmented"]
)
def test_truncated_mp4_ends_early(tmp_path: Path, container_options: dict[str, str]):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(40), container_options=container_options)
    intact = read(path)
    with VideoReader(cut(path, 0.6)) as reader:
        frames = list(reader)
        assert reader.is_truncated
    assert 5 < len(frames) < 40
    assert_same(frames[:-3], intact[: len(frames) - 3])


def test_mp4_that_is_removed_while_it_is_read_keeps_its_frames(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(40))
    with VideoReader(path) as reader:
        first = next(reader)
        path.unlink()
        assert len([first, *reader]) == 40
        assert not reader.is_truncated


def test_rejects_mp4_without_index(tmp_path: Path):
    path = cut(write_clip(tmp_path / "clip.mp4"), 0.6)
    with pytest.raises(VideoReadError, match=r"clip.mp4 is truncated or damaged: its index is missing"):
        read(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_continues_after_damaged_bytes(tmp_path: Path, suffix: str):
    options = {"g": "10", "bf": "0"}
    short_clusters = {"cluster_time_limit": "1000"} if suffix == "mkv" else {}
    path = write_clip(
        tmp_path / f"clip.{suffix}", "mpeg4", times_s=steady(60), options=options, container_options=short_clusters
    )
    intact, data = read(path), bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert not reader.is_truncated
    assert 30 < len(frames) <= 60
    times_s = [frame.timestamp_s for frame in frames]
    assert times_s == sorted(set(times_s))
    assert_same(frames[:10], intact[:10])
    assert frames[-1].timestamp_s == intact[-1].timestamp_s
    np.testing.assert_array_equal(frames[-1].image, intact[-1].image)


def test_counts_broken_frames(tmp_path: Path):
    path = write_clip(tmp_path / "clip.avi", "ffv1", times_s=steady(10), options=INTRA)
    intact, data = read(path), bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][4]
    at = data.index(bytes(packet))
    data[at : at + packet.size] = b"\x55" * packet.size
    path.write_bytes(data)
    with VideoReader(path, threads=1) as reader:
        frames = list(reader)
        assert reader.broken == 1
        assert not reader.is_truncated
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert_same(frames, [frame for frame in intact if frame.index != 4])


def test_rejects_video_without_frames(tmp_path: Path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = 48, 64
        container.start_encoding()
    with pytest.raises(VideoReadError, match=r"clip.avi (has no frame|is not a readable video)"):
        read(path)
