"""Images of many callers, read together."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mien.errors import ImageReadError, ModelError
from mien.inference.analyzer import Analysis
from mien.server.batching import Batcher, BatchKey

SEE, OTHER = BatchKey("see", True), BatchKey("other", True)


class Reader:
    """Reads bytes as the source of an `Analysis`, and keeps what it was asked."""

    def __init__(self, seconds=0.0):
        self.batches, self.threads, self.seconds = [], set(), seconds

    def __call__(self, kind, images):
        self.batches.append((kind, list(images)))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if b"broken network" in images:
            raise ModelError("the network is broken")
        return [
            Analysis(source="", error=ImageReadError("bad"))
            if data == b"bad"
            else Analysis(source=data.decode())
            for data in images
        ]


def run(reader, talk, *, workers=1, window_s=0.1, batch_images=8):
    """Let `talk(batcher)` happen; gives its result."""

    async def whole():
        batcher = Batcher(
            reader,
            workers=workers,
            window_s=window_s,
            batch_images=batch_images,
            on_batch=lambda *_: None,
        )
        batcher.start()
        try:
            return await asyncio.wait_for(talk(batcher), 20)
        finally:
            await batcher.stop()

    return asyncio.run(whole())


def sources(found):
    return [analysis.source for analysis in found]


def test_nothing_to_read_is_nothing():
    assert run(reader := Reader(), lambda batcher: batcher.analyze(SEE, [])) == []
    assert reader.batches == []


def test_images_of_several_callers_are_read_together_and_go_back_to_their_owners():
    async def talk(batcher):
        return await asyncio.gather(batcher.analyze(SEE, [b"a", b"b"]), batcher.analyze(SEE, [b"c"]))

    reader = Reader()
    first, second = run(reader, talk)
    assert (sources(first), sources(second)) == (["a", "b"], ["c"])
    assert reader.batches == [(SEE, [b"a", b"b", b"c"])]


def test_a_lone_image_waits_for_company_no_longer_than_the_window():
    async def talk(batcher):
        started = time.monotonic()
        await batcher.analyze(SEE, [b"a"])
        return time.monotonic() - started

    assert run(Reader(), talk, window_s=0.2) >= 0.2
    assert run(Reader(), talk, window_s=0) < 5  # no window, and not one without end


def test_a_full_batch_does_not_wait():
    async def talk(batcher):
        async def later():
            await asyncio.sleep(0.05)
            return await batcher.analyze(SEE, [b"c"])

        return await asyncio.gather(batcher.analyze(SEE, [b"a", b"b"]), later())

    reader = Reader()
    started = time.monotonic()
    first, second = run(reader, talk, window_s=10, batch_images=3)
    assert (sources(first), sources(second)) == (["a", "b"], ["c"])
    assert time.monotonic() - started < 8


def test_a_batch_has_no_more_images_than_allowed():
    async def talk(batcher):
        return await batcher.analyze(SEE, [bytes([letter]) for letter in b"abcdefg"])

    reader = Reader()
    assert sources(run(reader, talk, window_s=0, batch_images=3)) == list("abcdefg")
    assert max(len(images) for _, images in reader.batches) == 3


def test_workers_share_what_waits_evenly():
    async def talk(batcher):
        await batcher.analyze(SEE, [b"a", b"b", b"c", b"d"])

    reader = Reader(seconds=0.05)
    run(reader, talk, workers=2)
    assert sorted(len(images) for _, images in reader.batches) == [2, 2]
    assert len(reader.threads) == 2


def test_kinds_are_not_mixed():
    async def talk(batcher):
        return await asyncio.gather(
            batcher.analyze(SEE, [b"a"]), batcher.analyze(OTHER, [b"b"]), batcher.analyze(SEE, [b"c"])
        )

    reader = Reader()
    assert [sources(found) for found in run(reader, talk)] == [["a"], ["b"], ["c"]]
    assert reader.batches == [(SEE, [b"a", b"c"]), (OTHER, [b"b"])]


def test_a_bad_image_hurts_no_other():
    async def talk(batcher):
        return await asyncio.gather(batcher.analyze(SEE, [b"bad"]), batcher.analyze(SEE, [b"a"]))

    bad, good = run(Reader(), talk)
    assert str(bad[0].error) == "bad"
    assert sources(good) == ["a"]


def test_a_failure_stays_with_the_image_that_caused_it():
    async def talk(batcher):
        return await asyncio.gather(
            batcher.analyze(SEE, [b"a"]),
            batcher.analyze(SEE, [b"broken network"]),
            batcher.analyze(SEE, [b"b"]),
            return_exceptions=True,
        )

    first, failed, last = run(Reader(), talk)
    assert (sources(first), sources(last)) == (["a"], ["b"])
    assert isinstance(failed, ModelError)


def test_who_gives_up_waiting_is_not_waited_for():
    async def talk(batcher):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.analyze(SEE, [b"a"]), 0.02)
        return await batcher.analyze(SEE, [b"b"])

    assert sources(run(Reader(seconds=0.1), talk, window_s=0)) == ["b"]


def test_other_work_takes_turns_with_batches():
    async def talk(batcher):
        _, thread = await asyncio.gather(
            batcher.analyze(SEE, [b"a"]), batcher.run(lambda: threading.current_thread().name)
        )
        return thread

    reader = Reader()
    assert run(reader, talk) in reader.threads


def test_the_time_for_a_image_is_measured():
    async def talk(batcher):
        for _ in range(30):
            await batcher.analyze(SEE, [b"a"])
        return batcher.wait_s(100)

    assert run(Reader(seconds=0.001), talk, window_s=0) < 2.5  # 5 s before anything was measured
