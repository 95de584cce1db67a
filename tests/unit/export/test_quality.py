from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize

from mien import metrics
from mien.datasets.index import Index, Sample
from mien.emotions import EXPRESSIONS
from mien.export.quality import (
    BLURS,
    MAX_WEIGHT,
    SCALES,
    degrade,
    fit_quality_temperature,
    fit_temperature_weights,
    measure_quality_temperature,
    quality_features,
)
from mien.faces import FaceDetector, face_quality
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import QualityTemperature
from mien.results import Face, Quality

LANDMARKS = np.array([[35, 40], [65, 40], [50, 58], [38, 75], [62, 75]], dtype=np.float64)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.fixture
def face():
    return Face(bbox_xyxy=np.array([20.0, 20.0, 80.0, 90.0]), landmarks_xy=LANDMARKS, confidence=1.0)


def draw_labels(logits, temperature):
    """Draw labels from the calibrated distribution."""
    rng = np.random.default_rng(1)
    return np.array([rng.choice(len(row), p=row) for row in metrics.softmax(logits / temperature[:, None])])


def test_recovers_the_weights_of_generated_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 5))
    features = rng.uniform(0, 1, (20_000, 2))
    labels = draw_labels(logits, 1.5 * np.exp(features @ [0.6, 0.2]))
    weights = fit_temperature_weights(logits, labels, features, 1.5)
    np.testing.assert_allclose(weights, [0.6, 0.2], atol=0.06)


def test_weights_maximize_the_likelihood():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (3000, 4))
    features = np.abs(rng.normal(0, 1, (3000, 3)))
    labels = draw_labels(logits, np.exp(features @ [0.4, 0.0, 0.1] - 0.2))

    def loss(weights):
        probabilities = metrics.softmax(logits / np.exp(features @ weights)[:, None])
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    expected = minimize(loss, np.zeros(3), bounds=[(0, None)] * 3, tol=1e-12).x
    weights = fit_temperature_weights(logits, labels, features, 1.0)
    np.testing.assert_allclose(weights, expected, atol=2e-4)
    assert (weights >= 0).all()


def test_weight_of_a_constant_zero_feature_is_zero():
    logits = np.random.default_rng(0).normal(0, 2, (100, 3))
    labels = logits.argmax(axis=1)
    features = np.column_stack([np.zeros(100), np.ones(100)])
    assert fit_temperature_weights(logits, labels, features, 1.0).tolist() == [0.0, 0.0]


def test_features_match_the_factor_of_the_manifest():
    spec = QualityTemperature(size_px=40.0, per_halving=0.3, sharpness=0.8, per_blur=0.7)
    sizes = np.array([80.0, 40.0, 20.0, 7.0, 1.0, 30.0])
    sharpnesses = np.array([0.9, 0.8, 0.4, 0.1, 0.0, 0.95])
    features = quality_features(sizes, sharpnesses, spec.size_px, spec.sharpness)
    factors = [
        spec.factor(Quality(size_px=size, sharpness=sharpness, frontality=None, visible=1.0))
        for size, sharpness in zip(sizes, sharpnesses, strict=True)
    ]
    np.testing.assert_allclose(np.exp(features @ [0.3, 0.7]), factors)


def test_reference_is_the_median_quality_of_original_faces():
    rng = np.random.default_rng(0)
    sizes = np.array([30.0, 40.0, 50.0] + [10.0] * 3)
    arguments = (rng.normal(0, 1, (6, 3)), np.zeros(6, dtype=int), sizes, np.full(6, 0.7), sizes > 20, 1.0)
    spec = fit_quality_temperature(*arguments)
    assert (spec.size_px, spec.sharpness) == (40.0, 0.7)
    assert fit_quality_temperature(*arguments, max_size_px=32).size_px == 32.0


def test_copies_are_smaller_or_blurred(image, face):
    (_, original), *copies = degrade(image, face, 64)
    qualities = [face_quality(copy, moved) for copy, moved in copies]
    assert original is face
    sizes = [quality.size_px for quality in qualities[: len(SCALES)]]
    np.testing.assert_allclose(sizes, [60 * scale for scale in SCALES], rtol=0.02)
    sharpnesses = [quality.sharpness for quality in qualities[len(SCALES) :]]
    assert len(sharpnesses) == len(BLURS)
    assert face_quality(image, face).sharpness > sharpnesses[0] > sharpnesses[1] > sharpnesses[2]


def test_copies_of_large_faces_are_reduced_below_the_input_size(image, face):
    copies = degrade(image, face, 30)[1 : 1 + len(SCALES)]
    sizes = [face_quality(copy, moved).size_px for copy, moved in copies]
    np.testing.assert_allclose(sizes, [30 * scale for scale in SCALES], rtol=0.04)


@pytest.fixture
def portraits(examples, tmp_path):
    """Validation images: five portraits of different sizes, an image without a face, and a broken file."""
    sizes_px = {"astronaut": (512, 400), "biden": (400, 250), "obama": (300,)}
    names = []
    for name, sides in sizes_px.items():
        for side in sides:
            names.append(f"{name}-{side}.png")
            image = Image.open(examples / f"{name}.jpg").convert("RGB")
            image.thumbnail((side, side))
            image.save(tmp_path / names[-1])
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    samples = tuple(Sample(id=name, split="valid") for name in (*names, "empty.png", "broken.png"))
    return Index(name="x", root=tmp_path, labels=EXPRESSIONS, samples=samples, license="", is_cropped=False)


def test_quality_temperature_is_fitted_to_labeled_originals_and_their_copies(explainable_model, portraits, monkeypatch):
    classifier = ExpressionClassifier(explainable_model)
    detector = FaceDetector(threads=1, device="cpu", precision="float32")
    labels = np.array([6, -1, 1, 6, 1, 0, 0])
    temperature = 16.0
    logits, expected, qualities, is_original = [], [], [], []
    for row in (0, 2, 3, 4):
        image = read_image(portraits.root / portraits.samples[row].id)
        copies = degrade(image, detector.detect(image)[0], classifier.manifest.input.size)
        for number, (copy, face) in enumerate(copies):
            logits.append(classifier.logits(classifier.crop(copy, face)[None])[0])
            expected.append(labels[row])
            qualities.append(face_quality(copy, face))
            is_original.append(number == 0)
    sizes = np.array([quality.size_px for quality in qualities])
    sharpness = np.array([quality.sharpness for quality in qualities])
    fitted = fit_quality_temperature(
        np.array(logits), np.array(expected), sizes, sharpness, np.array(is_original), temperature, max_size_px=48
    )
    assert 0 < fitted.per_halving < MAX_WEIGHT
    assert 0 < fitted.per_blur < MAX_WEIGHT
    monkeypatch.setattr("mien.export.quality.MIN_FACES", 4)
    measured = measure_quality_temperature(classifier, portraits, labels, temperature)
    assert measured is not None
    assert astuple(measured) == pytest.approx(astuple(fitted), abs=2e-3)
    monkeypatch.setattr("mien.export.quality.MIN_FACES", 5)
    assert measure_quality_temperature(classifier, portraits, labels, temperature) is None


def test_too_few_detected_faces_give_no_quality_temperature(tiny_model, tmp_path):
    index = Index(name="empty", root=tmp_path, labels=("fear",), samples=(), license="", is_cropped=True)
    classifier = ExpressionClassifier(tiny_model)
    assert measure_quality_temperature(classifier, index, np.zeros(0, dtype=int), 1.0) is None
