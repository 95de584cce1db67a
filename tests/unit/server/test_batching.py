"""Dynamic batching of images from concurrent callers."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mien.errors import ImageReadError, ModelError
from mien.inference.options import AnalysisOptions
from mien.inference.result import Result
from mien.server.batching import Batcher, BatchKey
from mien.server.settings import ServerSettings

KEY = BatchKey("first", AnalysisOptions())
OTHER_KEY = BatchKey("first", AnalysisOptions(max_error=0.05))


class FakeModel:
    """Returns the bytes of an image as the source of its result, and records all batches."""

    def __init__(self, seconds=0.0):
        self.batches = []
        self.threads = set()
        self.seconds = seconds

    def __call__(self, key, images):
        self.batches.append((key, list(images)))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if b"broken network" in images:
            raise ModelError("the network is broken")
        return [
            Result(source="", error=ImageReadError("bad")) if data == b"bad" else Result(source=data.decode())
            for data in images
        ]


def run(model, scenario, *, workers=1, batch_images=8):
    """Return the result of `scenario(batcher)`."""

    async def run_scenario():
        settings = ServerSettings(workers=workers, batch_images=batch_images)
        batcher = Batcher(settings, model, lambda *_: None)
        batcher.start()
        try:
            return await asyncio.wait_for(scenario(batcher), 20)
        finally:
            await batcher.stop()

    return asyncio.run(run_scenario())


def sources(results):
    return [result.source for result in results]


def test_empty_input_gives_empty_result():
    model = FakeModel()
    assert run(model, lambda batcher: batcher.analyze(KEY, [])) == []
    assert model.batches == []


def test_images_of_several_callers_share_a_batch():
    async def scenario(batcher):
        return await asyncio.gather(batcher.analyze(KEY, [b"a", b"b"]), batcher.analyze(KEY, [b"c"]))

    model = FakeModel()
    first, second = run(model, scenario)
    assert (sources(first), sources(second)) == (["a", "b"], ["c"])
    assert model.batches == [(KEY, [b"a", b"b", b"c"])]


def test_batch_size_is_limited():
    async def scenario(batcher):
        return await batcher.analyze(KEY, [bytes([letter]) for letter in b"abcdefg"])

    model = FakeModel()
    assert sources(run(model, scenario, batch_images=3)) == list("abcdefg")
    assert max(len(images) for _, images in model.batches) == 3


def test_worker_takes_its_share_of_the_queue():
    async def scenario(batcher):
        await batcher.analyze(KEY, [b"a", b"b", b"c", b"d"])

    model = FakeModel(seconds=0.05)
    run(model, scenario, workers=2)
    assert sorted(len(images) for _, images in model.batches) == [1, 1, 2]
    assert len(model.threads) == 2


def test_no_worker_is_idle_while_an_image_waits():
    both_work = threading.Barrier(2, timeout=10)

    def analyze(key, images):
        both_work.wait()
        return [Result(source=data.decode()) for data in images]

    async def scenario(batcher):
        async def analyze_later():
            await asyncio.sleep(0.05)
            return await batcher.analyze(KEY, [b"b"])

        return await asyncio.gather(batcher.analyze(KEY, [b"a"]), analyze_later())

    # each worker waits until the other one has an image
    first, second = run(analyze, scenario, workers=2)
    assert (sources(first), sources(second)) == (["a"], ["b"])


def test_different_keys_do_not_share_a_batch():
    async def scenario(batcher):
        return await asyncio.gather(
            batcher.analyze(KEY, [b"a"]), batcher.analyze(OTHER_KEY, [b"b"]), batcher.analyze(KEY, [b"c"])
        )

    model = FakeModel()
    assert [sources(results) for results in run(model, scenario)] == [["a"], ["b"], ["c"]]
    assert model.batches == [(KEY, [b"a", b"c"]), (OTHER_KEY, [b"b"])]


def test_unreadable_image_does_not_affect_others():
    async def scenario(batcher):
        return await asyncio.gather(batcher.analyze(KEY, [b"bad"]), batcher.analyze(KEY, [b"a"]))

    bad, good = run(FakeModel(), scenario)
    assert str(bad[0].error) == "bad"
    assert sources(good) == ["a"]


def test_failed_batch_is_retried_image_by_image():
    async def scenario(batcher):
        return await asyncio.gather(
            batcher.analyze(KEY, [b"a"]),
            batcher.analyze(KEY, [b"broken network"]),
            batcher.analyze(KEY, [b"b"]),
            return_exceptions=True,
        )

    first, failed, last = run(FakeModel(), scenario)
    assert (sources(first), sources(last)) == (["a"], ["b"])
    assert isinstance(failed, ModelError)


def test_cancelled_caller_does_not_block_later_images():
    async def scenario(batcher):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.analyze(KEY, [b"a"]), 0.02)
        return await batcher.analyze(KEY, [b"b"])

    assert sources(run(FakeModel(seconds=0.1), scenario)) == ["b"]


def test_other_functions_run_in_the_worker_threads():
    async def scenario(batcher):
        _, thread = await asyncio.gather(
            batcher.analyze(KEY, [b"a"]), batcher.run(lambda: threading.current_thread().name)
        )
        return thread

    model = FakeModel()
    assert run(model, scenario) in model.threads


def test_estimated_time_per_image_follows_the_batches():
    async def scenario(batcher):
        for _ in range(30):
            await batcher.analyze(KEY, [b"a"])
        return batcher.wait_s(100)

    # the initial estimate is 5 s
    assert run(FakeModel(seconds=0.001), scenario) < 2.5
