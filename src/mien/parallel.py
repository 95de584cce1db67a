"""Parallel map over an iterable: results in order, a bounded number of items at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ITEMS_PER_WORKER = 4
"""Items per worker that are taken from the iterable before their results are requested."""

Item = TypeVar("Item")
Output = TypeVar("Output")


def map_in_order(call: Callable[[Item], Output], items: Iterable[Item], workers: int) -> Generator[Output]:
    """Yield `call(item)` for every item, in order, computed by threads.

    Items are taken from the iterable in the calling thread, at most `ITEMS_PER_WORKER * workers` before their results
    are requested. An exception of a call is raised in its place in the order, one of the iterable after the results of
    all items before it. Closing the generator waits for the calls that are running and cancels the others.

    Args:
        call: called from several threads at once.
        items: read lazily.
        workers: number of threads; 1 computes each result in the calling thread when it is requested.
    """
    if workers == 1:
        yield from map(call, items)
        return
    remaining = iter(items)
    failure: Exception | None = None
    queue: deque[Future[Output]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-worker")
    try:
        while True:
            try:
                for item in islice(remaining, ITEMS_PER_WORKER * workers - len(queue)):
                    queue.append(pool.submit(call, item))
                    del item
            except Exception as error:
                remaining, failure = iter(()), error
            if not queue:
                break
            yield queue.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
