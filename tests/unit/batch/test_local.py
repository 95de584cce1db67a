"""Worker processes; each starts Python, so that few tests share them."""

from __future__ import annotations

import sys

import pytest

from mien.batch.local import LocalPool
from mien.batch.pool import MAX_ATTEMPTS, map_shards
from mien.errors import InputError
from support.batches import FakeAnalyzer, UnstartableAnalyzer, make_shard

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests kill processes by signals")


def run(*shards, workers=1):
    with LocalPool(FakeAnalyzer(), workers) as pool:
        outputs = {shard.name: output and output.table.decode().split() for shard, output in map_shards(pool, shards)}
        processes = list(pool._processes.values())
    assert not any(process.is_alive() for process in processes)
    return outputs


def test_a_process_is_used_for_many_shards():
    outputs = run(*(make_shard(number) for number in range(4)))
    assert [output[0] for output in outputs.values()] == list(outputs)
    assert len({process for _, process in outputs.values()}) == 1


def test_a_lost_process_is_replaced(tmp_path):
    dying = make_shard(0, "die once", str(tmp_path / "died"), size=2)
    outputs = run(dying, make_shard(1))
    assert (tmp_path / "died").exists()
    assert [output[0] for output in outputs.values()] == ["images/000000", "images/000001"]


def test_a_shard_that_kills_its_workers_is_given_up():
    assert MAX_ATTEMPTS == 3
    assert run(make_shard(0, "die")) == {"images/000000": None}


def test_an_exception_ends_the_run():
    with pytest.raises(ValueError, match="a network failed"):
        run(make_shard(0, "fail"))


def test_workers_that_cannot_start_end_the_run():
    with (
        LocalPool(UnstartableAnalyzer(), workers=1) as pool,
        pytest.raises(InputError, match=r"workers cannot start: .* exit code 3"),
    ):
        list(map_shards(pool, [make_shard(number) for number in range(4)]))
