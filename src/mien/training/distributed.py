"""Data-parallel training over the processes that `torchrun` starts.

N processes compute what one process computes. All draw the random numbers of the whole batch and use those of their own
shard; batch norms compute statistics over all shares; gradients are summed. Only the first process writes files. On
several machines, the folders of the run and of the data are shared.

DistributedDataParallel is not used. It averages gradients during the backward pass of `forward`, while a step here
runs several backward passes (accumulation, sharpness-aware minimization) over shards of unequal size and through other
methods than `forward`. One all-reduce of all gradients per pass is shorter, and gives the gradient of a single process
up to rounding.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.runtime import usable_cores
from mien.training.sync_layers import SyncLayers

BARRIER_TIMEOUT = timedelta(days=2)
"""Time that processes wait at a barrier while the first one prepares faces. torchrun ends all processes when one fails;
within a step torch's own timeout applies."""


class Shard(NamedTuple):
    """The faces of one process in one part of a batch, which all processes compute at the same time."""

    start: int
    """Position of the first face within the part."""
    size: int
    """Number of faces of this process."""
    total: int
    """Number of faces of all processes."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, from the view of one of them.

    Attributes:
        device: device of this process.
        rank: number of this process, from 0.
        world_size: number of processes.
        barrier_group: group of the same processes with a timeout of `BARRIER_TIMEOUT`.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    barrier_group: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes have reached this call."""
        if self.world_size > 1:
            dist.barrier(self.barrier_group)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run a block in the first process, then in the others, which find its files on disk."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes."""
        if self.world_size == 1:
            return values
        moved = values.to(self.device, copy=True)
        dist.all_reduce(moved)
        return moved.to(values.device)

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in at least one process."""
        return self.all_reduce(torch.tensor(float(flag))).item() > 0

    def all_reduce_gradients(self, model: nn.Module) -> None:
        """Sum the gradients of a network over the processes, in place."""
        if self.world_size == 1:
            return
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        total = self.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, values in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))

    def own_slice(self, count: int) -> slice:
        """Return the slice of this process in a sequence of `count` items; slices differ in length by at most one."""
        return slice(count * self.rank // self.world_size, count * (self.rank + 1) // self.world_size)

    def shard(self, batch: int, accumulate: int) -> list[tuple[Tensor, Shard]]:
        """Split a batch into parts for gradient accumulation, and every part over the processes.

        Returns:
            For every part, the positions of this process's faces in the batch, and their shard.

        Raises:
            ConfigError: if a part has fewer faces than there are processes.
        """
        if batch < accumulate * self.world_size:
            raise ConfigError(
                f"a batch of {batch} faces is too small for {self.world_size} processes and {accumulate} parts. Raise "
                "training.batch, or lower training.accumulate or the number of processes."
            )
        shards = []
        for positions in torch.arange(batch).tensor_split(accumulate):
            own = self.own_slice(len(positions))
            shards.append((positions[own], Shard(own.start, own.stop - own.start, len(positions))))
        return shards

    def sync_layers(self, shard: Shard) -> AbstractContextManager:
        """Return a context in which batch norm and dropout work on the faces of all processes."""
        return nullcontext() if self.world_size == 1 else SyncLayers(*shard)


SINGLE_PROCESS = ProcessGroup(torch.device("cpu"))
"""The group of a run with one process on the CPU."""


def is_main_process() -> bool:
    """Return whether this process is the only one, or the first of those that torchrun started."""
    return _torchrun_ranks()[0] == 0


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Connect the processes that torchrun started; without torchrun, yield a group of this process.

    Args:
        device: see `pick_device`. On CUDA every process of a machine uses its own GPU.

    Raises:
        ConfigError: if the device does not exist, or there are fewer GPUs than processes.
    """
    rank, world_size, local_rank = _torchrun_ranks()
    if world_size == 1:
        yield ProcessGroup(pick_device(device))
        return
    picked = pick_device(device)
    if picked.type == "cuda":
        picked = torch.device("cuda", check_local_rank(local_rank, torch.cuda.device_count()))
        torch.cuda.set_device(picked)
    elif picked.type != "cpu":
        raise ConfigError(f"training.device is {picked.type}; several processes need cpu or cuda.")
    dist.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    barrier_group = dist.new_group(backend="gloo", timeout=BARRIER_TIMEOUT)
    yield ProcessGroup(picked, rank, world_size, cast(dist.ProcessGroup, barrier_group))
    # not in a finally block: after a failure NCCL would wait for the others, which wait for this process
    dist.destroy_process_group()


def cores_per_process() -> int:
    """Return the number of cores of this machine per process that torchrun started on it, at least 1."""
    return max(1, usable_cores() // int(_torchrun_environment().get("LOCAL_WORLD_SIZE", 1)))


def check_local_rank(local_rank: int, gpus: int) -> int:
    """Return the rank of a process on its machine, if there is a GPU for it.

    Raises:
        ConfigError: if there is none.
    """
    if local_rank < gpus:
        return local_rank
    raise ConfigError(
        f"process {local_rank} of this machine has no GPU: {gpus} available. Start that number of processes, "
        f"torchrun --nproc_per_node={gpus}, or train on the CPU, training.device=cpu."
    )


def _torchrun_ranks() -> tuple[int, int, int]:
    """Return rank, number of processes and rank on this machine; 0, 1, 0 without torchrun."""
    environment = _torchrun_environment()
    return (
        int(environment.get("RANK", 0)),
        int(environment.get("WORLD_SIZE", 1)),
        int(environment.get("LOCAL_RANK", 0)),
    )


def _torchrun_environment() -> Mapping[str, str]:
    """Return the environment variables if torchrun set them; some clusters set RANK for other purposes."""
    return os.environ if "MASTER_ADDR" in os.environ else {}


def pick_device(name: str) -> torch.device:
    """Return the device of that name; "auto" prefers CUDA, then Apple's MPS, then the CPU."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    devices = [device for device, is_available in available.items() if is_available]
    if name != "auto" and name not in devices:
        raise ConfigError(f"training.device is {name!r}; this machine has: {', '.join(sorted(devices))}.")
    return torch.device(devices[0] if name == "auto" else name)
