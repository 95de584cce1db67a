"""Tests of every network in MODELS, and of their construction."""

import math
import re

import pytest
import torch

from mien.errors import ConfigError, ModelError
from mien.models import MODELS, build_model
from mien.models.layers import PixelInput

OPTIONS = {
    "efficientface": {},
    "face-mobilenet": {"blocks": 4, "frozen": 2},
    "hybrid": {"regions": "anatomical", "attention": True, "frozen": 2},
}
FROZEN = {"face-mobilenet": lambda model: model.fixed, "hybrid": lambda model: model.stages[:2]}


def build(name):
    torch.manual_seed(0)
    return MODELS[name](5, **OPTIONS[name])


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return build(request.param)


@pytest.mark.parametrize("size", [32, 48, 65])
def test_has_one_logit_per_class(model, size):
    model.eval()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 5)


def test_evaluation_does_not_depend_on_the_batch(model):
    images = torch.rand(4, 3, 32, 32) * 255
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_training_leaves_frozen_layers_unchanged(name):
    model = build(name)
    frozen = FROZEN[name](model)
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(torch.rand(4, 3, 32, 32) * 255).square().sum().backward()
    optimizer.step()
    assert before
    assert model.has_frozen_layers
    for key, value in frozen.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_every_trainable_parameter_gets_a_gradient(model):
    model.train()
    for _ in range(2):  # gates initialized at 0 pass gradients after the first step
        model.zero_grad()
        loss = (model(torch.rand(4, 3, 64, 64) * 255) * torch.randn(4, 5)).sum()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-3 * parameter.grad
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_frozen_and_trainable_part_compose_to_forward(model):
    images = torch.rand(2, 3, 32, 32) * 255
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(images), model.forward_trainable(model.frozen_features(images)).logits)


def test_activation_maps_average_to_the_logits(model):
    """All networks end with average pooling and one linear layer."""
    model.eval()
    with torch.no_grad():
        output = model.forward_trainable(model.frozen_features(torch.rand(2, 3, 64, 64) * 255))
        maps = model.activation_maps(output.feature_map)
    expected = maps.mean(dim=(2, 3)) + model.classifier.bias
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-5)


def test_rejects_too_many_blocks():
    with pytest.raises(ModelError, match="blocks"):
        MODELS["face-mobilenet"](3, blocks=14)


def test_grayscale_input_depends_on_luminance_only():
    pixels = PixelInput(grayscale=True)
    colors = torch.tensor([[200.0, 0, 0], [0, 200.0 * 0.299 / 0.587, 0]])[:, :, None, None].expand(2, 3, 4, 4)
    gray = pixels(colors)
    torch.testing.assert_close(gray[0], gray[1])
    assert gray.shape == (2, 3, 4, 4)
    torch.testing.assert_close(gray[0, 0, 0, 0], torch.tensor(200 * 0.299))


def test_build_model_converts_options():
    model = build_model("efficientface", 4, {"dropout": 1, "upsample": 64})
    assert model.classifier.out_features == 4
    assert (model.head[2].p, model.pixels.upsample) == (1.0, 64)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg", {}, "model.name is 'vgg'; expected one of efficientface, face-mobilenet, hybrid"),
        ("hybrid", {"backbon": "resnet50"}, "unknown key model.backbon. Did you mean model.backbone?"),
        ("hybrid", {"classes": 3}, "unknown key model.classes."),
        ("hybrid", {"frozen": "1"}, "model.frozen: expected int, got str"),
        ("hybrid", {"dropout": 30}, "[model] has a value out of range: dropout"),
        ("hybrid", {"upsample": -3}, "[model] has a value out of range: upsample is -3, expected 0 or more pixels"),
        ("efficientface", {"width": 0}, "[model] has a value out of range: width is 0.0, expected 0.11 or more."),
        ("efficientface", {"width": -1.0}, "[model] has a value out of range: width is -1.0, expected 0.11 or more."),
        ("efficientface", {"width": 0.1}, "width is 0.1, expected"),
        ("efficientface", {"width": math.inf}, "width is inf, expected"),
    ],
)
def test_build_model_rejects_invalid_options(name, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_model(name, 3, options)
