from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.datasets.face_store import FaceStore
from mien.emotions import EXPRESSIONS
from mien.errors import ConfigError, DatasetError, ModelError
from mien.inference.classifier import ExpressionClassifier
from mien.metrics import softmax
from mien.runtime import LoadedModel
from mien.training.config import config_from_dict
from mien.training.data import Faces
from mien.training.targets import Targets, describe_unused_teachers
from mien.training.teachers import Teacher
from support.models import TINY_SIZE, make_explainable, make_model

COUNT = 5
INDICES = torch.arange(COUNT)
NO_CROPS = torch.zeros(COUNT, 3, 8, 8)


@pytest.fixture
def faces():
    rng = np.random.default_rng(0)
    distribution = torch.from_numpy(rng.dirichlet(np.ones(8), COUNT)).float()
    store = FaceStore(
        patches=rng.integers(0, 255, (COUNT + 2, 60, 60, 3)).astype(np.uint8),
        landmarks_xy=np.full((COUNT + 2, 5, 2), np.nan, dtype=np.float32),
        unreadable=(),
    )
    return Faces(
        store=store,
        rows=np.arange(2, COUNT + 2),
        label_distribution=distribution,
        labels=distribution.argmax(1).numpy(),
        valence_arousal=torch.full((COUNT, 2), float("nan")),
        names=EXPRESSIONS,
    )


@pytest.fixture
def other_model(tmp_path):
    """A teacher with the labels in another order."""
    return make_model(tmp_path / "other.onnx", labels=EXPRESSIONS[::-1])


def build(faces, directory, **target):
    options = {"teachers": [str(model) for model in target.pop("teachers", ())]}
    return Targets(faces, config_from_dict({"target": target | options}), directory)


def predicted(model, faces, temperature=1.0, flip_tta=True):
    """Probabilities of a model for plain faces, from the public classifier."""
    crops = [faces.store.crop(row, size=TINY_SIZE, template="ferplus", margin=0.1) for row in faces.rows]
    logits = ExpressionClassifier(model).logits(np.stack(crops), flip_tta=flip_tta)
    return torch.from_numpy(softmax(logits, temperature)).float()


def test_default_targets_are_the_votes(faces, tmp_path):
    assert torch.equal(build(faces, tmp_path)(INDICES, NO_CROPS), faces.label_distribution)


def test_hard_labels_with_smoothing(faces, tmp_path):
    targets = build(faces, tmp_path, votes=0, hard=3, smoothing=0.2)(INDICES, NO_CROPS)
    assert torch.equal(targets.argmax(1), faces.label_distribution.argmax(1))
    torch.testing.assert_close(targets.max(1).values, torch.full((COUNT,), 0.8 + 0.2 / 8))
    torch.testing.assert_close(targets.sum(1), torch.ones(COUNT))


def test_teacher_with_temperature(faces, tmp_path, tiny_model):
    targets = build(faces, tmp_path, votes=0, teacher=1, teachers=[tiny_model], temperature=2)(INDICES, NO_CROPS)
    torch.testing.assert_close(targets, predicted(tiny_model, faces, 2.0))
    unflipped = build(faces, tmp_path, votes=0, teacher=1, teachers=[tiny_model], flip_tta=False)(INDICES, NO_CROPS)
    torch.testing.assert_close(unflipped, predicted(tiny_model, faces, flip_tta=False))


def test_weights_of_the_mixture_are_normalized(faces, tmp_path, tiny_model):
    targets = build(faces, tmp_path, votes=1, teacher=3, teachers=[tiny_model])(INDICES, NO_CROPS)
    torch.testing.assert_close(targets, 0.25 * faces.label_distribution + 0.75 * predicted(tiny_model, faces))


def test_teachers_are_averaged_in_the_class_order_of_the_data(faces, tmp_path, tiny_model, other_model):
    targets = build(faces, tmp_path, votes=0, teacher=1, teachers=[tiny_model, other_model])(INDICES, NO_CROPS)
    expected = (predicted(tiny_model, faces) + predicted(other_model, faces).flip(1)) / 2
    torch.testing.assert_close(targets, expected)


