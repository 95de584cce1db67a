import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mien.training import prefetch
from mien.training.prefetch import AHEAD, AUTO, made_ahead, pick_workers

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("steps", [range(4, 30), range(1), range(5, 5)])
def test_batches_come_in_order_whichever_thread_is_faster(workers, steps):
    waited = threading.Event()

    def make(step):
        if step % 3 == 0:
            waited.wait(0.003)
        return step

    assert list(made_ahead(make, steps, workers)) == list(steps)


def test_the_network_learns_while_the_next_batches_are_made():
    made = threading.Semaphore(0)

    def make(step):
        made.release()
        return step

    coming = made_ahead(make, range(100), 2)
    assert next(coming) == 0
    for _ in range(2 + AHEAD + 1):  # one more was asked for when the first was taken
        assert made.acquire(timeout=10)
    coming.close()
    assert not made.acquire(timeout=0.05)  # no batch is made that nobody has room for


def test_what_goes_wrong_in_a_thread_is_raised_where_its_batch_is_wanted():
    def make(step):
        if step == 2:
            raise OSError("the disk is gone")
        return step

    coming = made_ahead(make, range(9), 2)
    assert [next(coming), next(coming)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)


def test_threads_end_with_the_run():
    coming = made_ahead(lambda step: step, range(9), 2)
    next(coming)
    coming.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-batch")]


def test_threads_leave_the_network_its_own():
    before = torch.get_num_threads()
    assert set(made_ahead(lambda _: torch.get_num_threads(), range(4), 1)) == {1}
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_a_gpu_gets_the_cores_that_are_left_and_the_cpu_keeps_its_own(monkeypatch):
    monkeypatch.setattr(ahead, "cores_of_process", lambda: 6)
    assert (pick_workers(AUTO, CPU), pick_workers(AUTO, GPU)) == (0, 5)
    assert (pick_workers(2, CPU), pick_workers(0, GPU)) == (2, 0)
    monkeypatch.setattr(ahead, "cores_of_process", lambda: 1)
    assert pick_workers(AUTO, GPU) == 1
    monkeypatch.setattr(ahead, "cores_of_process", lambda: 128)
    assert pick_workers(AUTO, GPU) == prefetch.MOST
