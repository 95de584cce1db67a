import pytest
import torch

from mien.errors import CheckpointError, ConfigError, ModelError
from mien.models import build_model
from mien.training.checkpoint import Checkpoint, save_checkpoint
from mien.training.config import ModelConfig
from mien.training.pretrained import check_model, load_matching_weights

NAMES = ("neutral", "happiness", "surprise")


def build(**options):
    return build_model("face-mobilenet", 3, {"blocks": 3, **options})


@pytest.fixture
def path(tmp_path):
    """A checkpoint with averaged weights that differ from its weights."""
    model = build()
    ema = {name: value + 1 for name, value in model.state_dict().items()}
    checkpoint = Checkpoint(
        step=1, config={}, labels=NAMES, model=model.state_dict(), ema=ema, optimizer={}, metrics={}
    )
    save_checkpoint(checkpoint, tmp_path / "pretrained.ckpt")
    return tmp_path / "pretrained.ckpt"


def test_loads_the_averaged_weights(path):
    model = build()
    counts = load_matching_weights(model, path, NAMES)
    assert counts == {"loaded": len(model.state_dict()), "missing": 0}
    ema = torch.load(path, weights_only=True)["ema"]
    assert all(torch.equal(value, ema[name]) for name, value in model.state_dict().items())


def test_skips_missing_tensors_and_the_classifier_of_other_classes(path):
    model = build(blocks=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    counts = load_matching_weights(model, path, NAMES[::-1])
    unchanged = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    assert counts["missing"] == len(unchanged)
    assert all(name.startswith(("stages.1.", "classifier.")) for name in unchanged)
    assert len(unchanged) > 2


def test_frozen_layers_need_pretrained_weights(path):
    check_model(ModelConfig(options={"frozen": 2}, pretrained=str(path)), 64)
    check_model(ModelConfig(options={"frozen": 0}), 64)
    with pytest.raises(ConfigError, match=r"model\.frozen is 2, but there are no pretrained weights"):
        check_model(ModelConfig(options={"frozen": 2}), 64)
    assert load_matching_weights(build(blocks=4, frozen=2), path, NAMES)["missing"] > 0
    with pytest.raises(CheckpointError, match=r"lacks stages\.1\..*\(\d+ of \d+ such weights\)"):
        load_matching_weights(build(blocks=6, frozen=4), path, NAMES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(pretrained="missing.ckpt"), r"no pretrained weights at missing\.ckpt"),
        (ModelConfig(name="face-mobile"), "model.name is 'face-mobile'"),
        (ModelConfig(options={"blok": 3}), "unknown key model.blok. Did you mean model.blocks"),
        (ModelConfig(options={"dropout": 30.0}), r"\[model\] has a value out of range: dropout"),
    ],
)
def test_check_model_rejects_invalid_configurations(config, message):
    with pytest.raises(ConfigError, match=message):
        check_model(config, 64)


def test_check_model_rejects_crops_that_are_too_small():
    message = r"data\.size is 1: EfficientFace needs images of at least 32 px"
    with pytest.raises(ConfigError, match=message):
        check_model(ModelConfig(name="efficientface"), 1)
    check_model(ModelConfig(name="efficientface", options={"upsample": 32}), 1)


def test_rejects_a_checkpoint_with_only_classifier_and_vectors_in_common(path):
    """A classifier of the same width and vectors of the same length match by coincidence."""
    record = torch.load(path, weights_only=True)
    record["ema"] = {
        name: value for name, value in record["ema"].items() if name.startswith("classifier.") or value.ndim < 2
    }
    torch.save(record, path)
    with pytest.raises(CheckpointError, match="no weights for this network"):
        load_matching_weights(build(), path, NAMES)


def test_rejects_a_checkpoint_of_another_network(path, tmp_path):
    record = torch.load(path, weights_only=True)
    record["ema"] = {f"other.{name}": value for name, value in record["ema"].items()}
    torch.save(record, path)
    with pytest.raises(CheckpointError, match="no weights for this network"):
        load_matching_weights(build(), path, NAMES)
    with pytest.raises(ModelError, match="no checkpoint at"):
        load_matching_weights(build(), tmp_path / "none.ckpt", NAMES)
