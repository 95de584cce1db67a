from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.errors import InputError, ManifestError, ModelError, UnknownModelError
from mien.faces import FaceDetector, align_face
from mien.inference.classifier import BATCH, ExpressionClassifier
from mien.inference.occlusion import REGIONS
from mien.manifest import (
    AlignmentSpec,
    InputSpec,
    QualityTemperature,
    RiskPoint,
    file_sha256,
    read_manifest,
    write_manifest,
)
from mien.metrics import softmax
from mien.results import Quality
from support.models import TINY_SIZE, make_model


@pytest.fixture(scope="module")
def classifier(tiny_model):
    return ExpressionClassifier(tiny_model, threads=1)


def random_crops(count, seed=0):
    shape = (count, TINY_SIZE, TINY_SIZE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_no_crops_give_no_expressions(classifier):
    assert classifier.classify(random_crops(0)) == []
    assert classifier.logits(random_crops(0)).shape == (0, 8)


def test_logits_equal_network_output(classifier, tiny_model):
    import onnx
    from onnx import numpy_helper

    weights = numpy_helper.to_array(onnx.load(tiny_model).graph.initializer[0])
    crops = random_crops(3)
    side = TINY_SIZE // 8
    pooled = crops.astype(np.float64).reshape(3, side, 8, side, 8, 3).mean(axis=(2, 4))
    expected = pooled.transpose(0, 3, 1, 2).reshape(3, -1) @ weights
    np.testing.assert_allclose(classifier.logits(crops), expected, rtol=1e-3, atol=1e-3)


def test_probabilities_use_temperature(classifier):
    crops = random_crops(2)
    expected = softmax(classifier.logits(crops), 1.5)
    for expression, row in zip(classifier.classify(crops), expected, strict=True):
        np.testing.assert_allclose(expression.probabilities, row)
        assert expression.label == classifier.manifest.labels[int(row.argmax())]
        assert expression.confidence == row.max()


def test_several_batches_keep_order(classifier):
    crops = random_crops(2 * BATCH + 3)
    whole = classifier.logits(crops)
    assert whole.shape == (2 * BATCH + 3, 8)
    for index in (0, BATCH - 1, BATCH, 2 * BATCH + 2):
        np.testing.assert_allclose(whole[index], classifier.logits(crops[index : index + 1])[0], atol=1e-4)


def test_flip_tta_averages_with_mirrored_crop(classifier):
    crops = random_crops(2)
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    both = classifier.logits(crops, flip_tta=True)
    np.testing.assert_allclose(both, (classifier.logits(crops) + classifier.logits(mirrored)) / 2, atol=1e-4)
    np.testing.assert_allclose(both, classifier.logits(mirrored, flip_tta=True), atol=1e-4)


def test_abstains_below_threshold_of_manifest(tmp_path):
    crops = random_crops(4)
    never = ExpressionClassifier(make_model(tmp_path / "a.onnx", abstain_below=1.0)).classify(crops)
    assert all(expression.label is None for expression in never)
    always = ExpressionClassifier(make_model(tmp_path / "b.onnx", abstain_below=0.0)).classify(crops)
    assert all(expression.label is not None for expression in always)


SOFTER = QualityTemperature(size_px=40.0, per_halving=0.1, sharpness=0.8, per_blur=0.5)
GOOD = Quality(size_px=90.0, sharpness=0.9, frontality=None, visible=1.0)
BLURRED = replace(GOOD, sharpness=0.0)


def test_low_quality_lowers_confidence(tmp_path):
    classifier = ExpressionClassifier(make_model(tmp_path / "a.onnx", quality_temperature=SOFTER))
    crops = random_crops(1).repeat(3, axis=0)
    plain, good, blurred = classifier.classify(crops, qualities=[None, GOOD, BLURRED])
    np.testing.assert_allclose(good.probabilities, plain.probabilities, rtol=1e-5)
    logits = classifier.logits(crops[:1])
    np.testing.assert_allclose(blurred.probabilities, softmax(logits, 1.5 * np.exp(0.5))[0], rtol=1e-5)
    assert blurred.confidence < plain.confidence


def test_qualities_have_no_effect_without_quality_temperature(classifier):
    (plain,), (blurred,) = (classifier.classify(random_crops(1), qualities=found) for found in (None, [BLURRED]))
    np.testing.assert_array_equal(blurred.probabilities, plain.probabilities)


def test_rejects_wrong_number_of_qualities(classifier):
    with pytest.raises(InputError, match="1 qualities for 2 crops"):
        classifier.classify(random_crops(2), qualities=[GOOD])


RISK = (
    RiskPoint(coverage=1.0, error=0.2, confidence=0.0),
    RiskPoint(coverage=0.8, error=0.1, confidence=0.4),
    RiskPoint(coverage=0.5, error=0.03, confidence=0.9),
)


@pytest.mark.parametrize(
    ("max_error", "least"), [(1, 0.0), (0.2, 0.0), (0.19, 0.4), (0.1, 0.4), (0.05, 0.9), (0.03, 0.9)]
)
def test_max_error_selects_threshold_with_highest_coverage(tmp_path, max_error, least):
    model = make_model(tmp_path / "a.onnx", abstain_below=0.123, risk_coverage=RISK)
    classifier = ExpressionClassifier(model)
    assert classifier.abstention_threshold(max_error) == least
    for expression in classifier.classify(random_crops(4), max_error=max_error):
        assert (expression.label is None) == (expression.confidence < least)


def test_manifest_is_unchanged_without_max_error(tmp_path):
    model = make_model(tmp_path / "a.onnx", abstain_below=0.123, risk_coverage=RISK)
    assert ExpressionClassifier(model).manifest == read_manifest(model)


def test_unreachable_max_error_names_lowest_error(tmp_path):
    model = make_model(tmp_path / "a.onnx", risk_coverage=RISK)
    with pytest.raises(InputError, match=r"reaches 0\.03 at best, with a label for 50%"):
        ExpressionClassifier(model).abstention_threshold(0.02)


def test_max_error_needs_risk_coverage(tiny_model):
    with pytest.raises(ModelError, match="Export the model again"):
        ExpressionClassifier(tiny_model).abstention_threshold(0.05)


@pytest.mark.parametrize("max_error", [-0.1, 5, float("nan")])
def test_rejects_max_error_that_is_not_a_share(tiny_model, max_error):
    with pytest.raises(InputError, match="share from 0 to 1"):
        ExpressionClassifier(tiny_model).abstention_threshold(max_error)


def test_crop_equals_align_face(classifier, portrait):
    face = FaceDetector(threads=1).detect(portrait)[0]
    expected = align_face(portrait, face.landmarks_xy, size=TINY_SIZE, template="ferplus", margin=0.1)
    np.testing.assert_array_equal(classifier.crop(portrait, face), expected)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, TINY_SIZE, TINY_SIZE, 3), dtype=np.float32),
        np.zeros((1, 3, TINY_SIZE, TINY_SIZE), dtype=np.uint8),
        np.zeros((TINY_SIZE, TINY_SIZE, 3), dtype=np.uint8),
    ],
)
def test_rejects_crops_of_other_shape_or_type(classifier, crops):
    with pytest.raises(InputError, match="expected crops"):
        classifier.logits(crops)


