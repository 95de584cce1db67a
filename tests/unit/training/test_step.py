import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mien.errors import TrainingError
from mien.losses import label_distribution_loss
from mien.models.network import ExpressionNetwork, Reading
from mien.training.checkpoint import Checkpoint
from mien.training.config import config_from_dict
from mien.training.distributed import ALONE
from mien.training.step import Learner, displaced, pick_precision

SIDE, CLASSES = 8, 3


class TinyNetwork(ExpressionNetwork):
    """A convolution, a batch norm when wanted, and a classifier."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.classifier = nn.Linear(4, CLASSES)

    def frozen_features(self, images):
        return images / 255

    def read(self, features):
        feature_map = self.norm(self.convolution(features))
        return Reading(self.classifier(feature_map.mean(dim=(2, 3))), feature_map, None)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, SIDE, SIDE, generator=generator) * 255
    return images, F.one_hot(torch.tensor([0, 1, 2, 2, 1, 0]), CLASSES).float()


def build(norm=False, **training):
    torch.manual_seed(0)
    model = TinyNetwork(norm)
    config = config_from_dict({"training": {"weight_decay": 0, **training}})
    return Learner(model, model.frozen_features, config, torch.full((CLASSES,), 1 / CLASSES), ALONE)


def learn(learner, batch, pieces=1):
    """One step; returns the loss and the gradient that was followed."""
    parts = [part for _, part in ALONE.split(len(batch[0]), pieces)]
    for group in learner.optimizer.param_groups:
        group["lr"] = 1e-3
    loss = learner.learn(*batch, parts, seed=1)
    return loss, {name: weight.grad.clone() for name, weight in learner.model.named_parameters()}


def assert_close(found, expected):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_a_run_that_diverges_ends_with_its_weights_as_they_were(batch):
    learner = build()
    before = copy.deepcopy(learner.model.state_dict())
    with pytest.raises(TrainingError, match=r"the loss is nan: .* Lower training\.lr"):
        learn(learner, (batch[0] * float("nan"), batch[1]))
    assert all(torch.equal(value, before[name]) for name, value in learner.model.state_dict().items())


@pytest.mark.parametrize("pieces", [2, 4, 6])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(batch, pieces):
    whole, expected = learn(build(), batch)
    loss, found = learn(build(), batch, pieces)
    assert loss == pytest.approx(whole)
    assert_close(found, expected)


def test_sam_follows_the_gradient_a_step_aside(batch):
    """Foret et al., eq. 3: the gradient at w + rho * g / |g|, applied at w."""
    learner = build(sam=0.3, clip=1000)
    model = copy.deepcopy(learner.model)
    label_distribution_loss(model(batch[0]), batch[1]).backward()
    weights = list(model.parameters())
    norm = torch.cat([weight.grad.flatten() for weight in weights]).norm()
    with torch.no_grad():
        for weight in weights:
            weight += 0.3 * weight.grad / norm
            weight.grad = None
    label_distribution_loss(model(batch[0]), batch[1]).backward()
    loss, found = learn(learner, batch)
    assert_close(found, {name: weight.grad for name, weight in model.named_parameters()})
    plain_loss, plain = learn(build(), batch)
    assert loss == plain_loss
    assert (found["classifier.weight"] - plain["classifier.weight"]).abs().max() > 1e-4


def test_sam_puts_everything_back(batch):
    model = build(norm=True).model
    before = copy.deepcopy(model.state_dict())
    model(batch[0]).square().sum().backward()
    measured = copy.deepcopy(model.state_dict())
    with displaced(model, 0.1):
        assert not torch.equal(model.classifier.weight, before["classifier.weight"])
        model(batch[0])
    assert all(torch.equal(value, measured[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.norm.running_mean, before["norm.running_mean"])


def test_features_are_drawn_to_those_that_are_wanted(batch):
    images, targets = batch
    learner = build()
    learner.imitation = 2.0
    reading = learner.model.read(learner.model.frozen_features(images))
    wanted = reading.embedding.detach() + 3.0
    plain = label_distribution_loss(reading.logits, targets)
    loss = learner._loss(images, torch.cat([targets, wanted], dim=1))
    assert torch.isclose(loss, plain + 2.0 * 9.0)


def test_consistency_asks_for_the_same_maps_of_the_mirror_image(batch):
    loss, found = learn(build(consistency=5), batch)
    plain, expected = learn(build(), batch)
    assert loss > plain + 1e-6
    assert (found["convolution.weight"] - expected["convolution.weight"]).abs().max() > 1e-6
    torch.testing.assert_close(found["classifier.weight"], expected["classifier.weight"])


def test_a_network_that_sees_no_sides_is_consistent(batch):
    images, targets = batch
    symmetric = (images + images.flip(3)) / 2
    losses = []
    for consistency in (0, 5):
        learner = build(consistency=consistency)
        kernel = learner.model.convolution.weight
        with torch.no_grad():
            kernel.copy_((kernel + kernel.flip(3)) / 2)
        losses.append(learn(learner, (symmetric, targets))[0])
    assert losses[1] == pytest.approx(losses[0])


def test_float16_keeps_its_scale_in_the_checkpoint(batch):
    first, second = build(), build()
    for learner in (first, second):
        learner.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    learn(first, batch)
    first.scaler.update(32.0)
    checkpoint = Checkpoint(
        step=1,
        config={},
        labels=(),
        model={},
        ema={},
        optimizer=first.optimizer.state_dict(),
        metrics={},
        scaler=first.scaler.state_dict(),
    )
    second.restore(checkpoint)
    assert second.scaler.get_scale() == 32.0
    assert_close(learn(second, batch)[1], learn(build(), batch)[1])


def test_precision_is_what_the_device_can(monkeypatch):
    assert pick_precision(torch.device("cpu"), True) is None
    assert pick_precision(torch.device("cuda"), False) is None
    for can, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, can=can: can)
        assert pick_precision(torch.device("cuda"), True) is expected
