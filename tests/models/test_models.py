"""One test over every network in MODELS."""

import pytest
import torch

from mien.errors import ModelError
from mien.models import MODELS
from mien.models.layers import PixelInput

OPTIONS = {
    "efficientface": {},
    "face-mobilenet": {"blocks": 4, "frozen": 2},
    "hybrid": {"regions": "anatomical", "attention": True, "frozen": 2},
}
FROZEN = {
    "face-mobilenet": lambda model: model.fixed,
    "hybrid": lambda model: model.stages[:2],
}


def build(name):
    torch.manual_seed(0)
    return MODELS[name](5, **OPTIONS[name])


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return build(request.param)


@pytest.mark.parametrize("size", [32, 48, 65])
def test_gives_one_logit_a_class(model, size):
    model.eval()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 5)


def test_evaluation_does_not_depend_on_the_batch(model):
    images = torch.rand(4, 3, 32, 32) * 255
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_learning_leaves_frozen_layers_alone(name):
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


def test_everything_that_may_learn_gets_a_gradient(model):
    model.train()
    for _ in range(2):  # a gate that starts at 0 opens with the first step
        model.zero_grad()
        loss = (model(torch.rand(4, 3, 64, 64) * 255) * torch.randn(4, 5)).sum()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-3 * parameter.grad
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_halves_make_the_whole(model):
    images = torch.rand(2, 3, 32, 32) * 255
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(images), model.from_features(model.frozen_features(images)))


def test_activation_maps_average_to_the_logits(model):
    """Every network here ends with average pooling and one linear layer."""
    model.eval()
    with torch.no_grad():
        reading = model.read(model.frozen_features(torch.rand(2, 3, 64, 64) * 255))
        maps = model.activation_maps(reading.feature_map)
    expected = maps.mean(dim=(2, 3)) + model.classifier.bias
    torch.testing.assert_close(reading.logits, expected, rtol=1e-4, atol=1e-5)


def test_refuses_more_blocks_than_there_are():
    with pytest.raises(ModelError, match="blocks"):
        MODELS["face-mobilenet"](3, blocks=14)


def test_gray_input_sees_no_color():
    pixels = PixelInput(grayscale=True)
    colors = torch.tensor([[200.0, 0, 0], [0, 200.0 * 0.299 / 0.587, 0]])[:, :, None, None].expand(2, 3, 4, 4)
    seen = pixels(colors)
    torch.testing.assert_close(seen[0], seen[1])
    assert seen.shape == (2, 3, 4, 4)
    torch.testing.assert_close(seen[0, 0, 0, 0], torch.tensor(200 * 0.299))
