import pytest

from mien.errors import CheckpointError
from mien.training.checkpoint import check_same_recipe
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
