"""Worker threads: images of all requests are analyzed in the order of their arrival, one per worker at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias, TypeVar

from mien.inference.result import Result
from mien.server.model_pool import Selection
from mien.server.settings import ServerSettings

T = TypeVar("T")
AnalyzeImage: TypeAlias = Callable[[Selection, bytes], Result]

_SMOOTHING = 0.1
"""Weight of the newest image in the moving average of the time per image."""


class Workers:
    """Queue of images, and the threads that analyze them or wait for the processes that do.

    Args:
        settings: number of workers.
        analyze: analyzes an encoded image; called from several threads.
        on_image: called with the seconds of every image, from several threads.
    """

    def __init__(self, settings: ServerSettings, analyze: AnalyzeImage, on_image: Callable[[float], None]) -> None:
        self._count = settings.worker_count
        self._analyze = analyze
        self._on_image = on_image
        self._image_s = 0.05

    def start(self) -> None:
        """Allow work in the running event loop; the threads start on first use."""
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="mien-analyze")
        # one more than the threads, so that none is idle until the event loop submits the next image
        self._slots = asyncio.Semaphore(self._count + 1)

    async def stop(self) -> None:
        """Wait for the images in work; those in the queue are discarded."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def wait_s(self, images: int) -> float:
        """Return the estimated processing time of a number of images, from the latest ones."""
        return images * self._image_s / self._count

    async def analyze(self, selection: Selection, images: Sequence[bytes]) -> list[Result]:
        """Analyze encoded images in parallel, and return the results in order.

        When the caller is cancelled, its images in the queue are discarded.

        Raises:
            ModelError: when a network fails.
        """
        return list(await asyncio.gather(*(self._queue(selection, image) for image in images)))

    async def run(self, call: Callable[[], T]) -> T:
        """Run another function in a worker thread, ahead of the images in the queue."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _queue(self, selection: Selection, image: bytes) -> Result:
        async with self._slots:
            return await self.run(partial(self._analyze_image, selection, image))

    def _analyze_image(self, selection: Selection, image: bytes) -> Result:
        started_s = time.monotonic()
        result = self._analyze(selection, image)
        seconds = time.monotonic() - started_s
        # an update that is lost to another thread does not matter
        self._image_s += _SMOOTHING * (seconds - self._image_s)
        self._on_image(seconds)
        return result
