"""Expression classes, their order, and the class numbering of each data set.

mien uses the order of FER+, which is the output order of the shipped models. The other tuples list the classes in the
order in which a data set numbers them.
"""

from __future__ import annotations

from typing import Literal

EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""The eight perceived expressions, in the order of FER+ and of mien's own models."""

BASIC_EXPRESSIONS = EXPRESSIONS[:7]
"""The seven expressions of FER2013 and RAF-DB, without contempt."""

VALENCE_AROUSAL = {
    "neutral": (0.0, 0.0),
    "happiness": (0.81, 0.51),
    "surprise": (0.40, 0.67),
    "sadness": (-0.63, -0.27),
    "anger": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "contempt": (-0.55, 0.15),
}
"""Valence and arousal of the classes, -1..1, after ratings of emotion words by Mehrabian and Russell (1977).

Contempt has no agreed position: sources give valences from -0.55 to -0.30 and arousals from 0.10 to 0.20.
"""

FERPLUS_COLUMNS = (*EXPRESSIONS, "unknown", "NF")
"""Vote columns of `fer2013new.csv`, in order (Barsoum et al. 2016)."""

FER2013_CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Classes 0..6 of Kaggle's `fer2013.csv`."""

RAFDB_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""Classes 1..7 of RAF-DB's label list and of the folders in which it is commonly repackaged."""

AFFECTNET_CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""Classes 0..7 of AffectNet (8, 9 and 10 are none, uncertain and no face)."""

EFFICIENTFACE_CLASSES = AFFECTNET_CLASSES[:7]
"""Folders 0..6 of RAF-DB as prepared for EfficientFace."""

DatasetKind = Literal["ferplus", "rafdb", "affectnet", "affectnet7", "fer2013", "folder", "table", "joined"]
"""Kinds of data set, the keys of `mien.datasets.ADAPTERS`; here so that command-line help does not import numpy."""

CorpusKind = Literal["emodb", "crema-d", "ravdess", "meld", "iemocap"]
"""Kinds of speech corpus, the keys of `mien.voice.corpora.READERS`."""

_ALIASES = {
    "afraid": "fear",
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "scared": "fear",
    "surprised": "surprise",
}


def canonical_name(name: str) -> str | None:
    """Return the expression for the name of a folder, column or label, or None for an unknown name.

    Example:
        >>> canonical_name("Happy"), canonical_name("NEUTRAL"), canonical_name("cat")
        ('happiness', 'neutral', None)
    """
    key = name.strip().lower()
    key = _ALIASES.get(key, key)
    return key if key in EXPRESSIONS else None
