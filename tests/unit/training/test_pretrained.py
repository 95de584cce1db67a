import pytest
import torch

from mien.errors import CheckpointError, ConfigError, ModelError
from mien.training.checkpoint import Checkpoint, check_same_recipe, save_checkpoint
from mien.training.config import ModelConfig, config_from_dict
from mien.training.pretrained import build_model, check_start, take_weights

NAMES = ("neutral", "happiness", "surprise")


def build(**options):
    return build_model(ModelConfig(options={"blocks": 3, **options}), 3)


@pytest.fixture
def path(tmp_path):
    """A checkpoint whose averaged weights differ from its weights."""
    model = build()
    ema = {name: value + 1 for name, value in model.state_dict().items()}
    checkpoint = Checkpoint(
        step=1, config={}, labels=NAMES, model=model.state_dict(), ema=ema, optimizer={}, metrics={}
    )
    save_checkpoint(checkpoint, tmp_path / "start.ckpt")
    return tmp_path / "start.ckpt"


def test_takes_the_averaged_weights(path):
    model = build()
    found = take_weights(model, path, NAMES)
    assert found == {"taken": len(model.state_dict()), "left": 0}
    ema = torch.load(path, weights_only=True)["ema"]
    assert all(torch.equal(value, ema[name]) for name, value in model.state_dict().items())


def test_leaves_what_the_checkpoint_lacks_and_the_classifier_of_other_classes(path):
    model = build(blocks=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = take_weights(model, path, NAMES[::-1])
    kept = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    assert found["left"] == len(kept)
    assert all(name.startswith(("stages.1.", "classifier.")) for name in kept)
    assert len(kept) > 2


def test_layers_that_will_not_learn_need_weights(path):
    """Frozen and random would be silent."""
    check_start(ModelConfig(options={"frozen": 2}, pretrained=str(path)))
    check_start(ModelConfig(options={"frozen": 0}))
    with pytest.raises(ConfigError, match=r"model\.frozen is 2, but no weights"):
        check_start(ModelConfig(options={"frozen": 2}))
    assert take_weights(build(blocks=4, frozen=2), path, NAMES)["left"] > 0
    with pytest.raises(CheckpointError, match=r"lacks stages\.1\..*\(\d+ of \d+ such weights\)"):
        take_weights(build(blocks=6, frozen=4), path, NAMES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(pretrained="missing.ckpt"), r"no pretrained weights at missing\.ckpt"),
        (ModelConfig(name="face-mobile"), "model.name is 'face-mobile'"),
        (ModelConfig(options={"blok": 3}), "unknown key model.blok. Did you mean model.blocks"),
        (ModelConfig(options={"dropout": 30.0}), r"\[model\] has a value out of range: dropout"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_before_any_work(config, message):
    with pytest.raises(ConfigError, match=message):
        check_start(config)


def test_what_fits_by_accident_is_no_start(path):
    """A classifier of one width, and numbers of one shape, stand in many networks."""
    record = torch.load(path, weights_only=True)
    record["ema"] = {
        name: value
        for name, value in record["ema"].items()
        if name.startswith("classifier.") or value.ndim < 2
    }
    torch.save(record, path)
    with pytest.raises(CheckpointError, match="no weights for this network"):
        take_weights(build(), path, NAMES)


def test_refuses_a_checkpoint_of_nothing_alike(path, tmp_path):
    record = torch.load(path, weights_only=True)
    record["ema"] = {f"other.{name}": value for name, value in record["ema"].items()}
    torch.save(record, path)
    with pytest.raises(CheckpointError, match="no weights for this network"):
        take_weights(build(), path, NAMES)
    with pytest.raises(ModelError, match="no checkpoint at"):
        take_weights(build(), tmp_path / "none.ckpt", NAMES)


def test_a_checkpoint_without_the_newer_options_can_be_resumed():
    config = config_from_dict({"model": {"blocks": 3}})
    saved = config.to_dict()
    saved.pop("target")
    for section, key in (("augment", "mixup"), ("data", "balance"), ("training", "logit_adjustment")):
        saved[section].pop(key)
    saved["model"] |= {"frozen": 0, "dropout": 0.2}
    check_same_recipe(saved, config)
    for change in ({"target": {"hard": 1}}, {"augment": {"mixup": 0.2}}, {"model": {"dropout": 0.3}}):
        changed = config_from_dict(
            {
                "model": {"blocks": 3},
                **{k: {"blocks": 3} | v if k == "model" else v for k, v in change.items()},
            }
        )
        with pytest.raises(CheckpointError, match="the checkpoint was made with"):
            check_same_recipe(saved, changed)


def test_an_option_that_is_left_out_now_counts_as_its_default():
    saved = config_from_dict({"model": {"dropout": 0.5}}).to_dict()
    with pytest.raises(CheckpointError, match=r"model\.dropout=0\.5, not 0\.2"):
        check_same_recipe(saved, config_from_dict({}))


def test_a_recipe_named_otherwise_is_the_same_recipe(tmp_path, monkeypatch):
    """`./` stands for the recipe's folder as it was typed; the start is not read again."""
    monkeypatch.chdir(tmp_path)
    saved = config_from_dict({"data": {"exclude": "leaks.csv"}, "model": {"pretrained": "a.ckpt"}}).to_dict()
    check_same_recipe(saved, config_from_dict({"data": {"exclude": str(tmp_path / "leaks.csv")}}))
    taught = config_from_dict({"target": {"teachers": ["a.onnx", "b.onnx"]}}).to_dict()
    other = [str(tmp_path / "a.onnx"), "b.onnx"]
    check_same_recipe(taught, config_from_dict({"target": {"teachers": other}}))
    with pytest.raises(CheckpointError, match=r"target\.teachers"):
        check_same_recipe(taught, config_from_dict({"target": {"teachers": other[::-1]}}))
    with pytest.raises(CheckpointError, match=r"data\.exclude=leaks\.csv, not other\.csv"):
        check_same_recipe(saved, config_from_dict({"data": {"exclude": "other.csv"}}))