def test_rejects_graph_that_contradicts_manifest(tmp_path):
    wrong_range = make_model(tmp_path / "range.onnx", input=InputSpec(size=TINY_SIZE, range=(0.0, 1.0)))
    with pytest.raises(ModelError, match=r"RGB 0\.\.255"):
        ExpressionClassifier(wrong_range)
    with pytest.raises(ModelError, match=r"\(n, 8\); its manifest names 7 labels"):
        ExpressionClassifier(make_model(tmp_path / "seven.onnx", labels=tuple("abcdefg")))
    with pytest.raises(ModelError, match=r"\(n, 3, 48, 48\); its manifest names an input size of 56"):
        ExpressionClassifier(make_model(tmp_path / "side.onnx", input=InputSpec(size=TINY_SIZE + 8)))
    with pytest.raises(ManifestError, match="not the file"):
        ExpressionClassifier(make_model(tmp_path / "hash.onnx", sha256="0" * 64))
    with pytest.raises(UnknownModelError, match="nothing-here"):
        ExpressionClassifier("nothing-here")
    with pytest.raises(ModelError, match="face-detection"):
        ExpressionClassifier("face-detector")


@pytest.mark.parametrize(
    ("template", "margin", "problem"),
    [
        ("unheard-of", 0.1, "unknown alignment template 'unheard-of'; expected one of .*ferplus"),
        ("ferplus", -0.3, "margin is -0.3"),
        ("ferplus", 2.5, "margin is 2.5"),
        ("ferplus", float("nan"), "margin is nan"),
    ],
)
def test_rejects_unusable_alignment(tmp_path, template, margin, problem):
    model = make_model(tmp_path / "a.onnx", alignment=AlignmentSpec(template=template, margin=margin))
    with pytest.raises(ModelError, match=problem):
        ExpressionClassifier(model)


