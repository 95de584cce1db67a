"""One test over every network in MODELS."""

import pytest
import torch

from mien.errors import ModelError
from mien.models import MODELS
from mien.models.layers import PixelInput

OPTIONS = {"face-mobilenet": {"blocks": 4, "frozen": 2}}


@pytest.fixture(params=sorted(MODELS))
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param](5, **OPTIONS[request.param])


def test_gives_one_logit_a_class(model):
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert model.eval()(torch.zeros(1, 3, 48, 48)).shape == (1, 5)


def test_evaluation_does_not_depend_on_the_batch(model):
    images = torch.rand(4, 3, 32, 32) * 255
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


def test_learning_leaves_frozen_layers_alone(model):
    before = {name: value.clone() for name, value in model.fixed.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(torch.rand(4, 3, 32, 32) * 255).square().sum().backward()
    optimizer.step()
    assert before
    for name, value in model.fixed.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_halves_make_the_whole(model):
    images = torch.rand(2, 3, 32, 32) * 255
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(images), model.from_features(model.frozen_features(images)))


def test_refuses_more_blocks_than_there_are():
    with pytest.raises(ModelError, match="blocks"):
        MODELS["face-mobilenet"](3, blocks=14)


def test_grey_input_sees_no_colour():
    pixels = PixelInput(grey=True)
    colours = torch.tensor([[200.0, 0, 0], [0, 200.0 * 0.299 / 0.587, 0]])[:, :, None, None].expand(
        2, 3, 4, 4
    )
    seen = pixels(colours)
    torch.testing.assert_close(seen[0], seen[1])
    assert seen.shape == (2, 3, 4, 4)
    torch.testing.assert_close(seen[0, 0, 0, 0], torch.tensor(200 * 0.299))
