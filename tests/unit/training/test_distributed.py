import pytest
import torch

from mien.errors import ConfigError
from mien.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    check_local_rank,
    is_main_process,
    pick_device,
    process_group,
)


def groups(world_size):
    return [ProcessGroup(torch.device("cpu"), rank, world_size) for rank in range(world_size)]


@pytest.mark.parametrize(("world_size", "count"), [(1, 5), (2, 5), (3, 2), (4, 0)])
def test_slices_of_all_processes_cover_the_sequence_evenly(world_size, count):
    slices = [list(range(count))[group.own_slice(count)] for group in groups(world_size)]
    assert [item for part in slices for item in part] == list(range(count))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_every_part_of_a_batch_is_sharded():
    sharded = [group.shard(7, 2) for group in groups(2)]
    for part, faces in enumerate(([0, 1, 2, 3], [4, 5, 6])):
        positions = [shards[part][0].tolist() for shards in sharded]
        assert [position for own in positions for position in own] == faces
        for own, shard in zip(positions, (shards[part][1] for shards in sharded), strict=True):
            assert faces[shard.start : shard.start + shard.size] == own
            assert shard.total == len(faces)


def test_rejects_a_batch_with_too_few_faces():
    with pytest.raises(ConfigError, match="a batch of 7 faces is too small for 4 processes and 2 parts"):
        groups(4)[0].shard(7, 2)
    ((positions, shard),) = SINGLE_PROCESS.shard(7, 1)
    assert (positions.tolist(), shard) == (list(range(7)), (0, 7, 7))


def test_single_process_needs_no_communication():
    with process_group("cpu") as group:
        assert group == SINGLE_PROCESS
        group.barrier()
        assert group.all_reduce(torch.ones(2)).tolist() == [1, 1]
    assert is_main_process()


def test_reads_the_environment_of_torchrun(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert is_main_process()  # some clusters set RANK for other purposes
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert not is_main_process()


def test_rejects_a_process_without_a_gpu():
    assert check_local_rank(1, 2) == 1
    with pytest.raises(ConfigError, match=r"process 2 .* has no GPU: 2 available\. .*--nproc_per_node=2"):
        check_local_rank(2, 2)


def test_rejects_a_missing_device():
    with pytest.raises(ConfigError, match=r"'tpu'; this machine has: cpu"):
        pick_device("tpu")