def test_classes_missing_in_the_data_are_dropped(faces, tmp_path, tiny_model):
    one_hot = torch.eye(2)[[0, 1, 0, 1, 1]]
    few = replace(faces, names=("sadness", "anger"), label_distribution=one_hot)
    targets = build(few, tmp_path, votes=0, teacher=1, teachers=[tiny_model])(INDICES, NO_CROPS)
    columns = predicted(tiny_model, faces)[:, [EXPRESSIONS.index("sadness"), EXPRESSIONS.index("anger")]]
    torch.testing.assert_close(targets, columns / columns.sum(1, keepdim=True))


def test_rejects_a_teacher_that_lacks_a_class(faces, tmp_path, tiny_model):
    other = replace(faces, names=(*EXPRESSIONS[:7], "boredom"))
    with pytest.raises(ConfigError, match=r"has the classes neutral, .*the data have .*boredom"):
        build(other, tmp_path, teacher=1, teachers=[tiny_model])


def test_outputs_are_cached(faces, tmp_path, tiny_model, monkeypatch):
    store = tmp_path / "shared"
    target = {"votes": 0, "teacher": 1, "teachers": [tiny_model], "store": str(store)}
    first = build(faces, tmp_path / "one", **target)(INDICES, NO_CROPS)
    (path,) = store.iterdir()
    assert path.name.startswith("teacher-")
    monkeypatch.setattr(ExpressionClassifier, "logits", lambda *_, **__: pytest.fail("was predicted again"))
    assert torch.equal(build(faces, tmp_path / "two", **target)(INDICES, NO_CROPS), first)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="broken"):
        build(faces, tmp_path / "three", **target)


def test_cache_depends_on_faces_and_teacher_settings(faces, tmp_path, tiny_model):
    target = {"teacher": 1, "teachers": [tiny_model], "store": str(tmp_path / "shared")}
    build(faces, tmp_path, **target)
    build(faces, tmp_path, **target, temperature=3, smoothing=0.1)
    assert len(list((tmp_path / "shared").iterdir())) == 1
    build(faces, tmp_path, **target, flip_tta=False)
    patches = faces.store.patches.copy()
    patches[4, 0, 0, 0] ^= 1
    build(replace(faces, store=replace(faces.store, patches=patches)), tmp_path, **target)
    assert len(list((tmp_path / "shared").iterdir())) == 3


def test_without_cache_the_teacher_predicts_augmented_crops(faces, tmp_path, tiny_model):
    config = {
        "target": {"votes": 1, "teacher": 1, "teachers": [str(tiny_model)], "cache": False},
        "data": {"margin": 0.1},
    }
    targets = Targets(faces, config_from_dict(config), tmp_path / "run")
    crops = torch.from_numpy(faces.store.patches[:COUNT, :TINY_SIZE, :TINY_SIZE]).permute(0, 3, 1, 2).float()
    logits = ExpressionClassifier(tiny_model).logits(faces.store.patches[:COUNT, :TINY_SIZE, :TINY_SIZE], flip_tta=True)
    expected = (faces.label_distribution + torch.from_numpy(softmax(logits)).float()) / 2
    torch.testing.assert_close(targets(INDICES, crops), expected)
    assert not (tmp_path / "run").exists()
    larger = targets(INDICES, torch.nn.functional.interpolate(crops, scale_factor=2))
    assert larger.shape == (COUNT, 8)


def test_without_cache_rejects_another_alignment(faces, tmp_path, tiny_model):
    with pytest.raises(ConfigError, match=r"margin 0\.1; data has ferplus, 0\.0"):
        build(faces, tmp_path, teacher=1, teachers=[tiny_model], cache=False)


def test_features_of_unit_variance_follow_the_distribution(faces, tmp_path):
    model = make_explainable(tmp_path / "model.onnx")
    targets = build(faces, tmp_path, feature_distillation=1.0, feature_teacher=str(model), flip_tta=False)(
        INDICES, NO_CROPS
    )
    assert torch.equal(targets[:, :8], faces.label_distribution)
    crops = [faces.store.crop(row, size=TINY_SIZE, template="ferplus", margin=0.1) for row in faces.rows]
    expected = torch.from_numpy(ExpressionClassifier(model).embeddings(np.stack(crops)))
    assert targets.shape == (COUNT, 8 + expected.shape[1])
    assert targets[:, 8:].var(dim=0).mean() == pytest.approx(1.0, abs=1e-4)
    ratio = targets[:, 8:] / expected
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-4)
    assert [path.name.split("-")[0] for path in tmp_path.glob("*.npy")] == ["embedding"]


