"""Dynamic batching: images of concurrent requests are analyzed together by a pool of worker threads."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, TypeVar

from mien.inference.options import AnalysisOptions
from mien.inference.result import Result
from mien.server.settings import ServerSettings

T = TypeVar("T")

_SMOOTHING = 0.2
"""Weight of the newest batch in the moving average of the time per image."""


class BatchKey(NamedTuple):
    """What all images of a batch share: the name of the model, and the options."""

    model: str
    options: AnalysisOptions


@dataclass(eq=False)
class _Job:
    """An image in the queue."""

    key: BatchKey
    data: bytes
    result: asyncio.Future[Result]


class Batcher:
    """Queue of images and the workers that process it in batches, each in its own thread.

    An idle worker starts at once with its share of the queue, 1 / number of workers: a short queue spreads over all
    cores, a long one is processed in large batches, and no worker is idle while an image waits. When a batch fails,
    its images are retried one by one, so that only the image that caused the failure fails.

    Args:
        settings: number of workers and maximum size of a batch.
        analyze: analyzes images with the same key, in order; called from several threads.
        on_batch: called with the number of images and the seconds of every batch.
    """

    def __init__(
        self,
        settings: ServerSettings,
        analyze: Callable[[BatchKey, Sequence[bytes]], list[Result]],
        on_batch: Callable[[int, float], None],
    ) -> None:
        self._workers = settings.worker_count
        self._batch_images = settings.batch_images
        self._analyze = analyze
        self._on_batch = on_batch
        self._queue: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._image_s = 0.05
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers in the running event loop."""
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="mien-analyze")
        self._tasks = [asyncio.create_task(self._run_worker()) for _ in range(self._workers)]

    async def stop(self) -> None:
        """Stop the workers; images in the queue are discarded."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def wait_s(self, images: int) -> float:
        """Return the estimated processing time of a number of images, from the latest batches."""
        return images * self._image_s / self._workers

    async def analyze(self, key: BatchKey, images: Sequence[bytes]) -> list[Result]:
        """Analyze encoded images, batched with those of other callers, and return the results in order.

        Raises:
            ModelError: when a network fails.
        """
        loop = asyncio.get_running_loop()
        jobs = [_Job(key, data, loop.create_future()) for data in images]
        self._queue.extend(jobs)
        self._arrived.set()
        return list(await asyncio.gather(*(job.result for job in jobs)))

    async def run(self, call: Callable[[], T]) -> T:
        """Run another function in a worker thread, queued with the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _run_worker(self) -> None:
        while True:
            batch = await self._next_batch()
            started_s = time.monotonic()
            outcomes = await self.run(lambda batch=batch: self._analyze_batch(batch))
            for job, outcome in zip(batch, outcomes, strict=True):
                if job.result.cancelled():  # the request timed out
                    continue
                if isinstance(outcome, Exception):
                    job.result.set_exception(outcome)
                else:
                    job.result.set_result(outcome)
            seconds = time.monotonic() - started_s
            self._image_s += _SMOOTHING * (seconds / len(batch) - self._image_s)
            self._on_batch(len(batch), seconds)

    async def _next_batch(self) -> list[_Job]:
        """Wait for images, and remove a share of the queue: images with the key of the oldest one."""
        while True:
            self._queue = deque(job for job in self._queue if not job.result.cancelled())
            if self._queue:
                size = min(ceil(len(self._queue) / self._workers), self._batch_images)
                key = self._queue[0].key
                batch = [job for job in self._queue if job.key == key][:size]
                self._queue = deque(job for job in self._queue if job not in batch)
                return batch
            self._arrived.clear()
            await self._arrived.wait()

    def _analyze_batch(self, batch: list[_Job]) -> list[Result | Exception]:
        """Return the result or the error of every image; runs in a worker thread."""
        try:
            return [*self._analyze(batch[0].key, [job.data for job in batch])]
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [outcome for job in batch for outcome in self._analyze_batch([job])]
