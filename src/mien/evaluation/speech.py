"""Evaluation of a voice model on a speech corpus, as it is or with its heads refitted without the speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien import metrics
from mien.errors import AudioReadError, DatasetError
from mien.evaluation.summary import json_ready, summarize
from mien.number_format import count
from mien.progress import Progress
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from mien.voice.classifier import MAX_SECONDS, VoiceClassifier
from mien.voice.corpora import VOICE_CLASSES, Utterance
from mien.voice.features import HOP
from mien.voice.fitting import SpeakerFolds, group_speakers

AROUSALS = ("low", "high")
BOOTSTRAPS = 2000
MIN_GROUPS = 3
"""Minimum number of groups of speakers in which every class occurs, to leave out two of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Predictions:
    """Predictions for utterances: logits (N, C), calibrated logits of high arousal (N,), and embeddings (N, D).

    Rows of utterances whose sound is missing or broken are NaN.
    """

    logits: np.ndarray
    arousal: np.ndarray
    embeddings: np.ndarray


def evaluate_speech(
    classifier: VoiceClassifier,
    utterances: Sequence[Utterance],
    *,
    speaker_independent: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a voice model on labeled utterances, each up to its first `MAX_SECONDS`.

    Args:
        classifier: the voice model.
        utterances: one split of a corpus.
        speaker_independent: predict every speaker by heads that are fitted to the other speakers of the corpus; of more
            than ten, a group of them is left out at once. Encoder and features stay as they are; the shrinkage and the
            temperature of the heads are chosen without the speaker, too. Without it, the model is used as it is.
        progress: called after each utterance.

    Returns:
        For the classes the keys of `mien.evaluation.summary.summarize`, with `balanced_accuracy` as unweighted average
        recall and its `balanced_accuracy_interval`, the 95 % interval over speakers (None for one speaker). `arousal`
        has n, both of these, `accuracy` and `ece` for high against low arousal; `speakers` is their number. `left_out`
        counts the utterances of classes that the model lacks, which are only used for arousal. `unreadable` has the
        names of utterances without readable sound, which count as errors, or are left out where heads are fitted.

    Raises:
        DatasetError: if no utterance has a class of the model, or if there are too few speakers of a class.
    """
    predictions = _predict(classifier, utterances, progress)
    is_readable = np.isfinite(predictions.arousal)
    unreadable = [utterance.name for utterance, readable in zip(utterances, is_readable, strict=True) if not readable]
    if speaker_independent:
        utterances = [utterance for utterance, readable in zip(utterances, is_readable, strict=True) if readable]
        present = {utterance.label for utterance in utterances}
        names = tuple(name for name in VOICE_CLASSES if name in present)
        embeddings = predictions.embeddings[is_readable]
    else:
        names = classifier.manifest.labels
        embeddings = predictions.embeddings
    labels = np.array([names.index(item.label) if item.label in names else -1 for item in utterances], dtype=int)
    is_high = np.array([int(item.is_high_arousal) for item in utterances], dtype=int)
    speakers = np.array([item.speaker for item in utterances])
    if not (labels >= 0).any():
        raise DatasetError(f"no utterance has a class of the model: {', '.join(names)}.")
    if speaker_independent:
        logits = _refit(embeddings, labels, speakers, names)
        arousal = _refit(embeddings, is_high, speakers, AROUSALS)
        temperature = 1.0
    else:
        logits, temperature = predictions.logits, classifier.manifest.temperature
        arousal = np.stack([np.zeros(len(utterances)), predictions.arousal], axis=1)
        arousal[~is_readable] = np.nan
    counted = labels >= 0
    summary = _score(labels[counted], logits[counted], speakers[counted], names, temperature)
    scores = _score(is_high, arousal, speakers, AROUSALS, 1.0)
    arousal_keys = ("n", "accuracy", "balanced_accuracy", "balanced_accuracy_interval", "ece")
    return {
        **summary,
        "arousal": {key: scores[key] for key in arousal_keys},
        "speakers": len(np.unique(speakers)),
        "speaker_independent": speaker_independent,
        "left_out": dict(Counter(item.label for item in utterances if item.label not in names)),
        "unreadable": unreadable,
    }


def speaker_interval(
    labels: np.ndarray, predictions: np.ndarray, speakers: np.ndarray, classes: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean recall over resampled speakers; None for one speaker.

    Args:
        labels: (N,) class IDs.
        predictions: (N,) class IDs, -1 without a prediction.
        speakers: (N,) identifiers.
        classes: number of classes.
    """
    names = np.unique(speakers)
    if len(names) < 2:
        return None
    rng = np.random.default_rng(0)
    rows = {name: np.flatnonzero(speakers == name) for name in names}
    draws = [np.concatenate([rows[name] for name in rng.choice(names, len(names))]) for _ in range(BOOTSTRAPS)]
    values = [metrics.balanced_accuracy(labels[draw], predictions[draw], classes) for draw in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _score(
    labels: np.ndarray, logits: np.ndarray, speakers: np.ndarray, names: Sequence[str], temperature: float
) -> dict[str, Any]:
    """Return the summary of predictions with the interval over speakers."""
    interval = speaker_interval(labels, metrics.choose_labels(logits), speakers, len(names))
    summary = summarize(labels, logits, names, temperature)
    return {**summary, "balanced_accuracy_interval": json_ready(interval)}


def _predict(classifier: VoiceClassifier, utterances: Sequence[Utterance], progress: Progress | None) -> _Predictions:
    classes = len(classifier.manifest.labels)
    logits = np.full((len(utterances), classes), np.nan)
    arousal = np.full(len(utterances), np.nan)
    embeddings: dict[int, np.ndarray] = {}
    for row, utterance in enumerate(utterances):
        samples = _read(utterance)
        if len(samples) >= HOP:
            prediction = classifier.predict(samples[: round(MAX_SECONDS * SAMPLE_RATE_HZ)])
            # log of the calibrated probabilities: logits up to a constant
            logits[row] = np.log(np.maximum(prediction.probabilities, 1e-12)) * classifier.manifest.temperature
            arousal[row] = 2 * np.arctanh(np.clip(prediction.arousal, -1 + 1e-12, 1 - 1e-12))
            embeddings[row] = prediction.embedding
        if progress:
            progress(row + 1, len(utterances))
    width = len(next(iter(embeddings.values()), ()))
    table = np.full((len(utterances), width), np.nan)
    for row, embedding in embeddings.items():
        table[row] = embedding
    return _Predictions(logits=logits, arousal=arousal, embeddings=table)


def _read(utterance: Utterance) -> np.ndarray:
    """Return the sound of an utterance; empty if it is missing or broken."""
    try:
        return read_audio(utterance.read())
    except (AudioReadError, DatasetError):
        return np.zeros(0, dtype=np.float32)


def _refit(embeddings: np.ndarray, labels: np.ndarray, speakers: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return calibrated logits (N, C) of every speaker from heads that were fitted without them.

    Raises:
        DatasetError: if there are too few speakers of a class.
    """
    groups = group_speakers([str(speaker) for speaker in speakers])
    unit = "speaker" if len(set(groups)) == len(set(speakers)) else "speaker group"
    for number, name in enumerate(names):
        present = {group for group, label in zip(groups, labels, strict=True) if label == number}
        if len(present) < MIN_GROUPS:
            raise DatasetError(
                f"{name} has only {count(len(present), unit)}; expected at least {count(MIN_GROUPS, unit)}, to fit "
                "heads without a speaker."
            )
    return SpeakerFolds({"clean": embeddings}, labels, groups).evaluate({"clean": embeddings})["clean"]
