import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mien.errors import TrainingError
from mien.losses import label_distribution_loss
from mien.models.network import ExpressionNetwork, NetworkOutput
from mien.training.checkpoint import Checkpoint
from mien.training.config import LoopConfig, config_from_dict
from mien.training.distributed import SINGLE_PROCESS
from mien.training.step import TrainStep, pick_precision, sam_perturbation

SIDE, CLASSES = 8, 3


class TinyNetwork(ExpressionNetwork):
    """A convolution, an optional batch norm, and a classifier."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.classifier = nn.Linear(4, CLASSES)

    def frozen_features(self, images):
        return images / 255

    def forward_trainable(self, features):
        feature_map = self.norm(self.convolution(features))
        return NetworkOutput(self.classifier(feature_map.mean(dim=(2, 3))), feature_map, None)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, SIDE, SIDE, generator=generator) * 255
    return images, F.one_hot(torch.tensor([0, 1, 2, 2, 1, 0]), CLASSES).float()


def build(norm=False, **training):
    torch.manual_seed(0)
    model = TinyNetwork(norm)
    config = config_from_dict({"training": {"weight_decay": 0, **training}})
    prior = torch.full((CLASSES,), 1 / CLASSES)
    return TrainStep(model, model.frozen_features, config, prior, SINGLE_PROCESS)


def run(step, batch, accumulate=1):
    """Run one step; return the loss and the gradient that was applied."""
    shards = [shard for _, shard in SINGLE_PROCESS.shard(len(batch[0]), accumulate)]
    for group in step.optimizer.param_groups:
        group["lr"] = 1e-3
    loss = step(*batch, shards, seed=1)
    return loss, {name: weight.grad.clone() for name, weight in step.model.named_parameters()}


def assert_close(gradients, expected):
    for name, value in expected.items():
        torch.testing.assert_close(gradients[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_divergence_raises_and_leaves_the_weights_unchanged(batch):
    step = build()
    before = copy.deepcopy(step.model.state_dict())
    with pytest.raises(TrainingError, match=r"the loss is nan: .* Lower training\.lr"):
        run(step, (batch[0] * float("nan"), batch[1]))
    assert all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())


def test_divergence_with_float16_raises(batch):
    """The gradient scaler would skip every later step without a message."""
    step = build()
    step.scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(TrainingError, match="the loss is nan: the run has diverged"):
        run(step, (batch[0] * float("nan"), batch[1]))


def test_infinite_gradient_with_float16_skips_the_step(batch):
    step = build()
    step.scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    before = copy.deepcopy(step.model.state_dict())
    run(step, (batch[0] * 1e4, batch[1]))
    assert step.scaler.get_scale() < 3e38
    assert all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())


def test_gradient_that_is_not_finite_leaves_the_weights_unchanged(batch, monkeypatch):
    """The loss alone does not show it, and the next checkpoint would contain the broken weights."""
    step = build()
    before = copy.deepcopy(step.model.state_dict())
    backward = step._backward

    def overflow(*arguments):
        loss = backward(*arguments)
        step.model.classifier.weight.grad[0, 0] = float("inf")
        return loss

    monkeypatch.setattr(step, "_backward", overflow)
    with pytest.raises(TrainingError, match=r"the gradient is inf: the run has diverged"):
        run(step, batch)
    assert all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())


@pytest.mark.parametrize("accumulate", [2, 4, 6])
def test_accumulation_gives_the_gradient_of_the_whole_batch(batch, accumulate):
    full_loss, expected = run(build(), batch)
    loss, gradients = run(build(), batch, accumulate)
    assert loss == pytest.approx(full_loss)
    assert_close(gradients, expected)


def test_sam_applies_the_gradient_at_the_perturbed_weights(batch):
    """Foret et al., eq. 3: the gradient at w + rho * g / |g|, applied at w."""
    step = build(sam=0.3, clip=1000)
    model = copy.deepcopy(step.model)
    label_distribution_loss(model(batch[0]), batch[1]).backward()
    weights = list(model.parameters())
    norm = torch.cat([weight.grad.flatten() for weight in weights]).norm()
    with torch.no_grad():
        for weight in weights:
            weight += 0.3 * weight.grad / norm
            weight.grad = None
    label_distribution_loss(model(batch[0]), batch[1]).backward()
    loss, gradients = run(step, batch)
    assert_close(gradients, {name: weight.grad for name, weight in model.named_parameters()})
    plain_loss, plain = run(build(), batch)
    assert loss == plain_loss
    assert (gradients["classifier.weight"] - plain["classifier.weight"]).abs().max() > 1e-4


def test_sam_restores_weights_and_buffers(batch):
    model = build(norm=True).model
    before = copy.deepcopy(model.state_dict())
    model(batch[0]).square().sum().backward()
    updated = copy.deepcopy(model.state_dict())
    with sam_perturbation(model, 0.1):
        assert not torch.equal(model.classifier.weight, before["classifier.weight"])
        model(batch[0])
    assert all(torch.equal(value, updated[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.norm.running_mean, before["norm.running_mean"])


def test_feature_distillation_adds_the_weighted_distance(batch):
    images, targets = batch
    step = build()
    step.feature_distillation = 2.0
    output = step.model.forward_trainable(step.model.frozen_features(images))
    features = output.embedding.detach() + 3.0
    plain = label_distribution_loss(output.logits, targets)
    loss = step._loss(images, torch.cat([targets, features], dim=1))
    assert torch.isclose(loss, plain + 2.0 * 9.0)


def test_features_beyond_the_width_of_the_teacher_are_free(batch):
    images, targets = batch
    step = build()
    step.feature_distillation = 2.0
    output = step.model.forward_trainable(step.model.frozen_features(images))
    features = output.embedding.detach()[:, :1] + 3.0
    loss = step._loss(images, torch.cat([targets, features], dim=1))
    assert torch.isclose(loss, label_distribution_loss(output.logits, targets) + 2.0 * 9.0)


def test_mixed_precision_on_the_cpu_changes_the_loss_only_a_little(batch):
    loss, gradients = run(build(cpu_amp=True), batch)
    plain, expected = run(build(), batch)
    assert loss != plain
    assert loss == pytest.approx(plain, rel=0.02)
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
    torch.testing.assert_close(gradients, expected, rtol=0.1, atol=0.02)


def test_consistency_changes_the_trunk_and_not_the_classifier(batch):
    loss, gradients = run(build(consistency=5), batch)
    plain, expected = run(build(), batch)
    assert loss > plain + 1e-6
    assert (gradients["convolution.weight"] - expected["convolution.weight"]).abs().max() > 1e-6
    torch.testing.assert_close(gradients["classifier.weight"], expected["classifier.weight"])


def test_consistency_loss_of_a_symmetric_network_is_zero(batch):
    images, targets = batch
    symmetric = (images + images.flip(3)) / 2
    losses = []
    for consistency in (0, 5):
        step = build(consistency=consistency)
        kernel = step.model.convolution.weight
        with torch.no_grad():
            kernel.copy_((kernel + kernel.flip(3)) / 2)
        losses.append(run(step, (symmetric, targets))[0])
    assert losses[1] == pytest.approx(losses[0])


def test_checkpoint_keeps_the_gradient_scale(batch):
    first, second = build(), build()
    for step in (first, second):
        step.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    run(first, batch)
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
    assert_close(run(second, batch)[1], run(build(), batch)[1])


def test_precision_depends_on_the_device(monkeypatch):
    assert pick_precision(torch.device("cpu"), LoopConfig(amp=True)) is None
    assert pick_precision(torch.device("cpu"), LoopConfig(cpu_amp=True)) is torch.bfloat16
    assert pick_precision(torch.device("cuda"), LoopConfig(amp=False, cpu_amp=True)) is None
    for is_supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, result=is_supported: result)
        assert pick_precision(torch.device("cuda"), LoopConfig(amp=True)) is expected
