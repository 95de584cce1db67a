"""Worker threads and the queue of images."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mien.errors import ImageReadError, ModelError
from mien.inference.options import AnalysisOptions
from mien.inference.result import Result
from mien.server.model_pool import Selection
from mien.server.settings import ServerSettings
from mien.server.workers import Workers

SELECTION = Selection("first", AnalysisOptions())


class FakeModel:
    """Returns the bytes of an image as the source of its result, and records images and threads."""

    def __init__(self, seconds=0.0):
        self.images = []
        self.threads = set()
        self.seconds = seconds

    def __call__(self, selection, image):
        self.images.append(image)
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if image == b"broken network":
            raise ModelError("the network is broken")
        return Result(source="", error=ImageReadError("bad")) if image == b"bad" else Result(source=image.decode())


def run(model, scenario, *, workers=1, on_image=lambda seconds: None):
    """Return the result of `scenario(workers)`."""

    async def run_scenario():
        started = Workers(ServerSettings(workers=workers), model, on_image)
        started.start()
        try:
            return await asyncio.wait_for(scenario(started), 20)
        finally:
            await started.stop()

    return asyncio.run(run_scenario())


def sources(results):
    return [result.source for result in results]


def test_empty_input_gives_empty_result():
    model = FakeModel()
    assert run(model, lambda workers: workers.analyze(SELECTION, [])) == []
    assert model.images == []


def test_results_have_the_order_of_the_images():
    def analyze(selection, image):
        time.sleep(0.1 if image == b"0" else 0)
        return Result(source=image.decode())

    images = [str(index).encode() for index in range(9)]
    results = run(analyze, lambda workers: workers.analyze(SELECTION, images), workers=3)
    assert sources(results) == list("012345678")


def test_images_are_analyzed_in_the_order_of_arrival():
    async def scenario(workers):
        await asyncio.gather(*(workers.analyze(SELECTION, [image]) for image in (b"a", b"b", b"c", b"d", b"e")))

    model = FakeModel()
    run(model, scenario)
    assert model.images == [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize("requests", [[[b"a", b"b", b"c", b"d"]], [[b"a"], [b"b"], [b"c"], [b"d"]]])
def test_every_worker_has_an_image(requests):
    all_work = threading.Barrier(2, timeout=10)

    def analyze(selection, image):
        # passes only when both workers analyze at the same time
        all_work.wait()
        return Result(source=image.decode())

    async def scenario(workers):
        return await asyncio.gather(*(workers.analyze(SELECTION, images) for images in requests))

    results = run(analyze, scenario, workers=2)
    assert [sources(result) for result in results] == [[image.decode() for image in images] for images in requests]


def test_unreadable_image_does_not_affect_others():
    bad, good = run(FakeModel(), lambda workers: workers.analyze(SELECTION, [b"bad", b"a"]))
    assert str(bad.error) == "bad"
    assert good.source == "a"


def test_failed_network_affects_only_its_own_request():
    async def scenario(workers):
        calls = [workers.analyze(SELECTION, [image]) for image in (b"a", b"broken network", b"b")]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, failed, last = run(FakeModel(), scenario)
    assert (sources(first), sources(last)) == (["a"], ["b"])
    assert isinstance(failed, ModelError)


def test_images_of_a_cancelled_request_are_discarded():
    images = []
    has_started, may_end = threading.Event(), threading.Event()

    def analyze(selection, image):
        images.append(image)
        has_started.set()
        may_end.wait(10)
        return Result(source=image.decode())

    async def scenario(workers):
        request = asyncio.create_task(workers.analyze(SELECTION, [b"a", b"b", b"c", b"d"]))
        await asyncio.to_thread(has_started.wait, 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        may_end.set()
        return await workers.analyze(SELECTION, [b"e"])

    assert sources(run(analyze, scenario)) == ["e"]
    assert images == [b"a", b"e"]


def test_other_functions_run_in_the_worker_threads_ahead_of_the_queue():
    calls = []
    has_started, may_end = threading.Event(), threading.Event()

    def analyze(selection, image):
        has_started.set()
        may_end.wait(10)
        calls.append(threading.current_thread())
        return Result(source="")

    async def scenario(workers):
        request = asyncio.create_task(workers.analyze(SELECTION, [b"a"] * 10))
        await asyncio.to_thread(has_started.wait, 10)
        other = asyncio.create_task(workers.run(lambda: calls.append("other")))
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.gather(request, other)

    run(analyze, scenario)
    # after the image in work and one that is ready
    assert calls.index("other") == 2
    assert len(calls) == 11


def test_seconds_of_every_image_are_reported():
    seconds = []
    run(FakeModel(0.01), lambda workers: workers.analyze(SELECTION, [b"a", b"bad"]), on_image=seconds.append)
    assert len(seconds) == 2
    assert min(seconds) >= 0.01


def test_estimated_time_per_image_follows_the_images():
    async def scenario(workers):
        for _ in range(30):
            await workers.analyze(SELECTION, [b"a"])
        return workers.wait_s(100)

    # the initial estimate is 5 s
    assert run(FakeModel(seconds=0.001), scenario) < 2.5
