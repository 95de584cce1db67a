"""Faces hidden behind flat cells."""

from __future__ import annotations

import numpy as np
import pytest

from mien.drawing.annotate import draw_faces
from mien.drawing.blur import CELLS, blur_faces, pixelate
from mien.drawing.blur_mode import check_blur
from mien.errors import InputError
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.results import Face


def noise(height=480, width=640):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def face(left, top, side):
    box = np.array([left, top, left + side, top + side], dtype=np.float32)
    return Face(bbox_xyxy=box, landmarks_xy=np.full((5, 2), left + side / 2, dtype=np.float32), confidence=0.9)


def colors(image, box):
    left, top, right, bottom = box
    return len(np.unique(image[top:bottom, left:right].reshape(-1, 3), axis=0))


@pytest.mark.parametrize("box", [(200, 150, 300, 250), (200, 100, 240, 260), (-20, -30, 80, 90), (600, 440, 700, 520)])
def test_box_has_at_most_sixteen_flat_cells(box):
    hidden = pixelate(noise(), np.array([box], dtype=np.float64))
    inside = np.clip(box, 0, [640, 480, 640, 480])
    assert colors(noise(), inside) > 1000
    assert colors(hidden, inside) <= CELLS**2


def test_hides_hair_and_chin_and_keeps_the_rest():
    image = noise()
    hidden = pixelate(image, np.array([[200.0, 200, 300, 300]]))
    assert colors(hidden, (172, 172, 328, 328)) <= CELLS**2
    changed = (hidden != image).any(axis=2)
    changed[170:330, 170:330] = False
    assert not changed.any()


def test_does_not_modify_input():
    image = noise()
    pixelate(image, np.array([[200.0, 200, 300, 300]]))
    np.testing.assert_array_equal(image, noise())


def test_faces_with_equal_cell_means_look_the_same():
    first = noise()
    second = first.copy()
    # another arrangement of the pixels of each cell of 40 x 40
    second[100:260, 100:260] = first[100:260, 100:260].reshape(4, 40, 4, 40, 3)[:, ::-1, :, ::-1].reshape(160, 160, 3)
    box = np.array([[130.0, 130, 230, 230]])
    assert (first != second).any()
    np.testing.assert_array_equal(pixelate(first, box), pixelate(second, box))


def test_others_keeps_the_largest_face_only():
    image = noise()
    faces = [face(50, 200, 60), face(400, 200, 120), face(220, 200, 70)]
    hidden = blur_faces(image, faces, "others")
    np.testing.assert_array_equal(hidden[200:320, 400:520], image[200:320, 400:520])
    assert colors(hidden, (50, 200, 110, 260)) <= CELLS**2
    assert colors(hidden, (220, 200, 290, 270)) <= CELLS**2
    assert colors(blur_faces(image, faces, "all"), (400, 200, 520, 320)) <= CELLS**2


@pytest.mark.parametrize("mode", ["others", "all"])
def test_image_without_faces_is_unchanged(mode):
    np.testing.assert_array_equal(blur_faces(noise(), [], mode), noise())


@pytest.mark.parametrize("name", ["group.jpg", "obama.jpg"])
def test_detector_finds_no_face_in_a_hidden_image(tiny_model, examples, name):
    analyzer = Analyzer(tiny_model, threads=1, min_confidence=0.4)
    image = read_image(examples / name)
    faces = analyzer.detect(image)
    assert faces
    assert analyzer.detect(blur_faces(image, faces, "all")) == []
    without_labels = [Face(bbox_xyxy=f.bbox_xyxy, landmarks_xy=f.landmarks_xy, confidence=0.9) for f in faces]
    assert analyzer.detect(draw_faces(image, without_labels, blur="all")) == []


def test_refuses_a_limited_number_of_faces():
    check_blur(None, 3)
    check_blur("all", None)
    with pytest.raises(InputError, match="--max-faces"):
        check_blur("others", 3)


def test_refuses_an_unknown_mode():
    with pytest.raises(InputError, match="blur is 'All'; expected 'others', 'all' or None"):
        check_blur("All", None)
    with pytest.raises(InputError, match="blur is 'All'"):
        draw_faces(noise(), [face(200, 200, 100)], blur="All")


def test_plot_refuses_to_hide_the_faces_of_a_limited_analysis(tiny_model, examples):
    result = Analyzer(tiny_model, threads=1, max_faces=1).analyze(examples / "group.jpg")
    assert len(result) == 1
    result.plot()
    with pytest.raises(InputError, match="max_faces"):
        result.plot(blur="all")
