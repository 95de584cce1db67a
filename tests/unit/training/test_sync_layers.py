import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from mien.training.sync_layers import SyncLayers


@pytest.fixture
def connected():
    """An initialized process group with one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 3)])
def test_batch_norm_equals_that_of_torch(connected, shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 10
    norms = [nn.BatchNorm1d(4, momentum=0.3) if len(shape) == 2 else nn.BatchNorm2d(4) for _ in range(2)]
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    norms[1].load_state_dict(norms[0].state_dict())
    expected = norms[0](inputs[0])
    with SyncLayers(0, 6, 6):
        outputs = norms[1](inputs[1])
    for tensor in (expected, outputs):
        (tensor**3).sum().backward()
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norms[1].weight.grad, norms[0].weight.grad, atol=0, rtol=1e-4)
    torch.testing.assert_close(dict(norms[1].named_buffers()), dict(norms[0].named_buffers()))
    with SyncLayers(0, 6, 6):
        torch.testing.assert_close(norms[1].eval()(features), norms[0].eval()(features))


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.Dropout2d(0.4)])
def test_dropout_uses_the_mask_of_the_whole_batch(layer):
    features = torch.ones(7, 3, 4, 4)
    torch.manual_seed(1)
    expected = layer(features)
    outputs = []
    for start, size in ((0, 3), (3, 4)):
        torch.manual_seed(1)
        with SyncLayers(start, size, 7):
            outputs.append(layer(features[start : start + size]))
    assert torch.equal(torch.cat(outputs), expected)
    with SyncLayers(0, 7, 7):
        assert torch.equal(F.dropout(features, 0.4, training=False), features)


def test_dropout_supports_several_rows_per_face():
    features = torch.ones(8, 50)
    torch.manual_seed(1)
    expected = F.dropout(features, 0.4)
    torch.manual_seed(1)
    with SyncLayers(3, 1, 4):
        assert torch.equal(F.dropout(features[6:], 0.4), expected[6:])
