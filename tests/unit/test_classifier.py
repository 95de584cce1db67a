from __future__ import annotations

import numpy as np
import pytest

from conftest import TINY_SIDE, make_model
from mien.errors import InputError, ManifestError, ModelError, UnknownModelError
from mien.faces import FaceDetector, align_face
from mien.inference.classifier import BATCH, ExpressionClassifier
from mien.manifest import InputSpec
from mien.metrics import softmax


@pytest.fixture(scope="module")
def classifier(tiny_model):
    return ExpressionClassifier(tiny_model, threads=1)


def random_crops(count, seed=0):
    shape = (count, TINY_SIDE, TINY_SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_no_crops_give_no_expressions(classifier):
    assert classifier.classify(random_crops(0)) == []
    assert classifier.logits(random_crops(0)).shape == (0, 8)


def test_logits_are_the_networks_own(classifier, tiny_model):
    import onnx
    from onnx import numpy_helper

    weights = numpy_helper.to_array(onnx.load(tiny_model).graph.initializer[0])
    crops = random_crops(3)
    side = TINY_SIDE // 8
    pooled = crops.astype(np.float64).reshape(3, side, 8, side, 8, 3).mean(axis=(2, 4))
    expected = pooled.transpose(0, 3, 1, 2).reshape(3, -1) @ weights
    np.testing.assert_allclose(classifier.logits(crops), expected, rtol=1e-3, atol=1e-3)


def test_probabilities_use_the_temperature(classifier):
    crops = random_crops(2)
    expected = softmax(classifier.logits(crops), 1.5)
    for expression, row in zip(classifier.classify(crops), expected, strict=True):
        np.testing.assert_allclose(expression.probabilities, row)
        assert expression.label == classifier.manifest.labels[int(row.argmax())]
        assert expression.confidence == row.max()


def test_more_crops_than_a_batch_keep_their_order(classifier):
    crops = random_crops(2 * BATCH + 3)
    whole = classifier.logits(crops)
    assert whole.shape == (2 * BATCH + 3, 8)
    for index in (0, BATCH - 1, BATCH, 2 * BATCH + 2):
        np.testing.assert_allclose(whole[index], classifier.logits(crops[index : index + 1])[0], atol=1e-4)


def test_mirror_averages_with_the_mirrored_crop(classifier):
    crops = random_crops(2)
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    both = classifier.logits(crops, mirror=True)
    np.testing.assert_allclose(both, (classifier.logits(crops) + classifier.logits(mirrored)) / 2, atol=1e-4)
    np.testing.assert_allclose(both, classifier.logits(mirrored, mirror=True), atol=1e-4)


def test_it_abstains_below_the_manifests_limit(tmp_path):
    crops = random_crops(4)
    never = ExpressionClassifier(make_model(tmp_path / "a.onnx", abstain_below=1.0)).classify(crops)
    assert all(expression.label is None for expression in never)
    always = ExpressionClassifier(make_model(tmp_path / "b.onnx", abstain_below=0.0)).classify(crops)
    assert all(expression.label is not None for expression in always)


def test_crop_is_the_one_alignment(classifier, portrait):
    face = FaceDetector(threads=1).detect(portrait)[0]
    expected = align_face(portrait, face.landmarks_xy, size=TINY_SIDE, template="ferplus", margin=0.1)
    np.testing.assert_array_equal(classifier.crop(portrait, face), expected)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, TINY_SIDE, TINY_SIDE, 3), dtype=np.float32),
        np.zeros((1, 3, TINY_SIDE, TINY_SIDE), dtype=np.uint8),
        np.zeros((TINY_SIDE, TINY_SIDE, 3), dtype=np.uint8),
    ],
)
def test_other_crops_are_refused(classifier, crops):
    with pytest.raises(InputError, match="expected crops"):
        classifier.logits(crops)


def test_a_model_that_breaks_the_contract_is_refused(tmp_path):
    wrong_range = make_model(tmp_path / "range.onnx", input=InputSpec(size=TINY_SIDE, range=(0.0, 1.0)))
    with pytest.raises(ModelError, match=r"RGB 0\.\.255"):
        ExpressionClassifier(wrong_range)
    seven = ExpressionClassifier(make_model(tmp_path / "seven.onnx", labels=tuple("abcdefg")))
    with pytest.raises(ModelError, match="7 labels"):
        seven.classify(random_crops(1))
    other_side = ExpressionClassifier(make_model(tmp_path / "side.onnx", input=InputSpec(size=TINY_SIDE + 8)))
    with pytest.raises(ModelError):
        other_side.classify(np.zeros((1, TINY_SIDE + 8, TINY_SIDE + 8, 3), dtype=np.uint8))
    with pytest.raises(ManifestError, match="not the file"):
        ExpressionClassifier(make_model(tmp_path / "hash.onnx", sha256="0" * 64))
    with pytest.raises(UnknownModelError, match="nothing-here"):
        ExpressionClassifier("nothing-here")
    with pytest.raises(ModelError, match="face-detection"):
        ExpressionClassifier("face-detector")
