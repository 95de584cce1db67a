"""Prefetching of batches by threads, so that a GPU does not wait for images."""

import itertools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from mien.training.distributed import cores_per_process

AUTO = -1
"""Value of `workers` that chooses their number by the device."""
MAX_WORKERS = 16
"""Maximum number of threads that `AUTO` chooses; with more, threads wait for Python's global lock."""
EXTRA_BATCHES = 2
"""Batches that are requested in addition to one per thread."""

Batch = TypeVar("Batch")


def pick_workers(workers: int, device: torch.device) -> int:
    """Return the number of threads; `AUTO` gives the remaining cores of a process with a GPU, and 0 on the CPU."""
    if workers != AUTO:
        return workers
    return 0 if device.type == "cpu" else max(1, min(MAX_WORKERS, cores_per_process() - 1))


def prefetch(load: Callable[[int], Batch], steps: range, workers: int) -> Generator[Batch]:
    """Yield the batches of the given steps in order.

    Args:
        load: returns the batch of a step; called from several threads at once.
        steps: step numbers.
        workers: number of threads; 0 loads each batch in the calling thread when it is requested.
    """
    if not workers:
        yield from map(load, steps)
        return
    # one torch thread per worker; torch stores that number globally, so the caller's is restored at the end
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="mien-batch", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        remaining = iter(steps)
        queue = deque(pool.submit(load, step) for step in itertools.islice(remaining, workers + EXTRA_BATCHES))
        while queue:
            batch = queue.popleft().result()
            queue.extend(pool.submit(load, step) for step in itertools.islice(remaining, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
