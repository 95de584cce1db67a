"""Classes of a voice model as classes of a face model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.emotions import EXPRESSIONS

MERGED = {"calm": "neutral"}
"""Classes of voices that count as a class of faces.

Source:
    Livingstone, Russo (PLOS ONE 2018): calm and neutral are the two baselines of RAVDESS, chosen because neutral alone
    is often heard as negative.
"""


def to_face_classes(
    labels: Sequence[str], probabilities: np.ndarray, classes: Sequence[str] = EXPRESSIONS
) -> tuple[np.ndarray, float]:
    """Return the distribution of a voice over the classes of faces, and the probability that it is made of.

    Classes that the voice model lacks, such as contempt, are NaN: it says nothing about them. Classes that faces lack,
    such as boredom, are left out and the others divided by their sum. That sum is returned too: a voice that is
    probably bored says little about the other classes, so `voice_weight` is multiplied by it.

    Args:
        labels: names of the C classes of the voice model.
        probabilities: (C,), sum to 1.
        classes: names of the K classes of the face model.

    Returns:
        (K,) and a number of 0..1. All are NaN if it is 0.

    Example:
        >>> to_face_classes(["anger", "boredom"], [0.5, 0.5], ["neutral", "anger"])
        (array([nan,  1.]), 0.5)
    """
    totals = dict.fromkeys(classes, np.nan)
    for label, probability in zip(labels, probabilities, strict=True):
        name = label if label in totals else MERGED.get(label, label)
        if name in totals:
            totals[name] = float(np.nansum([totals[name], probability]))
    values = np.array(list(totals.values()))
    share = float(np.nansum(values))
    return (values / share if share > 0 else np.full(len(values), np.nan)), min(share, 1.0)
