"""Skin tone of a face from its pixels: the individual typology angle (ITA), a proxy without annotations.

Source:
    Chardon, Cretois, Hourseau (Int. J. Cosmet. Sci. 1991); limits of the categories after Del Bino and Bernerd (Br. J.
    Dermatol. 2013).
"""

from __future__ import annotations

import numpy as np

PATCHES = (50, 280, 151)
"""Mesh points in the middle of both cheeks and of the forehead."""
PATCH_SIDE = 0.12
"""Side of a patch, as a share of the distance between the outer corners of the eyes."""
EYE_CORNERS = (33, 263)
"""Mesh points of the outer corners of the eyes."""
MIN_CHROMA = 6.0
"""Mean difference of the largest and smallest channel from which on an image counts as color."""
CATEGORIES = (("dark", -90.0), ("brown", -30.0), ("tan", 10.0), ("intermediate", 28.0), ("light", 41.0))
"""Categories with the angle in degrees above which they begin; above the last one begins "very light"."""
VERY_LIGHT_DEG = 55.0

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])


def to_lab(pixels: np.ndarray) -> np.ndarray:
    """Convert sRGB (N, 3), 0..255, to CIELAB (N, 3) under D65."""
    values = pixels / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratios = linear @ _TO_XYZ.T / _WHITE_D65
    f = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


def is_color(image: np.ndarray) -> bool:
    """Return whether an image (H, W, 3) uint8 has color."""
    return float(np.ptp(image.astype(np.int16), axis=2).mean()) >= MIN_CHROMA


def typology_angle(image: np.ndarray, mesh_xyz: np.ndarray) -> float | None:
    """Return the ITA in degrees of the median cheek and forehead pixel; None for a gray image.

    It depends on light, white balance and make-up as much as on the skin.

    Args:
        image: (H, W, 3) uint8 RGB.
        mesh_xyz: (478, 3) landmark mesh of a face.
    """
    if not is_color(image):
        return None
    first, second = mesh_xyz[list(EYE_CORNERS), :2]
    radius = max(1, round(PATCH_SIDE * float(np.linalg.norm(first - second)) / 2))
    pixels = []
    for x, y in np.round(mesh_xyz[list(PATCHES), :2]).astype(int).tolist():
        patch = image[max(0, y - radius) : max(0, y + radius + 1), max(0, x - radius) : max(0, x + radius + 1)]
        pixels.append(patch.reshape(-1, 3))
    skin = np.concatenate(pixels)
    if not len(skin):
        return None
    lightness, _, yellow = np.median(to_lab(skin), axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def category(angle_deg: float) -> str:
    """Return the name of the category of an ITA."""
    if angle_deg > VERY_LIGHT_DEG:
        return "very light"
    return next(name for name, low in reversed(CATEGORIES) if angle_deg > low or name == CATEGORIES[0][0])
