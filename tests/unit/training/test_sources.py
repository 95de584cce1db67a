"""Training sources: what the manifest of a run states about data, initial weights and teachers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import Index, Sample, join, read_dataset
from mien.errors import CheckpointError, ConfigError
from mien.manifest import TrainingSource, file_sha256, read_manifest
from mien.runtime import find_model, shipped_models
from mien.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mien.training.config import config_from_dict, read_recipe
from mien.training.sources import IMAGENET, check_same_teachers, data_sources, hash_teachers, run_sources
from support.models import make_model
from support.training import write_stripes

SECRET = TrainingSource(name="VGGFace2", license="CC BY-NC 4.0")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return read_dataset("folder", write_stripes(tmp_path_factory.mktemp("private") / "my faces", train=4, valid=1))


def names(sources):
    return [source.name for source in sources]


def sources_of(index, checkpoint=None, **sections):
    rows = [row for row, sample in enumerate(index.samples) if sample.split == "train"]
    return run_sources(config_from_dict(sections), index, rows, checkpoint)


@pytest.mark.parametrize("license_name", ["", "CC BY 4.0"])
def test_own_data_is_named_without_its_private_path(index, license_name):
    stated = f"{license_name} (stated by the user)" if license_name else "not stated"
    expected = [TrainingSource(name="folder my faces, 12 training faces", license=stated)]
    assert sources_of(index, data={"license": license_name}) == expected


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[3].glob("recipes/*.toml")), ids=lambda path: path.stem)
def test_shipped_recipe_on_own_data_claims_no_other_data(index, path, tmp_path, monkeypatch):
    """Only the initial weights and teachers of a recipe add sources."""
    monkeypatch.chdir(tmp_path)
    config = read_recipe(path)
    for name in (config.model.pretrained, *config.target.teachers, config.target.feature_teacher):
        if name.startswith("runs/"):
            file = Path(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_run(file) if file.suffix == ".ckpt" else make_model(file)
    sources = run_sources(config, index, range(12), None)
    assert sources[0].name.startswith("folder my faces, 12 ")
    expected_start = bool(config.model.pretrained) or bool(config.target.teacher)
    assert (len(sources) > 1) == expected_start
    if path.stem == "ferplus-open":
        assert sources == sources[:1]
    has_shipped_teacher = "expression" in config.target.teachers
    assert ("FER+" in " ".join(names(sources))) == has_shipped_teacher, "the shipped teacher learned from FER+"


def write_run(path, **changes):
    values = {"step": 1, "config": {}, "labels": (), "model": {}, "ema": {}, "optimizer": {}, "metrics": {}}
    save_checkpoint(Checkpoint(**{**values, **changes}), path)
    return path


def test_initial_weights_of_a_checkpoint_bring_their_sources(index, tmp_path):
    path = write_run(tmp_path / "a.ckpt", trained_on=(SECRET,))
    assert sources_of(index, model={"pretrained": str(path)})[1:] == [SECRET]
    unknown = write_run(tmp_path / "b.ckpt")
    assert sources_of(index, model={"pretrained": str(unknown)})[1:] == [TrainingSource(name="initial weights: b.ckpt")]


def test_checkpoint_of_an_earlier_version_brings_what_its_recipe_stated(index, tmp_path):
    old = {"card": {"trained_on": [{"name": "FER+", "license": "MIT"}]}}
    path = write_run(tmp_path / "old.ckpt", config=old, data={"name": "folder", "license": "not stated"})
    found = sources_of(index, model={"pretrained": str(path)})[1:]
    assert found == [TrainingSource(name="folder"), TrainingSource(name="FER+", license="MIT")]


def test_resumed_run_keeps_its_sources(index, tmp_path):
    first = sources_of(index)
    checkpoint = Checkpoint(
        step=1, config={}, labels=(), model={}, ema={}, optimizer={}, metrics={}, trained_on=(*first, SECRET)
    )
    assert sources_of(index, checkpoint, model={"pretrained": "gone.ckpt"})[1:] == [SECRET]


def test_resumed_run_with_another_path_and_license_lists_its_data_once(index, tmp_path):
    moved = read_dataset("folder", write_stripes(tmp_path / "moved", train=4, valid=1))
    first = sources_of(index, data={"license": "CC0"})
    checkpoint = Checkpoint(
        step=1, config={}, labels=(), model={}, ema={}, optimizer={}, metrics={}, trained_on=(*first, SECRET)
    )
    stated = "proprietary (stated by the user)"
    expected = [TrainingSource(name="folder moved, 12 training faces", license=stated), SECRET]
    assert sources_of(moved, checkpoint, data={"license": "proprietary"}) == expected


@pytest.mark.parametrize("model", ["face-landmarks", *shipped_models()])
def test_model_file_brings_its_own_license_and_sources(index, model):
    manifest = read_manifest(find_model(model))
    if model == "face-landmarks":
        found = sources_of(index, model={"name": "hybrid", "backbone": "face-mesh", "pretrained": model})
    else:
        found = sources_of(index, target={"teacher": 1, "teachers": [model]})
    assert manifest.name in found[1].name
    assert found[1].license == manifest.license
    assert tuple(found[2:]) == manifest.trained_on


@pytest.mark.parametrize("weight", ["teacher", "feature_distillation"])
def test_only_teachers_in_use_are_sources(index, tmp_path, weight):
    teacher = make_model(tmp_path / "t.onnx", trained_on=(SECRET,), license="own; restricted by its training data: x")
    names_of = {"teachers": [str(teacher)], "feature_teacher": str(teacher)}
    assert len(sources_of(index, target=names_of)) == 1
    used = sources_of(index, target={**names_of, weight: 1.0})
    assert used[1:] == [TrainingSource(name="teacher: model t, version 0", license="own"), SECRET]
    silent = make_model(tmp_path / "s.onnx")
    used = sources_of(index, target={"teachers": [str(silent)], "teacher": 1})
    assert used[2] == TrainingSource(name="training data of s", license="not stated")


def test_shipped_weights_have_a_card_that_fits_them(index, root):
    found = sources_of(index, model={"pretrained": str(root / "recipes/faceres.safetensors")})
    assert "VGGFace2" in found[2].name


def test_file_of_torchvision_has_the_sources_of_its_download(index, tmp_path, monkeypatch):
    path = tmp_path / "renamed.pth"
    path.write_bytes(b"weights")
    monkeypatch.setattr("mien.training.sources.IMAGENET_SHA256", file_sha256(path)[:8])
    assert sources_of(index, model={"pretrained": str(path)})[1:] == list(IMAGENET)
    path.write_bytes(b"others")
    assert names(sources_of(index, model={"pretrained": str(path)})[1:]) == ["initial weights: renamed.pth"]


def test_card_of_weights_is_checked(index, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    model = {"pretrained": str(weights)}
    assert names(sources_of(index, model=model)[1:]) == ["initial weights: w.safetensors"]
    card = {"sha256": file_sha256(weights), "trained_on": [{"name": "My data", "license": "CC0"}]}
    weights.with_suffix(".json").write_text(json.dumps(card))
    assert names(sources_of(index, model=model)[1:]) == ["My data"]
    weights.write_bytes(b"others")
    with pytest.raises(ConfigError, match=r"w\.json describes another file than w\.safetensors"):
        sources_of(index, model=model)
    weights.with_suffix(".json").write_text("{")
    with pytest.raises(ConfigError, match=r"w\.json is not JSON"):
        sources_of(index, model=model)


def known_index(tmp_path, name, license_name):
    sample = Sample(id="a.png", split="train").with_label("fear", ("fear",))
    return Index(
        name=name, root=tmp_path, labels=("fear",), samples=(sample,), license=license_name, is_cropped=True, title=name
    )


def test_joined_data_sets_are_listed_one_by_one_with_their_faces(index, tmp_path):
    small = replace(index, samples=tuple(replace(sample) for sample in index.samples[:3]))
    other = replace(known_index(tmp_path, "RAF-DB", "research only"), labels=index.labels)
    other = replace(other, samples=(Sample(id="a", split="train").with_label("neutral", index.labels),))
    joined = join([small, other])
    rows = np.flatnonzero([sample.split == "train" for sample in joined.samples]).tolist()
    found = data_sources(joined, rows, "mine")
    assert found == [
        TrainingSource(name="folder my faces, 3 training faces", license="mine (stated by the user)"),
        TrainingSource(name="RAF-DB, 1 training faces", license="research only"),
    ]


def test_known_license_cannot_be_replaced(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.license is for your own data.*RAF-DB: research only"):
        data_sources(known_index(tmp_path, "RAF-DB", "research only"), [0], "MIT")


def test_teachers_of_a_checkpoint_are_compared_where_it_states_them(tmp_path):
    first, second = (make_model(tmp_path / name) for name in ("first.onnx", "second.onnx"))
    target = {"teacher": 1.0, "teachers": [str(first)], "feature_distillation": 1.0, "feature_teacher": str(second)}
    config = config_from_dict({"target": target})
    hashes = hash_teachers(config)
    assert hashes == (file_sha256(first), file_sha256(second))
    earlier = load_checkpoint(write_run(tmp_path / "earlier.ckpt"))
    current = load_checkpoint(write_run(tmp_path / "current.ckpt", teachers=hashes))
    check_same_teachers(current, config)
    second.write_bytes(second.read_bytes() + b"\0")
    check_same_teachers(earlier, config)
    with pytest.raises(CheckpointError, match=r"second\.onnx is another model"):
        check_same_teachers(current, config)


def test_teachers_without_weight_are_not_compared(tmp_path):
    config = config_from_dict({"target": {"teachers": [str(tmp_path / "removed.onnx")], "feature_teacher": "removed"}})
    assert hash_teachers(config) == ()
