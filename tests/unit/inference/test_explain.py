"""Explanations of predictions and their drawing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien.drawing.explanation import draw_explanations, heat_colors, overlay_heat
from mien.errors import InputError, MienError
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.inference.explain import SIDE, explain
from mien.inference.occlusion import REGIONS, face_regions
from support.images import encoded, no_face


@pytest.fixture(scope="module")
def analyzer(explainable_model):
    return Analyzer(explainable_model, threads=1, pose=False)


@pytest.fixture(scope="module")
def faces(analyzer, portrait):
    return explain(portrait, analyzer=analyzer)


def test_no_face_gives_no_explanation(analyzer):
    assert explain(no_face(), analyzer=analyzer) == []
    with pytest.raises(InputError, match="no face"):
        draw_explanations([])


def test_explanation_has_same_expression_as_prediction(analyzer, faces, portrait):
    (face,) = faces
    classifier = analyzer.classifier
    (expression,) = classifier.classify(classifier.crop(portrait, face.face)[None])
    assert face.face.expression is face.explanation.expression
    assert face.label == face.explanation.expression.label == expression.label
    assert face.image.shape == (SIDE, SIDE, 3)


def test_explanation_has_the_options_of_the_analyzer(analyzer, faces, portrait):
    changed = analyzer.with_options(flip_tta=True)
    (face,) = explain(portrait, analyzer=changed)
    probabilities = face.face.expression.probabilities
    np.testing.assert_allclose(probabilities, changed.analyze(portrait)[0].expression.probabilities, rtol=1e-3)
    assert not np.allclose(probabilities, faces[0].face.expression.probabilities, rtol=0.1, atol=0)


def test_explains_the_prediction_of_a_large_jpeg(analyzer, portrait):
    data = encoded(Image.fromarray(portrait).resize((2048, 2048)), "JPEG")
    (face,) = explain(data, analyzer=analyzer)
    (expected,) = analyzer.analyze(data)
    np.testing.assert_array_equal(face.face.bbox_xyxy, expected.bbox_xyxy)
    probabilities = face.face.expression.probabilities
    np.testing.assert_allclose(probabilities, expected.expression.probabilities, rtol=1e-3)
    crop = analyzer.classifier.crop(read_image(data), face.face, size=SIDE)
    np.testing.assert_array_equal(face.image, crop)


def test_explains_requested_class(analyzer, portrait):
    (face,) = explain(portrait, analyzer=analyzer, label="contempt")
    assert (face.label, face.to_dict()["explained"]) == ("contempt", "contempt")
    with pytest.raises(InputError, match=r"no class 'joy'; expected one of neutral, "):
        explain(portrait, analyzer=analyzer, label="joy")


def test_maps_and_drops_of_another_class_name_the_classes(faces):
    explanation = faces[0].explanation
    for method in (explanation.heat, explanation.region_drops):
        with pytest.raises(KeyError, match=r"no class 'joy'; the model has .*happiness"):
            method("joy")


def test_explains_on_the_given_device(explainable_model, portrait):
    with pytest.raises(MienError, match="abacus"):
        explain(portrait, model=explainable_model, device="abacus")
    assert len(explain(portrait, model=explainable_model, device="cpu")) == 1


def test_a_doubtful_face_has_no_label(analyzer, portrait, monkeypatch):
    crop_faces = Analyzer.crop_faces

    def doubt(*arguments):
        found, crops = crop_faces(*arguments)
        return [replace(face, is_face_doubtful=True) for face in found], crops

    monkeypatch.setattr(Analyzer, "crop_faces", doubt)
    (face,) = explain(portrait, analyzer=analyzer)
    assert face.explanation.expression.label is face.face.expression.label is None
    record = face.to_dict()
    assert record["is_face_doubtful"]
    assert record["expression"]["label"] is None
    assert record["explained"] == face.label != ""


def test_explained_faces_are_compared_by_identity(faces):
    (face,) = faces
    assert face != replace(face)
    assert len({face, face, replace(face)}) == 2


def test_drawing_has_one_row_per_face(faces):
    one, two = draw_explanations(faces, REGIONS), draw_explanations([*faces, *faces], REGIONS)
    assert one.dtype == two.dtype == np.uint8
    assert one.shape[1] == two.shape[1] > 2 * SIDE
    assert two.shape[0] > one.shape[0] + SIDE
    rows = one.shape[0] - 80
    np.testing.assert_array_equal(one[:rows], two[:rows])


def test_regions_are_drawn_on_request(faces):
    (face,) = faces
    drawn, plain = draw_explanations([face], REGIONS), draw_explanations([face])
    left = slice(28, 28 + SIDE)
    assert (drawn[left, left] != plain[left, left]).any()
    np.testing.assert_array_equal(plain[left, left][40:-40, 40:-40], face.image[40:-40, 40:-40])


def test_drawings_of_classes_differ(analyzer, portrait):
    drawings = [
        draw_explanations(explain(portrait, analyzer=analyzer, label=label), REGIONS) for label in ("anger", "fear")
    ]
    assert (drawings[0] != drawings[1]).any()


def test_class_without_evidence_is_drawn_as_the_plain_face(analyzer, portrait):
    (face,) = explain(portrait, analyzer=analyzer, label="fear")
    maps = np.zeros_like(face.explanation.maps)
    maps[0, 2, 2] = 10.0
    drawn = draw_explanations([replace(face, explanation=replace(face.explanation, maps=maps))])
    left, right = (drawn[38 : 28 + SIDE - 10, start : start + SIDE - 20] for start in (38, 38 + SIDE + 20))
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("margin", [-0.2, 0.0, 0.5])
def test_regions_follow_the_margin_of_the_crop(margin):
    for region, plain in zip(face_regions(margin), REGIONS, strict=True):
        edges = (np.array(plain.bbox_xyxy) + margin) / (1 + 2 * margin)
        assert region.bbox_xyxy == pytest.approx(edges.clip(0, 1))


def test_map_without_evidence_is_transparent():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay_heat(image, np.zeros((5, 5))), image)


def test_map_covers_place_of_evidence():
    image, heat = np.full((70, 70, 3), 128, np.uint8), np.zeros((7, 7), np.float32)
    heat[1, 5] = 1.0
    moved = np.abs(overlay_heat(image, heat).astype(int) - 128).sum(axis=2)
    assert np.unravel_index(moved.argmax(), moved.shape) == pytest.approx((15, 55), abs=6)
    assert not moved[30:].any()


def test_heat_colors_grow_brighter():
    colors = heat_colors(np.linspace(0, 1, 101)[None])[0].astype(float)
    brightness = colors @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()
