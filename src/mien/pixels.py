"""Conversion of pixel values of any depth to 8 bits."""

from __future__ import annotations

import numpy as np

FULL_SCALES = (255, 1023, 4095, 16383, 65535)
"""Largest values of pixels of 8, 10, 12, 14 and 16 bits."""
MIN_SPAN = 0.25
"""Share of the full scale below which the values in use are stretched, as in thermal images."""
TAILS_PERCENT = 0.1
"""Percentage of the lowest, and of the highest, values that do not count as in use: dead and hot pixels."""
_MAX_SAMPLES = 1_000_000
"""Approximate maximum number of values that percentiles are computed from."""


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scale pixel values of any number type to uint8.

    The full scale is the smallest of 8, 10, 12, 14 or 16 bits that holds the largest value, whatever the depth of the
    container; floating-point values up to 1 have the full scale 1. Zero to full scale becomes 0 to 255, unless the
    values in use (without `TAILS_PERCENT` at both ends) span less than `MIN_SPAN` of it, or some are negative or above
    16 bits: then the lowest value in use becomes 0 and the highest 255. Values that are not finite become 0.

    Args:
        values: of any shape; the channels of an image are scaled alike.

    Returns:
        uint8 of the same shape.
    """
    if values.dtype == np.uint8:
        return values
    is_floating = values.dtype.kind == "f"
    if is_floating and not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.nan)
    low, high = _range(values, is_floating=is_floating)
    scaled = (values.astype(np.float32) - low) * np.float32(255 / (high - low))
    return np.nan_to_num(scaled).round().clip(0, 255).astype(np.uint8)


def values_in_use(values: np.ndarray) -> tuple[float, float] | None:
    """Return the lowest and the highest value, without `TAILS_PERCENT` at both ends; None if all are NaN."""
    sample = values.ravel()[:: max(1, values.size // _MAX_SAMPLES)]
    sample = sample[~np.isnan(sample)]
    if not len(sample):
        return None
    low, high = np.percentile(sample, [TAILS_PERCENT, 100 - TAILS_PERCENT])
    return float(low), float(high)


def _range(values: np.ndarray, *, is_floating: bool) -> tuple[float, float]:
    """Return the values that become 0 and 255."""
    in_use = values_in_use(values)
    if in_use is None:
        return 0.0, 255.0
    low, high = in_use
    minimum, maximum = float(np.nanmin(values)), float(np.nanmax(values))
    scales = (1, *FULL_SCALES) if is_floating else FULL_SCALES
    full_scale = next((scale for scale in scales if maximum <= scale), None)
    is_narrow = full_scale is None or minimum < 0 or high - low < MIN_SPAN * full_scale
    if is_narrow and high > low:
        return low, high
    return 0.0, float(full_scale or max(abs(maximum), 1.0))
