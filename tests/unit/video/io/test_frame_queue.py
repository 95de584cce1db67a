"""Frames read in a thread of their own: order, bounds, drops, errors, and an end at any moment."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mien.errors import VideoReadError
from mien.video.io.frame_queue import PREFETCH, FrameQueue
from mien.video.io.sources import DecodedFrame

IMAGE = np.zeros((2, 2, 3), dtype=np.uint8)


def numbered(count):
    for index in range(count):
        yield DecodedFrame(index, index / 25, IMAGE)


def wait_until(is_true):
    limit_s = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < limit_s
        time.sleep(0.002)


class Counted:
    """Counts the frames that were taken from it."""

    def __init__(self, count):
        self.taken, self._frames = 0, numbered(count)

    def __iter__(self):
        return self

    def __next__(self):
        frame = next(self._frames)
        self.taken += 1
        return frame


@pytest.fixture(autouse=True)
def no_threads_remain():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "mien-frames"]


@pytest.mark.parametrize("newest", [False, True])
def test_an_empty_source(newest):
    with FrameQueue(numbered(0), newest=newest) as frames:
        assert list(frames) == []


def test_frames_of_a_file_come_all_and_in_order():
    with FrameQueue(numbered(100), newest=False) as frames:
        assert [frame.index for frame in frames] == list(range(100))
    assert frames.dropped == 0


def test_the_reader_is_only_so_far_ahead():
    source = Counted(100)
    with FrameQueue(source, newest=False) as frames:
        wait_until(lambda: source.taken > PREFETCH)
        time.sleep(0.05)
        assert source.taken == PREFETCH + 1  # one is in its hand
        taken = iter(frames)
        assert next(taken).index == 0
        wait_until(lambda: source.taken == PREFETCH + 2)
        taken.close()


def test_of_a_live_source_the_newest_is_kept_and_the_others_are_counted():
    step = threading.Semaphore(0)

    def live():
        for frame in numbered(10):
            step.acquire()
            yield frame
        step.acquire()

    with FrameQueue(live(), newest=True) as frames:
        taken = iter(frames)
        step.release()
        assert next(taken).index == 0
        for _ in range(5):
            step.release()
        wait_until(lambda: frames.dropped == 4)
        assert next(taken).index == 5
        for _ in range(5):
            step.release()
        assert [frame.index for frame in taken][-1] == 9
    assert frames.dropped + 3 <= 10


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("error", [VideoReadError("it broke"), OSError("gone"), KeyboardInterrupt()])
def test_what_the_reader_raises_is_raised_after_the_frames_before_it(newest, error):
    def broken():
        yield from numbered(1)
        raise error

    with FrameQueue(broken(), newest=newest) as frames:
        taken = iter(frames)
        assert next(taken).index == 0
        with pytest.raises(type(error)) as caught:
            next(taken)
    assert caught.value is error


def test_closing_ends_a_reader_that_waits_for_room():
    source = Counted(100)
    with FrameQueue(source, newest=False):
        wait_until(lambda: source.taken == PREFETCH + 1)
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 2
    assert source.taken == PREFETCH + 1


def test_closing_ends_the_reader_of_a_live_source():
    def endless():
        while True:
            time.sleep(0.001)
            yield DecodedFrame(0, 0.0, IMAGE)

    with FrameQueue(endless(), newest=True) as frames:
        next(iter(frames))


def test_an_exception_of_the_block_is_not_hidden():
    with pytest.raises(ZeroDivisionError), FrameQueue(numbered(50), newest=False):
        raise ZeroDivisionError
