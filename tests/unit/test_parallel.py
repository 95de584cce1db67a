from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from mien.parallel import ITEMS_PER_WORKER, map_in_order

WORKERS = [1, 2, 7]


@pytest.mark.parametrize("workers", WORKERS)
def test_no_items_give_no_results(workers):
    assert list(map_in_order(str, [], workers)) == []


@pytest.mark.parametrize("workers", WORKERS)
def test_results_have_the_order_of_the_items(workers):
    def late(item):
        time.sleep(0.01 * (item % 3 == 0))
        return -item

    assert list(map_in_order(late, range(20), workers)) == [-item for item in range(20)]


def test_calls_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=30)
    assert len(list(map_in_order(lambda _: barrier.wait(), range(6), 3))) == 6


def test_one_worker_is_the_calling_thread():
    assert set(map_in_order(lambda _: threading.current_thread(), range(3), 1)) == {threading.current_thread()}


@pytest.mark.parametrize("workers", WORKERS)
def test_items_are_taken_lazily(workers):
    items = count()
    results = map_in_order(str, items, workers)
    assert [next(results) for _ in range(5)] == list("01234")
    assert next(items) <= 5 + ITEMS_PER_WORKER * workers
    results.close()


@pytest.mark.parametrize("workers", WORKERS)
def test_errors_keep_their_place(workers):
    results = map_in_order(lambda item: 1 // item, [1, 1, 1, 0, 1], workers)
    assert [next(results) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("workers", WORKERS)
def test_error_of_the_iterable_follows_all_results(workers):
    def failing():
        yield from range(9)
        raise RuntimeError("gone")

    results = []
    with pytest.raises(RuntimeError, match="gone"):
        results.extend(map_in_order(str, failing(), workers))
    assert results == list("012345678")


def test_closing_cancels_the_items_that_wait():
    started, may_end = [], threading.Event()

    def wait(item):
        started.append(item)
        assert item == 0 or may_end.wait(30)

    results = map_in_order(wait, range(100), 2)
    next(results)
    threading.Timer(0.05, may_end.set).start()
    results.close()
    assert len(started) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-worker")]
