"""Warping and decoding compared with OpenCV."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from mien.imaging import read_image, warp
from support.images import EXAMPLES, encoded, portrait

cv2 = pytest.importorskip("cv2")


def opencv_warp(image: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Warp with OpenCV, whose pixel centers are at integers; mien's are at integers + 0.5."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(image, shifted, size_hw[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("angle_deg", [0, 10, 90, -137])
@pytest.mark.parametrize("scale", [1.0, 1.3, 2.0, 4.5])
@pytest.mark.parametrize("place", ["inside", "over the border"])
def test_warp_matches_opencv(angle_deg: float, scale: float, place: str):
    image = portrait("astronaut")
    cos, sin = scale * math.cos(math.radians(angle_deg)), scale * math.sin(math.radians(angle_deg))
    linear = np.array([[cos, -sin], [sin, cos]])
    center = np.array([223, 120] if place == "inside" else [500, 500])
    matrix = np.column_stack([linear, (80, 60) - linear @ center])
    ours, theirs = (warper(image, matrix, (120, 160)).astype(int) for warper in (warp, opencv_warp))
    difference = np.abs(ours - theirs)
    assert difference.mean() < 0.7  # OpenCV before 5 rounds coordinates to 1/32 pixel; Pillow rounds values down
    assert difference.max() <= 9


@pytest.mark.parametrize("name", ["astronaut.jpg", "obama.jpg", "group.jpg"])
def test_jpeg_colors_match_opencv(name: str):
    data = (EXAMPLES / name).read_bytes()
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(read_image(data).astype(int) - theirs).max() <= 3


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_colors_match_opencv(format_name: str):
    data = encoded(portrait("astronaut"), format_name)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(read_image(data), theirs)


def test_sixteen_bit_gray_matches_opencv():
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    data = encoded(Image.fromarray(values), "PNG")
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(read_image(data).astype(int) - theirs).max() <= 1  # OpenCV drops the low byte, mien rounds
