"""Frame queue: order, prefetch limit, dropped frames, errors and closing."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mien.errors import VideoReadError
from mien.video.io import frame_queue
from mien.video.io.frame_queue import PREFETCH, FrameQueue
from mien.video.io.sources import DecodedFrame

IMAGE = np.zeros((2, 2, 3), dtype=np.uint8)


def numbered(count, image=IMAGE):
    for index in range(count):
        yield DecodedFrame(index, index / 25, image)


def wait_until(is_true):
    limit_s = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < limit_s
        time.sleep(0.002)


class Counted:
    """Counts the frames read from it."""

    def __init__(self, length, image=IMAGE):
        self.count, self._frames = 0, numbered(length, image)

    def __iter__(self):
        return self

    def __next__(self):
        frame = next(self._frames)
        self.count += 1
        return frame


@pytest.fixture(autouse=True)
def no_threads_remain():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "mien-frames"]


@pytest.mark.parametrize("newest", [False, True])
def test_empty_source(newest):
    with FrameQueue(numbered(0), newest=newest) as frames:
        assert list(frames) == []


def test_file_yields_all_frames_in_order():
    with FrameQueue(numbered(100), newest=False) as frames:
        assert [frame.index for frame in frames] == list(range(100))
    assert frames.dropped == 0


def test_reader_prefetches_up_to_the_limit():
    source = Counted(100)
    with FrameQueue(source, newest=False) as frames:
        wait_until(lambda: source.count > PREFETCH)
        time.sleep(0.05)
        assert source.count == PREFETCH + 1  # one waits to be queued
        stream = iter(frames)
        assert next(stream).index == 0
        wait_until(lambda: source.count == PREFETCH + 2)
        stream.close()


@pytest.mark.parametrize(("side", "waiting"), [(2000, 3), (5000, 1)])
def test_fewer_large_frames_wait(side, waiting):
    # a view of one pixel: no memory for the pixels
    source = Counted(100, np.broadcast_to(IMAGE[:1, :1], (side, side, 3)))
    with FrameQueue(source, newest=False) as frames:
        wait_until(lambda: source.count > waiting)
        time.sleep(0.05)
        assert source.count == waiting + 1  # one waits to be queued
        assert next(iter(frames)).index == 0


def test_live_source_keeps_newest_frame_and_counts_dropped_ones():
    step = threading.Semaphore(0)

    def live():
        for frame in numbered(10):
            step.acquire()
            yield frame
        step.acquire()

    with FrameQueue(live(), newest=True) as frames:
        stream = iter(frames)
        step.release()
        assert next(stream).index == 0
        for _ in range(5):
            step.release()
        wait_until(lambda: frames.dropped == 4)
        assert next(stream).index == 5
        for _ in range(5):
            step.release()
        assert [frame.index for frame in stream][-1] == 9
    assert frames.dropped + 3 <= 10


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("error", [VideoReadError("broken"), OSError("gone"), KeyboardInterrupt()])
def test_raises_reader_errors_after_the_frames_before_them(newest, error):
    def broken():
        yield from numbered(1)
        raise error

    with FrameQueue(broken(), newest=newest) as frames:
        stream = iter(frames)
        assert next(stream).index == 0
        with pytest.raises(type(error)) as caught:
            next(stream)
    assert caught.value is error


def test_closing_stops_a_waiting_reader():
    source = Counted(100)
    with FrameQueue(source, newest=False):
        wait_until(lambda: source.count == PREFETCH + 1)
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 2
    assert source.count == PREFETCH + 1


def test_closing_stops_reader_of_live_source():
    def endless():
        while True:
            time.sleep(0.001)
            yield DecodedFrame(0, 0.0, IMAGE)

    with FrameQueue(endless(), newest=True) as frames:
        next(iter(frames))


def test_raises_from_waiting_only_while_no_frame_arrives():
    is_over = threading.Event()

    def slow():
        yield from numbered(PREFETCH)
        is_over.wait(10)

    def stop():
        is_over.set()
        raise KeyboardInterrupt

    with FrameQueue(slow(), newest=False, on_wait=stop) as frames:
        stream = iter(frames)
        assert [next(stream).index for _ in range(PREFETCH)] == list(range(PREFETCH))
        with pytest.raises(KeyboardInterrupt):
            next(stream)


def test_counts_broken_frames_before_the_frame_taken():
    class Broken(Counted):
        @property
        def broken(self):
            return 2 * self.count

    source = Broken(5)
    with FrameQueue(source, newest=False) as frames:
        wait_until(lambda: source.count == 5)
        assert [frames.broken for _ in frames] == [2, 4, 6, 8, 10]


def test_reports_a_reader_that_has_not_returned(monkeypatch):
    monkeypatch.setattr(frame_queue, "CLOSE_TIMEOUT_S", 0.05)
    is_over = threading.Event()

    def stalled():
        yield from numbered(1)
        is_over.wait(10)

    with FrameQueue(stalled(), newest=False) as frames:
        assert frames.is_reading
    assert frames.is_reading
    is_over.set()
    wait_until(lambda: not frames.is_reading)


def test_exception_in_the_block_is_raised():
    with pytest.raises(ZeroDivisionError), FrameQueue(numbered(50), newest=False):
        raise ZeroDivisionError
