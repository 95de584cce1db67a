"""Heads of the voice model: choice of the shrinkage, calibration, and speaker-independent evaluation.

Only utterances as they were recorded choose and calibrate; augmented variants are used to fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mien.metrics import balanced_accuracy, fit_temperature
from mien.voice.discriminant import GroupedDiscriminant, LinearHead

SHRINKAGES = (0.1, 0.2, 0.3, 0.5)
"""Shrinkages to choose from."""
MAX_GROUPS = 10
"""Maximum number of groups of speakers; more would cost memory and time."""


def group_speakers(speakers: Sequence[str]) -> list[str]:
    """Return the group of every utterance that is left out at once: its speaker, or one of `MAX_GROUPS` groups."""
    names = sorted(set(speakers))
    if len(names) <= MAX_GROUPS:
        return list(speakers)
    return [f"group {names.index(speaker) % MAX_GROUPS}" for speaker in speakers]


@dataclass(frozen=True)
class Choice:
    """Shrinkage and temperature of a head, and the mean recall of held-out speakers that they were chosen by."""

    shrinkage: float
    temperature: float
    recall: float


class SpeakerFolds:
    """Heads on embeddings of utterances, fitted without one or more speakers.

    Args:
        variants: embeddings (N, D) of the same N utterances by variant, all used to fit; "clean" is required.
        labels: (N,) class IDs.
        speakers: (N,) identifiers.
    """

    def __init__(self, variants: Mapping[str, np.ndarray], labels: np.ndarray, speakers: Sequence[str]) -> None:
        self._clean = variants["clean"]
        self._labels = labels
        self._speakers = np.asarray(speakers)
        self.speakers = sorted(set(speakers))
        count = len(variants)
        self._discriminant = GroupedDiscriminant(
            np.concatenate(list(variants.values())), np.tile(labels, count), np.tile(self._speakers, count)
        )
        self.fit = cache(self._fit)

    def _fit(self, shrinkage: float, without: frozenset[str] = frozenset()) -> LinearHead:
        """Return the head without the utterances of some speakers."""
        return self._discriminant.fit(shrinkage, sorted(without))

    def choose(self, without: str | None = None) -> Choice:
        """Return the shrinkage with the best mean recall over held-out speakers, and the temperature of their logits.

        Args:
            without: speaker who takes no part, neither in fitting nor in choosing.
        """
        speakers = [speaker for speaker in self.speakers if speaker != without]
        is_part = np.isin(self._speakers, speakers)
        labels = self._labels[is_part]
        classes = int(self._labels.max()) + 1
        choices = []
        for shrinkage in SHRINKAGES:
            logits = self.held_out_logits(shrinkage, speakers, without)[is_part]
            recall = balanced_accuracy(labels, logits.argmax(axis=1), classes)
            choices.append(Choice(shrinkage, fit_temperature(logits, labels), recall))
        return max(choices, key=lambda choice: (choice.recall, choice.shrinkage))

    def held_out_logits(self, shrinkage: float, speakers: Sequence[str], without: str | None = None) -> np.ndarray:
        """Return the logits (N, C) of each speaker from the head without them; zero for other speakers."""
        rows = np.zeros((len(self._labels), int(self._labels.max()) + 1))
        for speaker in speakers:
            mask = self._speakers == speaker
            head = self.fit(shrinkage, frozenset({speaker, without} - {None}))
            rows[mask] = head.logits(self._clean[mask])
        return rows

    def evaluate(self, conditions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return calibrated logits (N, C) by condition, each speaker with a head that was chosen without them.

        Args:
            conditions: embeddings (N, D) of the utterances by condition, such as "telephone".
        """
        logits = {name: np.zeros((len(self._labels), int(self._labels.max()) + 1)) for name in conditions}
        for speaker in self.speakers:
            choice = self.choose(without=speaker)
            head = self.fit(choice.shrinkage, frozenset({speaker}))
            mask = self._speakers == speaker
            for name, embeddings in conditions.items():
                logits[name][mask] = head.logits(embeddings[mask]) / choice.temperature
        return logits
