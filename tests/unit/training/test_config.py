import re
from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.training.config import config_from_dict, read_recipe
from support.permissions import deny


def test_empty_recipe_gives_the_defaults(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("")
    assert read_recipe(path) == config_from_dict({})


def test_overrides_take_precedence_over_the_recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("[training]\nepochs = 3\nlr = 0.1\n")
    config = read_recipe(path, ["training.lr=0.2", "data.path=some/where.zip", "model.grayscale=true"])
    assert (config.training.epochs, config.training.lr) == (3.0, 0.2)
    assert (config.data.path, config.model.options["grayscale"]) == ("some/where.zip", True)


@pytest.mark.parametrize("text", ["2", "1.10", "true", "2026-01-31"])
def test_override_of_text_is_taken_as_written(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text("")
    config = read_recipe(path, [f"card.version={text}", f"name='{text}'"])
    assert (config.card.version, config.name) == (text, text)


def test_resolves_paths_relative_to_the_recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[model]\npretrained = "./w.safetensors"\n')
    assert read_recipe(path).model.pretrained == str(tmp_path / "w.safetensors")
    path.write_text('[target]\nteacher = 1\nteachers = ["./a.onnx", "expression"]\n')
    assert read_recipe(path).target.teachers == (str(tmp_path / "a.onnx"), "expression")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepoch = 3", "Did you mean training.epochs"),
        ("[trainin]\nx = 3", "Did you mean training"),
        ('[training]\nepochs = "three"', "training.epochs: expected float"),
        ("[training]\nbatch = true", "training.batch: expected int"),
        ("training = 3", "training: expected mapping, got int"),
        ("[card]\ntrained_on = []", "unknown key card.trained_on. Remove it: the manifest states the data"),
        ("[training]\nbest_metric = 'f1'", "training.best_metric is 'f1'; expected one of accuracy, "),
        ("[target]\nteachers = 'a.onnx'", "target.teachers: expected list, got str"),
        ("[target]\nteachers = [3]", "target.teachers[0]: expected str, got int"),
        ("[target]\nteacher = 1.0", "name the models"),
        ("[target]\nvotes = 0", "not all 0"),
        ("[target]\nhard = -1", "target.hard is -1"),
        ("[target]\ntemperature = 0", "target.temperature is 0"),
        ("[target]\nsmoothing = 1", "target.smoothing is 1"),
        ("[augment]\nmixup = -0.1", "augment.mixup is -0.1"),
        ("[data]\ntemplate = 'foo'", "data.template is 'foo'; expected one of ferplus."),
        ("[data]\nbalance = 1.5", "data.balance is 1.5"),
        ("[training]\nlogit_adjustment = -1", "training.logit_adjustment is -1"),
        ("[training]\naccumulate = 0", "training.accumulate is 0"),
        ("[training]\nsam = -1", "training.sam is -1"),
        ("[training]\nconsistency = -1", "training.consistency is -1"),
        ("[card]\nlicence = 'MIT'", "unknown key card.licence. It is now named card.license."),
        ("[augment]\nown_framing = 0.4", "unknown key augment.own_framing. It is now named augment.unaligned."),
        ("[model]\ngrey = true", "unknown key model.grey. It is now named model.grayscale."),
        ("[[[", "is not TOML"),
    ],
)
def test_error_names_the_key(tmp_path, text, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_recipe(path)


def test_gradient_norm_may_be_unlimited(tmp_path):
    (tmp_path / "r.toml").write_text("[training]\nclip = inf\n")
    assert read_recipe(tmp_path / "r.toml").training.clip == float("inf")


def test_rejects_missing_recipe_and_malformed_override(tmp_path):
    with pytest.raises(ConfigError, match="no recipe"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "r.toml").write_text("name = 'x'")
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        read_recipe(tmp_path / "r.toml", ["training.lr"])
    with pytest.raises(ConfigError, match="is a value"):
        read_recipe(tmp_path / "r.toml", ["name.lr=3"])


def test_resolved_configuration_round_trips():
    config = config_from_dict({"card": {"license": "y"}, "target": {"teachers": ["x.onnx"]}})
    assert config_from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "override",
    [
        "augment.flip=50",
        "augment.random_erasing=1.5",
        "augment.strength=-1",
        "augment.scale=-0.1",
        "augment.mixup=-1",
        "augment.strength=inf",
        "augment.blur=nan",
        "data.margin=-0.3",
        "data.patch=0",
        "data.size=0",
        "data.balance=2",
        "target.votes=nan",
        "target.hard=inf",
        "training.epochs=inf",
        "training.lr=inf",
        "training.clip=nan",
        "training.clip=0",
    ],
)
def test_rejects_values_out_of_range(tmp_path, override):
    (tmp_path / "r.toml").write_text("")
    key, value = override.split("=")
    with pytest.raises(ConfigError, match=f"{key} is {float(value):g}.*; expected"):
        read_recipe(tmp_path / "r.toml", [override])


def test_recipe_that_cannot_be_read_has_its_reason(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no recipe at .*none\.toml: no such file or directory\.$"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r": is a directory\.$"):
        read_recipe(tmp_path)
    deny(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match=r"a\.toml: permission denied\.$"):
        read_recipe(tmp_path / "a.toml")


def test_address_of_a_recipe_is_shown_without_its_password():
    with pytest.raises(ConfigError, match=r"^https://host/a\.toml: addresses are not fetched"):
        read_recipe(Path("https://user:secret@host/a.toml"))
