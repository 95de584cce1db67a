"""Interface of worker pools, and the scheduling of shards with retries of lost workers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mien.batch.analysis import ShardOutput
from mien.batch.shards import Shard

MAX_ATTEMPTS = 3
"""Number of lost workers after which a shard is given up: one of its inputs may kill them."""
MAX_FAILED_STARTS = 3
"""Number of workers in a row that fail to start, after which a run ends."""


class WorkerPool(AbstractContextManager["WorkerPool"], Protocol):
    """Workers that analyze one shard at a time each; leaving the block ends them, whatever they do."""

    @property
    def has_idle(self) -> bool:
        """True when a shard can be submitted."""
        ...

    def submit(self, shard: Shard) -> None:
        """Give a shard to an idle worker."""
        ...

    def wait(self) -> Sequence[tuple[Shard, ShardOutput | None]]:
        """Wait for workers; return the shards that ended, without output if their worker was lost.

        Raises:
            MienError: the analysis of a shard failed, or workers cannot start.
        """
        ...


def map_shards(pool: WorkerPool, shards: Iterable[Shard]) -> Iterator[tuple[Shard, ShardOutput | None]]:
    """Yield each shard with its output as they finish, largest first, without output if it is given up."""
    waiting = deque(sorted(shards, key=lambda shard: -shard.size))
    losses: Counter[str] = Counter()
    running = 0
    while waiting or running:
        while waiting and pool.has_idle:
            pool.submit(waiting.popleft())
            running += 1
        for shard, output in pool.wait():
            running -= 1
            losses[shard.name] += output is None
            if output is None and losses[shard.name] < MAX_ATTEMPTS:
                waiting.appendleft(shard)
            else:
                yield shard, output
