"""One run over several processes, which `torchrun` starts: each takes its share of every batch.

N processes see exactly what one sees. They make the random choices of the whole batch and keep their own share of it;
batch norms measure over all shares; gradients are summed. Only the first process writes files; on several machines the
folders of the run and of the data are shared ones.
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
from mien.training.sync_layers import WholeBatch

PATIENCE = timedelta(days=2)
"""How long processes wait for the first one, which prepares the faces; torchrun ends all when one of them fails. Within
a step they wait for each other as long as torch has it."""


class Part(NamedTuple):
    """Faces of a batch that one process learns from at once."""

    start: int
    """Place of the first of them among the faces that all processes learn from at once."""
    own: int
    """How many they are."""
    whole: int
    """How many all processes have."""


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen from one of them.

    Attributes:
        device: of this process.
        rank: its number, from 0.
        count: of processes.
        waiting: what they wait for each other in, `PATIENCE` long.
    """

    device: torch.device
    rank: int = 0
    count: int = 1
    waiting: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            dist.barrier(self.waiting)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Do something in the first process, then in the others, which find what it has left on disk."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.count == 1:
            return values
        moved = values.to(self.device, copy=True)
        dist.all_reduce(moved)
        return moved.to(values.device)

    def sum_gradients(self, model: nn.Module) -> None:
        """Sum the gradients of a network over the processes, in place."""
        if self.count == 1:
            return
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        summed = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, values in zip(gradients, summed.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))

    def share(self, count: int) -> slice:
        """This process's share of `count` things; the shares follow one another and differ by one at most."""
        return slice(count * self.rank // self.count, count * (self.rank + 1) // self.count)

    def split(self, batch: int, pieces: int) -> list[tuple[Tensor, Part]]:
        """This process's faces of every piece of a batch: their places in the batch, and what part they are.

        Raises:
            ConfigError: when a piece has less than one face for each process.
        """
        if batch < pieces * self.count:
            raise ConfigError(
                f"a step has {batch} faces: not one for each of {self.count} processes in {pieces} pieces. "
                "Raise training.batch, or lower training.accumulate or the number of processes."
            )
        parts = []
        for places in torch.arange(batch).tensor_split(pieces):
            own = self.share(len(places))
            parts.append((places[own], Part(own.start, own.stop - own.start, len(places))))
        return parts

    def as_one(self, part: Part) -> AbstractContextManager:
        """While it is entered, a network's layers treat this part as what it is: one of several."""
        return nullcontext() if self.count == 1 else WholeBatch(part.start, part.own, part.whole)


ALONE = Group(torch.device("cpu"))
"""The only process of a run on the CPU."""


def is_main_process() -> bool:
    """Whether this process may print: it is alone, or the first of those that torchrun started."""
    return _world()[0] == 0


@contextmanager
def joined_group(device: str) -> Iterator[Group]:
    """The processes that torchrun started, connected; or this one alone.

    Args:
        device: as `pick_device` takes it. On CUDA every process of a machine has a GPU of its own.

    Raises:
        ConfigError: when there is no such device, or not one for each process.
    """
    rank, count, local_rank = _world()
    if count == 1:
        yield Group(pick_device(device))
        return
    picked = pick_device(device)
    if picked.type == "cuda":
        picked = torch.device("cuda", check_local_rank(local_rank, torch.cuda.device_count()))
        torch.cuda.set_device(picked)
    elif picked.type != "cpu":
        raise ConfigError(f"training.device is {picked.type}; several processes work on cpu or cuda.")
    dist.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    waiting = dist.new_group(backend="gloo", timeout=PATIENCE)
    yield Group(picked, rank, count, cast(dist.ProcessGroup, waiting))
    dist.destroy_process_group()  # not after a failure: NCCL would wait for the others, which wait for this process


def cores_of_process() -> int:
    """Cores of this machine for each of the processes that torchrun started on it."""
    return max(1, usable_cores() // int(_told().get("LOCAL_WORLD_SIZE", 1)))


def check_local_rank(local_rank: int, gpus: int) -> int:
    """The number of a process on its machine, when there is a GPU for it.

    Raises:
        ConfigError: when there is none.
    """
    if local_rank < gpus:
        return local_rank
    raise ConfigError(
        f"process {local_rank} of this machine has no GPU: it sees {gpus}. Start as many processes as there are, "
        f"torchrun --nproc_per_node={gpus}, or train on the CPU, training.device=cpu."
    )


def _world() -> tuple[int, int, int]:
    """Rank, number of processes and rank on this machine, as torchrun tells them; without it 0, 1, 0."""
    told = _told()
    return int(told.get("RANK", 0)), int(told.get("WORLD_SIZE", 1)), int(told.get("LOCAL_RANK", 0))


def _told() -> Mapping[str, str]:
    """What torchrun tells its processes; nothing without it."""
    return os.environ if "MASTER_ADDR" in os.environ else {}


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, then Apple's MPS, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        here = ", ".join(device for device, is_there in available.items() if is_there)
        raise ConfigError(f"training.device is {name!r}; this machine has: {here}.")
    return torch.device(name)
