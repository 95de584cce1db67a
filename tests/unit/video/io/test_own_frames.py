"""Frames and files from the caller's program: iterables, generators, timestamps, bytes and open files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError, VideoReadError
from mien.video.io.reader import VideoReader

av = pytest.importorskip("av")

from support.clips import LOSSLESS, assert_same, cut, numbered, read, steady, write_clip  # noqa: E402

IMAGES = [numbered(index) for index in range(6)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", sound="aac", options=LOSSLESS)


@pytest.mark.parametrize("kind", ["list", "generator", "array", "Pillow"])
def test_images_have_the_given_rate(kind):
    source = {
        "list": IMAGES,
        "generator": (image for image in IMAGES),
        "array": np.stack(IMAGES),
        "Pillow": [Image.fromarray(image) for image in IMAGES],
    }[kind]
    frames = read(source, fps=5)
    assert [(frame.index, frame.timestamp_s) for frame in frames] == [
        (index, pytest.approx(index / 5)) for index in range(6)
    ]
    for frame, image in zip(frames, IMAGES, strict=True):
        np.testing.assert_array_equal(frame.image, image)


def test_default_rate_and_info():
    with VideoReader(IMAGES) as reader:
        assert (reader.info.fps, reader.info.frames, reader.info.size_hw) == (25, 6, (48, 64))
    with VideoReader(iter(IMAGES)) as reader:
        assert (reader.info.frames, reader.info.duration_s, reader.info.is_live) == (None, None, False)


def test_timestamps_begin_at_the_first_frame_and_are_sampled():
    pairs = [(10 + 0.1 * index, image) for index, image in enumerate(IMAGES)]
    assert [round(frame.timestamp_s, 6) for frame in read(pairs)] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [round(frame.timestamp_s, 6) for frame in read(pairs, fps=5)] == [0, 0.2, 0.4]


def test_generator_is_taken_one_frame_at_a_time_and_may_reuse_its_array():
    taken = []

    def frames():
        buffer = np.zeros((48, 64, 3), np.uint8)
        for index in range(4):
            taken.append(index)
            buffer[:] = index
            yield buffer

    with VideoReader(frames()) as reader:
        results = [next(reader)]
        assert len(taken) <= 2
        results += list(reader)
    assert [int(frame.image.max()) for frame in results] == [0, 1, 2, 3]


def test_frames_of_other_sizes_are_fitted():
    frames = read([IMAGES[0], np.full((64, 48, 3), 255, np.uint8)])
    assert frames[1].image.shape == (48, 64, 3)
    assert not frames[1].image[:, :13].any()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "empty"),
        ([(0.0, IMAGES[0]), (0.0, IMAGES[1])], "frame 1 is at 0.0 s"),
        ([(0.0, IMAGES[0]), (float("nan"), IMAGES[1])], "frame 1: nan is not a timestamp"),
        ([("0", IMAGES[0])], "frame 0: '0' is not a timestamp"),
        ([IMAGES[0], None], "frame 1"),
        ([IMAGES[0], np.zeros((4, 4), bool)], "frame 1"),
        (IMAGES[0], "pass an iterable of images"),
        (3.5, "float is not a video"),
        (None, "NoneType is not a video"),
        ("", "the path is empty"),
        (b"", "empty"),
        (io.BytesIO(), "empty"),
        (io.StringIO("text"), "binary mode"),
        (b"no video at all" * 50, "not a readable video"),
    ],
)
def test_rejects_what_is_not_a_video(source, message):
    with pytest.raises((InputError, VideoReadError), match=message):
        read(source)


def test_rejects_closed_file(clip: Path):
    file = clip.open("rb")
    file.close()
    with pytest.raises(InputError, match="closed"):
        read(file)


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "BytesIO", "BytesIO at its end"])
def test_content_of_a_file_is_read_as_the_file(clip: Path, kind: str):
    data = clip.read_bytes()
    at_end = io.BytesIO(data)
    at_end.seek(0, io.SEEK_END)
    source = {"bytes": data, "bytearray": bytearray(data), "BytesIO": io.BytesIO(data), "BytesIO at its end": at_end}
    assert_same(read(source[kind]), read(clip))


def test_open_file_is_read_and_stays_open(clip: Path):
    with clip.open("rb") as file:
        assert_same(read(file), read(clip))
        assert_same(read(file), read(clip))


def test_content_of_a_truncated_file(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", times_s=steady(60))
    cut(path, 0.6)
    results = []
    for source in (path, path.read_bytes()):
        with VideoReader(source) as reader:
            results.append((len(list(reader)), reader.is_truncated))
    assert results[0] == results[1]
    assert results[0][1]


def test_content_can_be_skipped(clip: Path):
    frames = read(clip)
    with VideoReader(clip.read_bytes()) as reader:
        reader.skip_to(19, frames[19].timestamp_s)
        assert_same(list(reader), frames[20:])


def test_arrays_of_opencv_are_converted():
    colored = [np.full((20, 30, 3), (250, 100, 10), dtype=np.uint8)]
    (frame,) = read([image[:, :, ::-1] for image in colored], color="bgr")
    np.testing.assert_array_equal(frame.image, colored[0])
