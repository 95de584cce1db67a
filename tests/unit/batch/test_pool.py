from __future__ import annotations

from mien.batch.pool import MAX_ATTEMPTS, map_shards
from support.batches import make_output, make_shard


class FakePool:
    """A pool of two workers that finishes the last submitted shard first; some shards lose their workers."""

    def __init__(self, losses):
        self.losses = losses
        self.submitted = []
        self.running = []

    @property
    def has_idle(self):
        return len(self.running) < 2

    def submit(self, shard):
        self.submitted.append(shard.name)
        self.running.append(shard)

    def wait(self):
        shard = self.running.pop()
        self.losses[shard.name] = self.losses.get(shard.name, 0) - 1
        return [(shard, None if self.losses[shard.name] >= 0 else make_output(shard.name))]


def run(pool, shards):
    return {shard.name: output and output.table.decode() for shard, output in map_shards(pool, shards)}


def test_no_shards():
    assert run(FakePool({}), []) == {}


def test_every_shard_is_analyzed_once_largest_first():
    pool = FakePool({})
    shards = [make_shard(number, size=number) for number in range(5)]
    outputs = run(pool, shards)
    assert outputs == {shard.name: shard.name for shard in shards}
    assert sorted(pool.submitted) == sorted(outputs)
    assert pool.submitted[:2] == ["images/000004", "images/000003"]


def test_a_lost_shard_is_tried_again_and_then_given_up():
    names = [f"images/{number:06}" for number in range(3)]
    pool = FakePool({names[0]: MAX_ATTEMPTS - 1, names[1]: MAX_ATTEMPTS})
    outputs = run(pool, [make_shard(number) for number in range(3)])
    assert outputs == {names[0]: names[0], names[1]: None, names[2]: names[2]}
    assert pool.submitted.count(names[1]) == MAX_ATTEMPTS
