"""EfficientFace against its publication (Zhao, Liu, Zhou, AAAI 2021, tables 1 and 5)."""

import pytest
import torch

from mien.errors import ModelError
from mien.models import EfficientFace
from mien.models.cost import measure_cost
from mien.models.efficientface import MIN_WIDTH


def test_cost_is_the_published_one():
    parameters, macs = measure_cost(EfficientFace(7), 224)
    assert parameters == pytest.approx(1.28e6, rel=0.005)
    assert macs == pytest.approx(154.18e6, rel=0.04)  # the paper counts batch norms too


def shapes_of(model, size):
    """Return the output shapes of the named parts for one image."""
    shapes = {}
    parts = {"stem": model.stem, "stage2": model.stage2, "local": model.local, "modulator": model.modulator}
    parts |= {"stage3": model.trunk[0], "stage4": model.trunk[1], "conv5": model.trunk[2]}

    def record(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            shapes[name] = tuple(output.shape[1:])

        return hook

    handles = [part.register_forward_hook(record(name)) for name, part in parts.items()]
    model.eval()(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    return shapes


def test_layers_have_the_published_shapes():
    assert shapes_of(EfficientFace(7), 224) == {
        "stem": (29, 56, 56),
        "stage2": (116, 28, 28),
        "modulator": (116, 28, 28),
        "local": (116, 28, 28),
        "stage3": (232, 14, 14),
        "stage4": (464, 7, 7),
        "conv5": (1024, 7, 7),
    }


def test_quadrants_are_independent():
    """A change in one quadrant of the input changes only that quadrant of the local map."""
    torch.manual_seed(0)
    local = EfficientFace(7).eval().local
    plain = torch.rand(1, 29, 28, 28)
    changed = plain.clone()
    changed[:, :, :14, 14:] += 1
    with torch.no_grad():
        difference = (local(changed)[0] - local(plain)[0]).abs().amax(dim=(0, 1))
    assert (difference[:7, 7:] > 0).all()
    assert difference[:7, :7].max() == difference[7:].max() == 0


def test_width_scales_the_channels_of_every_layer():
    assert measure_cost(EfficientFace(8, width=0.55), 96)[0] == 401_533
    shapes = shapes_of(EfficientFace(8, width=0.55), 96)
    assert [shapes[name][0] for name in ("stem", "stage2", "stage3", "stage4", "conv5")] == [16, 64, 128, 256, 560]


def test_minimum_width_can_be_evaluated():
    shapes = shapes_of(EfficientFace(8, width=MIN_WIDTH), 96)
    assert shapes["stage2"][0] == 16


def test_quadrants_share_no_weights():
    local = EfficientFace(7).local
    weights = {id(parameter) for layers in local.layers for parameter in layers.parameters()}
    assert len(weights) == 4 * len(list(local.layers[0].parameters()))


def test_rejects_images_below_32_pixels():
    with pytest.raises(ModelError, match="32 px"):
        EfficientFace(7)(torch.zeros(2, 3, 24, 24))