def freed(source, path, *, weight=None):
    """The tiny model with all its sizes left free, and one weight changed."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    for node in (*model.graph.input, *model.graph.output):
        for place, size in enumerate(node.type.tensor_type.shape.dim):
            size.dim_param = f"{node.name}_{place}"
    if weight is not None:
        weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
        weights[0, 0] = weight
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    onnx.save(model, path)
    manifest = read_manifest(source)
    write_manifest(replace(manifest, sha256=file_sha256(path)), path)
    return path


def test_dynamic_shapes_are_checked_at_run_time(tmp_path, classifier, tiny_model):
    free = ExpressionClassifier(freed(tiny_model, tmp_path / "free.onnx"))
    np.testing.assert_array_equal(free.logits(random_crops(2)), classifier.logits(random_crops(2)))
    seven = freed(make_model(tmp_path / "seven.onnx", labels=tuple("abcdefg")), tmp_path / "free7.onnx")
    with pytest.raises(ModelError, match="7 labels"):
        ExpressionClassifier(seven).classify(random_crops(1))


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_rejects_logits_that_are_not_finite(tmp_path, tiny_model, weight):
    broken = ExpressionClassifier(freed(tiny_model, tmp_path / "broken.onnx", weight=weight))
    with pytest.raises(ModelError, match="not finite"):
        broken.classify(random_crops(1))


def test_crop_of_other_size_shows_same_part_of_image(classifier, portrait):
    face = FaceDetector(threads=1).detect(portrait)[0]
    large = classifier.crop(portrait, face, size=4 * TINY_SIZE)
    shrunk = large.reshape(TINY_SIZE, 4, TINY_SIZE, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - classifier.crop(portrait, face)).mean() < 6


def test_no_crops_give_no_explanations(explainable_model):
    assert ExpressionClassifier(explainable_model).explain(random_crops(0)) == []


def test_explanation_has_expression_maps_and_hidden_regions(explainable_model):
    classifier, crops = ExpressionClassifier(explainable_model, threads=1), random_crops(BATCH + 1)
    explanations = classifier.explain(crops)
    for explanation, expression in zip(explanations, classifier.classify(crops), strict=True):
        assert explanation.expression.label == expression.label
        np.testing.assert_allclose(explanation.expression.probabilities, expression.probabilities)
        assert (explanation.maps.shape, explanation.maps.dtype) == ((8, 6, 6), np.float32)
        assert list(explanation.hidden) == [region.name for region in REGIONS]
        drops = explanation.region_drops("anger")
        for name, probabilities in explanation.hidden.items():
            assert probabilities.sum() == pytest.approx(1)
            assert drops[name] == pytest.approx(explanation.expression["anger"] - probabilities[4])
    np.testing.assert_allclose(explanations[0].maps.mean(axis=(1, 2)), classifier.logits(crops[:1])[0], atol=1e-3)
    json.dumps(explanations[0].to_dict(), allow_nan=False)


def test_heat_is_evidence_above_mean_of_classes(explainable_model):
    (explanation,) = ExpressionClassifier(explainable_model).explain(random_crops(1))
    heat = explanation.heat("anger")
    anger = explanation.maps[list(explanation.expression.labels).index("anger")]
    assert heat.shape == (6, 6)
    assert heat.min() == 0.0
    assert heat.argmax() == (anger - explanation.maps.mean(axis=0)).argmax()
    assert not replace(explanation, maps=np.ones((8, 6, 6), np.float32)).heat("anger").any()


def test_heat_of_all_classes_has_one_scale(explainable_model):
    """A class with a hundredth of the evidence has a hundredth of the brightness, wherever its maximum is."""
    (explanation,) = ExpressionClassifier(explainable_model).explain(random_crops(1))
    maps = np.zeros((8, 6, 6), np.float32)
    maps[0, 1, 1], maps[1, 4, 4] = 100.0, 1.0
    explanation = replace(explanation, maps=maps)
    peaks = [explanation.heat(label).max() for label in explanation.expression.labels]
    assert peaks == pytest.approx([1.0, 0.01, *[0.0] * 6], abs=0.001)


def test_hidden_region_changes_the_prediction_of_the_filled_crop(explainable_model):
    classifier, crops = ExpressionClassifier(explainable_model, threads=1), random_crops(3)
    (first, *_) = classifier.explain(crops)
    left, top, right, bottom = (round((edge + 0.1) / 1.2 * TINY_SIZE) for edge in (0.15, 0.6, 0.85, 1.0))
    covered = crops.copy()
    covered[0, top:bottom, left:right] = crops[0].mean(axis=(0, 1)).round()
    expected = classifier.classify(covered)[0].probabilities
    np.testing.assert_allclose(first.hidden["mouth and chin"], expected, atol=1e-6)


def test_explain_needs_maps_in_model_file(classifier):
    with pytest.raises(ModelError, match=r"has no output maps\. Export it again"):
        classifier.explain(random_crops(1))


def test_classify_does_not_compute_maps(explainable_model):
    """Only the logits are asked of the graph, so the maps cost nothing where nobody wants them."""
    classifier = ExpressionClassifier(explainable_model)
    asked, session = [], classifier.network.session

    class Listening:
        def run(self, names, feeds):
            asked.append(names)
            return session.run(names, feeds)

    classifier.network = replace(classifier.network, session=Listening())
    classifier.classify(random_crops(1))
    assert asked == [["logits"]]


def test_no_crops_give_no_embeddings(explainable_model):
    none = np.empty((0, TINY_SIZE, TINY_SIZE, 3), dtype=np.uint8)
    assert ExpressionClassifier(explainable_model).embeddings(none).shape == (0, 3)
