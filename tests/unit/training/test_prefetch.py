import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mien.training import prefetch as module
from mien.training.prefetch import AUTO, EXTRA_BATCHES, MAX_WORKERS, pick_workers, prefetch

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("steps", [range(4, 30), range(1), range(5, 5)])
def test_batches_are_yielded_in_order(workers, steps):
    never = threading.Event()

    def load(step):
        if step % 3 == 0:
            never.wait(0.003)  # some threads are slower
        return step

    assert list(prefetch(load, steps, workers)) == list(steps)


def test_loads_a_limited_number_of_batches_in_advance():
    loaded = threading.Semaphore(0)

    def load(step):
        loaded.release()
        return step

    batches = prefetch(load, range(100), 2)
    assert next(batches) == 0
    for _ in range(2 + EXTRA_BATCHES + 1):  # one more is requested with the first
        assert loaded.acquire(timeout=10)
    batches.close()
    assert not loaded.acquire(timeout=0.05)


def test_raises_the_error_of_a_thread_at_its_batch():
    def load(step):
        if step == 2:
            raise OSError("disk failure")
        return step

    batches = prefetch(load, range(9), 2)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="disk failure"):
        next(batches)


def test_closing_ends_all_threads():
    batches = prefetch(lambda step: step, range(9), 2)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-batch")]


def test_workers_use_one_torch_thread_and_keep_the_setting():
    before = torch.get_num_threads()
    assert set(prefetch(lambda _: torch.get_num_threads(), range(4), 1)) == {1}
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_auto_uses_remaining_cores_with_a_gpu_and_none_on_the_cpu(monkeypatch):
    monkeypatch.setattr(module, "cores_per_process", lambda: 6)
    assert (pick_workers(AUTO, CPU), pick_workers(AUTO, GPU)) == (0, 5)
    assert (pick_workers(2, CPU), pick_workers(0, GPU)) == (2, 0)
    monkeypatch.setattr(module, "cores_per_process", lambda: 1)
    assert pick_workers(AUTO, GPU) == 1
    monkeypatch.setattr(module, "cores_per_process", lambda: 128)
    assert pick_workers(AUTO, GPU) == MAX_WORKERS
