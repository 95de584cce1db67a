import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from mien.errors import ConfigError
from mien.training.distributed import (
    ALONE,
    Group,
    check_local_rank,
    is_main_process,
    joined_group,
    pick_device,
)
from mien.training.sync_layers import WholeBatch

CPU = torch.device("cpu")


def members(count):
    return [Group(CPU, rank, count) for rank in range(count)]


@pytest.mark.parametrize(("count", "things"), [(1, 5), (2, 5), (3, 2), (4, 0)])
def test_shares_follow_one_another_and_leave_nothing_out(count, things):
    shares = [list(range(things))[group.share(things)] for group in members(count)]
    assert [place for share in shares for place in share] == list(range(things))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_every_piece_of_a_batch_is_shared():
    split = [group.split(7, 2) for group in members(2)]
    for piece, faces in enumerate(([0, 1, 2, 3], [4, 5, 6])):
        places = [parts[piece][0].tolist() for parts in split]
        assert [place for own in places for place in own] == faces
        for own, part in zip(places, (parts[piece][1] for parts in split), strict=True):
            assert faces[part.start : part.start + part.own] == own
            assert part.whole == len(faces)


def test_too_few_faces_are_told():
    with pytest.raises(ConfigError, match="a step has 7 faces: not one for each of 4 processes in 2 pieces"):
        members(4)[0].split(7, 2)
    ((places, part),) = ALONE.split(7, 1)
    assert (places.tolist(), part) == (list(range(7)), (0, 7, 7))


def test_alone_nothing_is_sent():
    with joined_group("cpu") as group:
        assert group == ALONE
        group.wait()
        assert group.sum(torch.ones(2)).tolist() == [1, 1]
    assert is_main_process()


def test_the_environment_of_torchrun_is_known(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert is_main_process()  # some clusters set RANK for other ends
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert not is_main_process()


def test_a_process_without_a_gpu_is_told():
    assert check_local_rank(1, 2) == 1
    with pytest.raises(ConfigError, match=r"process 2 .* has no GPU: it sees 2\. .*--nproc_per_node=2"):
        check_local_rank(2, 2)


def test_a_device_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match=r"'tpu'; this machine has: cpu"):
        pick_device("tpu")


@pytest.fixture
def connected():
    """A group of one, connected all the same."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 3)])
def test_batch_norm_over_the_whole_batch_is_torchs(connected, shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 10
    norms = [nn.BatchNorm1d(4, momentum=0.3) if len(shape) == 2 else nn.BatchNorm2d(4) for _ in range(2)]
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    norms[1].load_state_dict(norms[0].state_dict())
    expected = norms[0](inputs[0])
    with WholeBatch(0, 6, 6):
        found = norms[1](inputs[1])
    for output in (expected, found):
        (output**3).sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norms[1].weight.grad, norms[0].weight.grad, atol=0, rtol=1e-4)
    torch.testing.assert_close(dict(norms[1].named_buffers()), dict(norms[0].named_buffers()))
    with WholeBatch(0, 6, 6):
        torch.testing.assert_close(norms[1].eval()(features), norms[0].eval()(features))


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.Dropout2d(0.4)])
def test_dropout_draws_for_the_whole_batch(layer):
    features = torch.ones(7, 3, 4, 4)
    torch.manual_seed(1)
    expected = layer(features)
    found = []
    for start, own in ((0, 3), (3, 4)):
        torch.manual_seed(1)
        with WholeBatch(start, own, 7):
            found.append(layer(features[start : start + own]))
    assert torch.equal(torch.cat(found), expected)
    with WholeBatch(0, 7, 7):
        assert torch.equal(F.dropout(features, 0.4, training=False), features)


def test_several_rows_a_face_are_dropped_face_by_face():
    features = torch.ones(8, 50)
    torch.manual_seed(1)
    expected = F.dropout(features, 0.4)
    torch.manual_seed(1)
    with WholeBatch(3, 1, 4):
        assert torch.equal(F.dropout(features[6:], 0.4), expected[6:])
