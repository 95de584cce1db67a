"""Batches made by threads while the network learns from earlier ones, so that a GPU does not wait for images."""

import itertools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from mien.training.distributed import cores_of_process

AUTO = -1
MOST = 16
"""Threads that "auto" takes at most: more of them wait for Python's lock."""
AHEAD = 2
"""Batches that wait, made, beside the one that each thread is at."""

Batch = TypeVar("Batch")


def pick_workers(workers: int, device: torch.device) -> int:
    """How many threads make batches: as told; `AUTO` takes the cores that are left beside a GPU, none on the CPU."""
    if workers != AUTO:
        return workers
    return 0 if device.type == "cpu" else max(1, min(MOST, cores_of_process() - 1))


def made_ahead(make: Callable[[int], Batch], steps: range, workers: int) -> Generator[Batch]:
    """The batches of some steps, in order.

    Args:
        make: the batch of a step; called from many threads at once.
        steps: of which batches are wanted.
        workers: threads that make them; 0 makes each when it is asked for.
    """
    if not workers:
        yield from map(make, steps)
        return
    # each thread does its own sums alone: torch would else start as many again for every one of them. It takes that for
    # the number of all threads to come, so the caller's is put back at the end.
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="mien-batch", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        coming = iter(steps)
        waiting = deque(pool.submit(make, step) for step in itertools.islice(coming, workers + AHEAD))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(make, step) for step in itertools.islice(coming, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
