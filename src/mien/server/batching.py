"""Images of many requests, read together by a few workers off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple, TypeVar

from mien.inference.analyzer import Analysis

T = TypeVar("T")

_MEMORY = 0.2
"""Weight of the newest batch in the measured time for an image."""


class Kind(NamedTuple):
    """Images can be read together when they ask for the same: a model's name, and whether poses are wanted."""

    model: str
    pose: bool


@dataclass(eq=False)
class _Job:
    """One image that waits."""

    kind: Kind
    data: bytes
    result: asyncio.Future[Analysis]
    arrived_s: float = field(default_factory=time.monotonic)


class Batcher:
    """Gathers images for a few milliseconds, then hands out fair shares to workers, each in a thread of its own.

    A free worker takes an even share of what waits, so that few images spread over all cores and many go through
    the networks in large batches. A batch that fails is read again image by image: a failure stays with the
    image that caused it.

    Args:
        read: reads images of one kind, in order; called from several threads.
        workers: batches that are read side by side.
        window_s: how long an image waits at most for company.
        batch_images: most images of a batch.
        on_batch: told the images and the seconds of every batch.
    """

    def __init__(
        self,
        read: Callable[[Kind, Sequence[bytes]], list[Analysis]],
        *,
        workers: int,
        window_s: float,
        batch_images: int,
        on_batch: Callable[[int, float], None],
    ) -> None:
        self._read, self._on_batch = read, on_batch
        self._workers, self._window_s, self._batch_images = workers, window_s, batch_images
        self._queue: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._idle = 0
        self._image_s = 0.05
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let the workers begin, in the running event loop."""
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="mien-read")
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]

    async def stop(self) -> None:
        """End the workers; what still waits is not read any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def wait_s(self, images: int) -> float:
        """How long so many images take, as measured on the latest batches."""
        return images * self._image_s / self._workers

    async def read(self, kind: Kind, images: Sequence[bytes]) -> list[Analysis]:
        """Read encoded images together with those of others, and give what is in them in their order.

        Raises:
            ModelError: when a network fails.
        """
        loop = asyncio.get_running_loop()
        jobs = [_Job(kind, data, loop.create_future()) for data in images]
        self._queue.extend(jobs)
        self._arrived.set()
        return list(await asyncio.gather(*(job.result for job in jobs)))

    async def run(self, call: Callable[[], T]) -> T:
        """Run something else in a worker's thread, in turn with the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _work(self) -> None:
        while True:
            self._idle += 1
            try:
                batch = await self._take()
            finally:
                self._idle -= 1
            started_s = time.monotonic()
            outcomes = await self.run(lambda batch=batch: self._read_batch(batch))
            for job, outcome in zip(batch, outcomes, strict=True):
                _settle(job.result, outcome)
            seconds = time.monotonic() - started_s
            self._image_s += _MEMORY * (seconds / len(batch) - self._image_s)
            self._on_batch(len(batch), seconds)

    async def _take(self) -> list[_Job]:
        """A worker's next batch, when it is full or its oldest image has waited long enough."""
        while True:
            self._queue = deque(job for job in self._queue if not job.result.cancelled())
            left_s = None  # without an image: as long as it takes
            if self._queue:
                left_s = self._queue[0].arrived_s + self._window_s - time.monotonic()
                if left_s <= 0 or len(self._queue) >= self._batch_images * self._idle:
                    return self._share()
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._arrived.wait()

    def _share(self) -> list[_Job]:
        """An even part of what waits, all of the oldest image's kind, taken out of the queue."""
        most = min(ceil(len(self._queue) / self._idle), self._batch_images)
        kind = self._queue[0].kind
        batch = [job for job in self._queue if job.kind == kind][:most]
        taken = set(map(id, batch))
        self._queue = deque(job for job in self._queue if id(job) not in taken)
        return batch

    def _read_batch(self, batch: list[_Job]) -> list[Analysis | Exception]:
        """What every image gave; in a worker's thread."""
        kind, images = batch[0].kind, [job.data for job in batch]
        try:
            return [*self._read(kind, images)]
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [outcome for job in batch for outcome in self._read_batch([job])]


def _settle(result: asyncio.Future[Analysis], outcome: Analysis | Exception) -> None:
    if result.cancelled():  # the request ran out of time
        return
    if isinstance(outcome, Exception):
        result.set_exception(outcome)
    else:
        result.set_result(outcome)
