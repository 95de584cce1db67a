"""Hints: small faces that a larger scan finds, and arrays whose channels are swapped."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from mien import Analyzer, MienWarning
from mien.cli.main import main
from support.images import GROUP, bust, crowd, encoded, no_face, photo_wall, portrait, scaled


@pytest.fixture(scope="module")
def analyzer(tiny_model) -> Analyzer:
    return Analyzer(tiny_model, threads=1, pose=False)


@pytest.fixture(scope="module")
def tiny_heads() -> np.ndarray:
    """Return 48 heads of 16 pixels; the default scan shrinks them to 6."""
    image, _ = crowd(6, 8, 16)
    canvas = np.tile(no_face((16, 16))[:1, :1], (1200, 1800, 1))
    canvas[400 : 400 + image.shape[0], 700 : 700 + image.shape[1]] = image
    return canvas


def swapped(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, :, ::-1])


def test_says_which_detector_size_finds_more_faces(analyzer):
    image, centers = crowd(10, 14, 40)
    with pytest.warns(MienWarning, match=r"image 0: some faces are too small .* detector size of 240; \d+ finds more"):
        few = analyzer.analyze(image, detector_size=240)
    assert len(few) < len(centers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        everyone = analyzer.analyze(image, detector_size=1120)
    assert len(everyone) == len(centers)
    assert everyone.warnings == ()


def test_says_so_where_no_face_is_found(analyzer, tiny_heads):
    with pytest.warns(MienWarning, match="detector size of 640"):
        result = analyzer.analyze(tiny_heads)
    assert len(result) == 0
    assert len(result.warnings) == 1


def test_hints_are_in_every_output(analyzer, tiny_heads, tmp_path, capsys):
    with pytest.warns(MienWarning):
        (result,) = analyzer.analyze_many([tiny_heads])
    (text,) = result.warnings
    assert result.to_dict()["warnings"] == [text]
    Image.fromarray(tiny_heads).save(tmp_path / "heads.png")
    assert main(["predict", str(tmp_path / "heads.png"), "--model", "compact", "--no-pose"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert f"heads.png: {text}" in printed
    assert "MienWarning" not in printed


def test_finds_all_faces_of_a_crowd_of_a_thousand(analyzer):
    image, centers = crowd(25, 40, 24)
    result = analyzer.analyze(image, detector_size=1920)
    assert len(result) == len(centers) == 1000


@pytest.mark.parametrize("factor", [1, 2])
def test_no_hint_where_nothing_is_missing(analyzer, factor):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (photo_wall(GROUP[:8]), no_face((900, 1400)), bust("obama"), portrait("astronaut")):
            assert analyzer.analyze(scaled(image, factor)).warnings == ()


def test_limit_of_faces_gives_no_hint(analyzer):
    image, _ = crowd(10, 14, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(analyzer.analyze(image, detector_size=320, max_faces=3)) == 3


def test_bgr_arrays_are_recognized(analyzer, group):
    with pytest.warns(MienWarning, match="color='bgr'"):
        result = analyzer.analyze(swapped(group))
    assert len(result) < len(analyzer.analyze(swapped(group), color="bgr"))
    with pytest.warns(MienWarning, match="cv2.cvtColor"):
        list(analyzer.analyze_many([swapped(group)]))
    with pytest.warns(MienWarning, match="leave out color='bgr'"):
        analyzer.analyze(group, color="bgr")


def test_other_images_are_not_taken_for_bgr(analyzer, group):
    blue = (group * np.array([0.75, 0.9, 1.0])).astype(np.uint8)
    gray = np.repeat(group.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (group, blue, gray, gray[:, :, 0], no_face(), swapped(no_face())):
            analyzer.analyze(image)
        # files state their order
        analyzer.analyze(encoded(swapped(group), "PNG"))
        analyzer.analyze(Image.fromarray(swapped(group)))
