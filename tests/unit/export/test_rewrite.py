"""Rewriting of operators that ONNX Runtime runs slowly."""

import numpy as np
import onnx
import pytest

from mien.runtime import open_session

torch = pytest.importorskip("torch")
simplification = pytest.importorskip("mien.export.simplify")
network = pytest.importorskip("mien.models.network")

functional = torch.nn.functional


class Padded(torch.nn.Module):
    """A convolution that is padded on one side, a pad by nothing, and a shortcut with new channels of zeros."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, images):
        features = functional.pad(self.first(functional.pad(images, (0, 1, 2, 1))), (0, 0, 0, 0))
        return functional.pad(functional.max_pool2d(features, 2), (0, 0, 0, 0, 0, 3)).mean(dim=(2, 3))


class Reflected(torch.nn.Module):
    """Pads that a convolution cannot make: of mirrored values, of ones, and of a border that is cut off."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3)

    def forward(self, images):
        sizes = ((1, 1, 1, 1), "reflect", 0.0), ((1, 1, 1, 1), "constant", 1.0), ((-1, 2, 0, 0), "constant", 0.0)
        maps = [self.layer(functional.pad(images, size, mode=mode, value=value)) for size, mode, value in sizes]
        return torch.cat([features.mean(dim=(2, 3)) for features in maps], dim=1)


class Rectified(torch.nn.Module):
    """PReLUs with slopes below 0, of 0..1 and above 1, and with one slope for all channels."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3)
        self.slopes = torch.nn.PReLU(4)
        self.slopes.weight.data = torch.tensor([-0.5, 0.0, 0.3, 2.0])
        self.slope = torch.nn.PReLU()

    def forward(self, images):
        features = self.layer(images - 128)
        return self.slopes(features).mean(dim=(2, 3)) + self.slope(features).mean(dim=(2, 3))


class Stacked(torch.nn.Module):
    """A sum of stacked maps, and a sum over the batch, which is none."""

    def forward(self, images):
        maps = torch.stack([images, 2 * images, images.sqrt()]).sum(dim=0)
        return (maps + torch.cat([images, images]).sum(dim=0)).mean(dim=(2, 3))


def rewrite(module):
    """Return the operators after the rewriting, and the outputs before and after it."""
    torch.manual_seed(0)
    model = onnx.load_from_string(network.trace_graph(module, 10, "logits"))
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 10, 10)).astype(np.float32)
    (before,) = open_session(model.SerializeToString()).run(None, {"images": images})
    simplification.simplify(model)
    onnx.checker.check_model(model, full_check=True)
    (after,) = open_session(model.SerializeToString()).run(None, {"images": images})
    return [node.op_type for node in model.graph.node], before, after


@pytest.mark.parametrize(
    ("module", "dropped", "remaining"),
    [(Padded, "Pad", 0), (Reflected, "Pad", 3), (Rectified, "PRelu", 1), (Stacked, "ReduceSum", 1)],
)
def test_rewrites_equivalent_operators_only(module, dropped, remaining):
    operators, before, after = rewrite(module())
    assert operators.count(dropped) == remaining
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-4)
