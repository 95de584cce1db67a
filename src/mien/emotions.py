"""Label sets, their order, and the maps between data sets.

mien's own order is FER+'s: it is the order of the shipped model's output, and it never changes within a model version.
The tuples that follow are the order in which each data set *stores* its classes.
"""

from __future__ import annotations

from typing import Literal

EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""The eight perceived expressions, in the order of FER+ and of mien's own models."""

BASIC_EXPRESSIONS = EXPRESSIONS[:7]
"""The seven without contempt (FER2013, RAF-DB)."""

FERPLUS_COLUMNS = (*EXPRESSIONS, "unknown", "NF")
"""The vote columns of `fer2013new.csv`, in order (Barsoum et al. 2016)."""

FER2013_CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""The class numbers 0..6 of Kaggle's `fer2013.csv`."""

RAFDB_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""The class numbers 1..7 of RAF-DB's own label list, and of the folders it is commonly re-packed in."""

AFFECTNET_CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""The class numbers 0..7 of AffectNet (8, 9 and 10 are none, uncertain and no face)."""

EFFICIENTFACE_CLASSES = AFFECTNET_CLASSES[:7]
"""The folders 0..6 in which EfficientFace keeps RAF-DB."""

DatasetKind = Literal["ferplus", "rafdb", "affectnet", "affectnet7", "fer2013", "folder", "table", "joined"]
"""The kinds of data set: the keys of `mien.datasets.ADAPTERS`, here because the command line's help needs no numpy."""

_ALIASES = {
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}


def canonical_name(name: str) -> str | None:
    """The expression that a folder, column or label name means, or None when it means none.

    Example:
        >>> canonical_name("Happy"), canonical_name("NEUTRAL"), canonical_name("cat")
        ('happiness', 'neutral', None)
    """
    key = name.strip().lower()
    key = _ALIASES.get(key, key)
    return key if key in EXPRESSIONS else None