def test_feature_teacher_may_have_other_classes(faces, tmp_path):
    model = make_explainable(tmp_path / "model.onnx")
    other = replace(faces, names=(*EXPRESSIONS[:7], "boredom"))
    assert build(other, tmp_path, feature_distillation=1.0, feature_teacher=str(model))(INDICES, NO_CROPS).shape[1] > 8


def test_teachers_run_on_the_cpu(tiny_model, monkeypatch):
    """Also where a GPU is the automatic device."""
    devices = []

    def load(model, threads, *, precision, device="auto"):
        devices.append(device)
        return ExpressionClassifier(model, threads, precision=precision, device="cpu")

    monkeypatch.setattr("mien.training.teachers.ExpressionClassifier", load)
    Teacher(str(tiny_model), EXPRESSIONS, flip_tta=False, threads=1)
    assert devices == ["cpu"]


def test_feature_distillation_needs_a_teacher():
    with pytest.raises(ConfigError, match="feature_teacher"):
        config_from_dict({"target": {"feature_distillation": 1.0}})


def test_names_teachers_without_a_weight():
    named = {"teachers": ["a.onnx"], "feature_teacher": "a.onnx"}
    first, second = describe_unused_teachers(config_from_dict({"target": named}).target)
    assert first == "target.teachers have no effect: their weight target.teacher is 0"
    assert second == "target.feature_teacher has no effect: its weight target.feature_distillation is 0"
    used = {**named, "teacher": 0.5, "feature_distillation": 1.0}
    assert describe_unused_teachers(config_from_dict({"target": used}).target) == []
    assert describe_unused_teachers(config_from_dict({}).target) == []


def test_rejects_a_feature_teacher_without_embedding(faces, tmp_path, tiny_model):
    with pytest.raises(ModelError, match="embedding"):
        build(faces, tmp_path, feature_distillation=1.0, feature_teacher=str(tiny_model))


def test_rejects_more_features_than_the_network_has(faces, tmp_path):
    model = make_explainable(tmp_path / "m.onnx")
    targets = build(faces, tmp_path, feature_distillation=1.0, feature_teacher=str(model))
    width = targets(INDICES, NO_CROPS).shape[1] - len(EXPRESSIONS)
    targets.check_width(width)
    targets.check_width(width + 1)
    with pytest.raises(ConfigError, match=f"has {width} features per face, the network only {width - 1}"):
        targets.check_width(width - 1)
    build(faces, tmp_path).check_width(7)


def test_teacher_of_classes_and_features_predicts_each_face_once(faces, tmp_path, monkeypatch):
    model = make_explainable(tmp_path / "model.onnx")
    both = {"teacher": 1, "teachers": [model], "feature_distillation": 1.0, "feature_teacher": str(model)}
    build(faces, tmp_path / "apart", teacher=1, teachers=[model])
    build(faces, tmp_path / "apart", feature_distillation=1.0, feature_teacher=str(model))
    apart = {path.name: path.read_bytes() for path in (tmp_path / "apart").iterdir()}
    sizes = []
    run = LoadedModel.run
    monkeypatch.setattr(
        LoadedModel, "run", lambda *arguments: (sizes.append(len(arguments[2]["images"])), run(*arguments))[1]
    )
    build(faces, tmp_path / "together", **both)
    mirrored = 1
    assert sizes == [COUNT] * (1 + mirrored)
    assert {path.name: path.read_bytes() for path in (tmp_path / "together").iterdir()} == apart


def test_only_missing_outputs_of_a_shared_teacher_are_predicted(faces, tmp_path, monkeypatch):
    model = make_explainable(tmp_path / "model.onnx")
    both = {"teacher": 1, "teachers": [model], "feature_distillation": 1.0, "feature_teacher": str(model)}
    first = build(faces, tmp_path / "run", **both)(INDICES, NO_CROPS)
    (features,) = (tmp_path / "run").glob("embedding-*")
    features.unlink()
    monkeypatch.setattr(ExpressionClassifier, "logits", lambda *_, **__: pytest.fail("was predicted again"))
    assert torch.equal(build(faces, tmp_path / "run", **both)(INDICES, NO_CROPS), first)
