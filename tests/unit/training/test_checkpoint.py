from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mien.errors import CheckpointError
from mien.manifest import TrainingSource
from mien.training.checkpoint import (
    Checkpoint,
    check_same_recipe,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    saved_config,
)
from mien.training.config import config_from_dict


def test_keys_missing_in_a_checkpoint_have_their_defaults():
    config = config_from_dict({"model": {"blocks": 3}})
    saved = config.to_dict()
    saved.pop("target")
    for section, key in (("augment", "mixup"), ("data", "balance"), ("training", "logit_adjustment")):
        saved[section].pop(key)
    saved["model"] |= {"frozen": 0, "dropout": 0.2}
    check_same_recipe(saved, config)
    for change in ({"target": {"hard": 1}}, {"augment": {"mixup": 0.2}}, {"model": {"dropout": 0.3}}):
        changed = config_from_dict(
            {"model": {"blocks": 3}, **{k: {"blocks": 3} | v if k == "model" else v for k, v in change.items()}}
        )
        with pytest.raises(CheckpointError, match="the checkpoint was made with"):
            check_same_recipe(saved, changed)


def checkpoint_of(config):
    return Checkpoint(step=1, config=config, labels=(), model={}, ema={}, optimizer={}, metrics={})


def test_reads_the_recipe_of_an_earlier_version(tmp_path):
    card = {"licence": "MIT", "trained_on": [{"name": "x"}]}
    old = {"augment": {"to_grey": 0.3}, "model": {"grey": True}, "card": card}
    config = saved_config(checkpoint_of(old), tmp_path / "a.ckpt")
    assert (config.augment.grayscale, config.model.options, config.card.license) == (0.3, {"grayscale": True}, "MIT")
    check_same_recipe(old, config)
    assert old["card"] == {"licence": "MIT", "trained_on": [{"name": "x"}]}


def test_names_the_checkpoint_with_a_recipe_of_a_newer_version(tmp_path):
    newer = checkpoint_of({"augment": {"cutmix": 0.3}})
    message = r"a\.ckpt was made by another version of mien: unknown key augment\.cutmix"
    with pytest.raises(CheckpointError, match=message):
        saved_config(newer, tmp_path / "a.ckpt")


@pytest.mark.parametrize("change", [{"schema": 1, "curriculum": 3}, {"schema": 2}, {"schema": 1, "step": None}])
def test_rejects_a_checkpoint_with_other_fields(tmp_path, change):
    path = tmp_path / "a.ckpt"
    save_checkpoint(checkpoint_of({}), path)
    record = {**torch.load(path, weights_only=True), **change}
    torch.save({key: value for key, value in record.items() if value is not None}, path)
    with pytest.raises(CheckpointError, match=r"a\.ckpt is not a checkpoint of this version of mien"):
        load_checkpoint(path)


def test_training_sources_survive_saving(tmp_path):
    sources = (TrainingSource(name="FER+", license="MIT"),)
    save_checkpoint(replace(checkpoint_of({}), trained_on=sources), tmp_path / "a.ckpt")
    assert load_checkpoint(tmp_path / "a.ckpt").trained_on == sources


def test_finds_the_best_checkpoint_of_a_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no checkpoint: expected best\.ckpt or last\.ckpt"):
        find_checkpoint(tmp_path)
    for name in ("last.ckpt", "best.ckpt"):
        (tmp_path / name).touch()
        assert find_checkpoint(tmp_path) == tmp_path / name
    assert find_checkpoint(tmp_path / "last.ckpt") == tmp_path / "last.ckpt"


@pytest.mark.parametrize(("broken", "other"), [("best.ckpt", "last.ckpt"), ("last.ckpt", "best.ckpt")])
def test_names_the_checkpoint_to_use_in_place_of_a_truncated_one(tmp_path, broken, other):
    (tmp_path / broken).write_bytes(b"truncated")
    with pytest.raises(CheckpointError, match="is not a complete checkpoint of mien; use another"):
        load_checkpoint(tmp_path / broken)
    save_checkpoint(checkpoint_of({}), tmp_path / other)
    with pytest.raises(CheckpointError, match=rf"is not a complete checkpoint of mien; remove it to use {other}"):
        load_checkpoint(find_checkpoint(tmp_path) if broken == "best.ckpt" else tmp_path / broken)


def test_options_missing_in_a_recipe_have_their_defaults():
    saved = config_from_dict({"model": {"dropout": 0.5}}).to_dict()
    with pytest.raises(CheckpointError, match=r"model\.dropout=0\.5, not 0\.2"):
        check_same_recipe(saved, config_from_dict({}))


def test_paths_of_the_same_file_are_equal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = config_from_dict({"data": {"exclude": "leaks.csv"}, "model": {"pretrained": "a.ckpt"}}).to_dict()
    check_same_recipe(saved, config_from_dict({"data": {"exclude": str(tmp_path / "leaks.csv")}}))
    recipe_with_teachers = config_from_dict({"target": {"teachers": ["a.onnx", "b.onnx"]}}).to_dict()
    other = [str(tmp_path / "a.onnx"), "b.onnx"]
    check_same_recipe(recipe_with_teachers, config_from_dict({"target": {"teachers": other}}))
    with pytest.raises(CheckpointError, match=r"target\.teachers"):
        check_same_recipe(recipe_with_teachers, config_from_dict({"target": {"teachers": other[::-1]}}))
    with pytest.raises(CheckpointError, match=r"data\.exclude=leaks\.csv, not other\.csv"):
        check_same_recipe(saved, config_from_dict({"data": {"exclude": "other.csv"}}))


def test_address_of_a_checkpoint_is_shown_without_its_password():
    with pytest.raises(CheckpointError, match=r"^https://host/a\.ckpt: addresses are not fetched"):
        load_checkpoint(Path("https://user:secret@host/a.ckpt"))
