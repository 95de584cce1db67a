"""Explanations of predictions and their drawing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.drawing.explanation import draw_explanations, heat_colors, overlay_heat
from mien.errors import InputError
from mien.inference.analyzer import Analyzer
from mien.inference.explain import SIDE, explain
from support.images import no_face
from support.models import HALVES


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


def test_explains_requested_class(analyzer, portrait):
    (face,) = explain(portrait, analyzer=analyzer, label="contempt")
    assert (face.label, face.to_dict()["explained"]) == ("contempt", "contempt")
    with pytest.raises(InputError, match=r"no class 'joy'; expected one of neutral, "):
        explain(portrait, analyzer=analyzer, label="joy")


def test_drawing_has_one_row_per_face(faces):
    one, two = draw_explanations(faces, HALVES), draw_explanations([*faces, *faces], HALVES)
    assert one.dtype == two.dtype == np.uint8
    assert one.shape[1] == two.shape[1] > 2 * SIDE
    assert two.shape[0] > one.shape[0] + SIDE
    rows = one.shape[0] - 80
    np.testing.assert_array_equal(one[:rows], two[:rows])


def test_regions_are_drawn_if_model_has_regions(faces):
    (face,) = faces
    without = replace(face, explanation=replace(face.explanation, region_weights={}))
    drawn, plain = draw_explanations([face], HALVES), draw_explanations([without])
    left = slice(28, 28 + SIDE)
    assert (drawn[left, left] != plain[left, left]).any()
    np.testing.assert_array_equal(plain[left, left][40:-40, 40:-40], face.image[40:-40, 40:-40])


def test_drawings_of_classes_differ(analyzer, portrait):
    drawings = [
        draw_explanations(explain(portrait, analyzer=analyzer, label=label), HALVES) for label in ("anger", "fear")
    ]
    assert (drawings[0] != drawings[1]).any()


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
