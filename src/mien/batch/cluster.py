"""Workers on a Ray cluster: actors, one shard at a time each."""
# pyright: reportMissingImports=false

from __future__ import annotations

import logging
from typing import Any

from mien.batch.analysis import ShardAnalyzer, ShardOutput
from mien.batch.pool import MAX_FAILED_STARTS, WorkerPool
from mien.batch.shards import Shard
from mien.errors import InputError, MienError, MissingExtraError


class RayPool(WorkerPool):
    """Actors that are placed by Ray; each one joins when its node has room for it, and a lost one is replaced.

    Args:
        analyzer: opens the networks once in each actor.
        address: of the cluster; None takes that of the environment variable RAY_ADDRESS, or starts Ray on this machine.
        workers: number of actors; 0 fills the cluster as it is now.
        cpus: CPU cores of an actor.
        gpus: GPUs of an actor, or a share of one; Ray shows it only these.

    Raises:
        InputError: the cluster cannot be reached, or has no room for a single actor.
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self, analyzer: ShardAnalyzer, *, address: str | None = None, workers: int = 0, cpus: int = 1, gpus: float = 0
    ) -> None:
        self._ray = _load_ray()
        self._analyzer = analyzer
        _connect(self._ray, address)
        try:
            workers = workers or _count_workers(self._ray.cluster_resources(), cpus, gpus)
        except MienError:
            self._ray.shutdown()
            raise
        # a lost actor is replaced here, so that its shard is given to another one that is ready
        self._actor_class = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_Worker)
        self._actors: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, Shard] = {}
        self._failed_starts = 0
        for _ in range(workers):
            self._start()

    @property
    def has_idle(self) -> bool:
        """True when an actor is ready for a shard."""
        return bool(self._idle)

    def submit(self, shard: Shard) -> None:
        """Give a shard to a ready actor."""
        actor = self._idle.pop()
        reference = actor.analyze.remote(shard)
        self._actors[reference] = actor
        self._busy[reference] = shard

    def wait(self) -> list[tuple[Shard, ShardOutput | None]]:
        """Wait for an actor that starts or finishes; see `WorkerPool`."""
        ready, _ = self._ray.wait(list(self._actors))
        return [ended for reference in ready if (ended := self._receive(reference))]

    def _receive(self, reference: Any) -> tuple[Shard, ShardOutput | None] | None:
        actor = self._actors.pop(reference)
        shard = self._busy.pop(reference, None)
        try:
            output = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause or error from None
        except self._ray.exceptions.RayError as error:
            self._replace(actor, error, is_started=shard is not None)
            return (shard, None) if shard else None
        self._failed_starts = 0
        self._idle.append(actor)
        return (shard, output) if shard else None

    def _start(self) -> None:
        actor = self._actor_class.remote(self._analyzer)
        self._actors[actor.start.remote()] = actor

    def _replace(self, actor: Any, error: Exception, *, is_started: bool) -> None:
        """Start another actor.

        Raises:
            InputError: none can be started, for example because a package is missing on the nodes.
        """
        self._failed_starts = 0 if is_started else self._failed_starts + 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise InputError(f"workers cannot start on the cluster: {' '.join(str(error).split())}")
        self._ray.kill(actor)
        self._start()

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()


class _Worker:
    """Actor of one worker."""

    def __init__(self, analyzer: ShardAnalyzer) -> None:
        self._analyzer = analyzer

    def start(self) -> None:
        """Return when the actor runs."""

    def analyze(self, shard: Shard) -> ShardOutput:
        """Analyze a shard."""
        return self._analyzer.analyze(shard)


def _load_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--cluster ray", "ray") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    options = {} if address else {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises exceptions of many types, one of them a bare Exception
        place = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot start"
        raise InputError(f"{place}: {' '.join(str(error).split())}") from None


def _count_workers(resources: dict[str, float], cpus: int, gpus: float) -> int:
    """Return the number of actors that the cluster has room for."""
    rooms = [resources.get("CPU", 0) // cpus, *([resources.get("GPU", 0) // gpus] if gpus else [])]
    if workers := int(min(rooms)):
        return workers
    available = f"{resources.get('CPU', 0):g} CPU cores and {resources.get('GPU', 0):g} GPUs"
    raise InputError(f"the Ray cluster has {available}, too few for a worker; if it grows on demand, give --workers.")
