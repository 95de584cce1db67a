"""Expression classes in the output order of the shipped models, which is that of FER+, and the kinds of data set."""

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
