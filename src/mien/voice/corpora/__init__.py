"""Speech corpora with labels of vocal expression in their published layouts: EmoDB, CREMA-D, RAVDESS, MELD, IEMOCAP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien.voice.corpora.crema_d import read_crema_d
from mien.voice.corpora.emodb import read_emodb
from mien.voice.corpora.iemocap import read_iemocap
from mien.voice.corpora.meld import read_meld
from mien.voice.corpora.ravdess import read_ravdess
from mien.voice.corpora.sources import SOURCES
from mien.voice.corpora.utterance import HIGH_AROUSAL, VOICE_CLASSES, Utterance

__all__ = [
    "HIGH_AROUSAL",
    "READERS",
    "SOURCES",
    "VOICE_CLASSES",
    "Utterance",
    "read_crema_d",
    "read_emodb",
    "read_iemocap",
    "read_meld",
    "read_ravdess",
]

READERS: dict[str, Callable[[Path], list[Utterance]]] = {
    "emodb": read_emodb,
    "crema-d": read_crema_d,
    "ravdess": read_ravdess,
    "meld": read_meld,
    "iemocap": read_iemocap,
}
"""Reader of each corpus."""
