"""Fit of a fusion model to labeled utterances: weight of the voice, temperature, and a head on both embeddings.

The head is linear in the principal components of both embeddings and in their products, so that it can learn what only
face and voice together show. Without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien import metrics
from mien.adaptation.adapt import fit_temperature
from mien.adaptation.correction import Basis, Correction, FaceFeatures, principal_components
from mien.adaptation.selection import choose_correction, summarize
from mien.adaptation.utterances import AudiovisualUtterance
from mien.errors import DatasetError
from mien.fusion.model import pool_logits
from mien.fusion.pooling import MIN_PROBABILITY
from mien.progress import Progress

COMPONENTS = 16
"""Maximum number of principal components of each embedding; their products are its square."""
DROPOUT = 0.2
"""Share of the utterances that are fitted again without their face or without their voice."""
VOICE_TRUSTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Factors of the weight of the voice to choose from."""


@dataclass(frozen=True, kw_only=True)
class FusionFit:
    """The result of `fit_fusion`.

    Attributes:
        voice_trust: factor of the weight of the voice.
        correction: of the pooled logits, on the features of `features`; None if no head is better than the pool.
        temperature: of the corrected logits.
        face_basis: principal components of the embeddings of the faces.
        voice_basis: likewise of the voices.
        numbers: accuracy, mean recall and calibration error on the given utterances, of "face", "voice", "pool" and
            "fusion". Only the head of "fusion" is cross-validated over speakers: its setting, the factor of the
            voice, the principal components and the temperature are fitted in sample, so that "pool" and "fusion" are
            optimistic.
    """

    voice_trust: float
    correction: Correction | None
    temperature: float
    face_basis: Basis
    voice_basis: Basis
    numbers: dict[str, dict[str, Any]]


def fit_fusion(
    utterances: Sequence[AudiovisualUtterance], *, seed: int = 0, progress: Progress | None = None
) -> FusionFit:
    """Fit the fusion of the face model and the voice model that have measured the utterances.

    Speakers are never in two folds of the cross-validation that chooses the head. The factor of the voice, the
    principal components and the temperature are fitted to all utterances.

    Args:
        utterances: measured utterances.
        seed: of the folds and of the modality dropout.
        progress: called after each setting of the head.

    Raises:
        DatasetError: if there are too few utterances, speakers or classes.
        MissingExtraError: if SciPy is not installed.
    """
    if not utterances:
        raise DatasetError("no utterance with a face, speech and a class; expected labeled videos of single speakers.")
    labels = np.array([utterance.label for utterance in utterances])
    trust = choose_voice_trust(utterances, labels)
    faces = np.stack([utterance.face.embedding for utterance in utterances]).astype(np.float64)
    voices = np.stack([utterance.voice.embedding for utterance in utterances]).astype(np.float64)
    face_basis, voice_basis = _main_components(faces), _main_components(voices)
    complete = _Components(
        logits=np.stack([pool_logits(utterance.face, utterance.voice, trust) for utterance in utterances]),
        face=face_basis.project(faces),
        voice=voice_basis.project(voices),
        labels=labels,
        speakers=np.unique([utterance.speaker for utterance in utterances], return_inverse=True)[1],
    )
    choice = choose_correction(_drop_modalities(complete, utterances, seed), seed=seed, progress=progress)
    fused = choice.logits[: len(utterances)]
    temperature = fit_temperature(fused, labels)
    logits = {
        "face": _logarithms([utterance.face.probabilities for utterance in utterances]),
        "voice": _logarithms([utterance.voice.probabilities for utterance in utterances]),
        "pool": complete.logits,
        "fusion": fused / temperature,
    }
    return FusionFit(
        voice_trust=trust,
        correction=choice.correction,
        temperature=temperature,
        face_basis=face_basis,
        voice_basis=voice_basis,
        numbers={name: summarize(values, labels) for name, values in logits.items()},
    )


def choose_voice_trust(utterances: Sequence[AudiovisualUtterance], labels: np.ndarray) -> float:
    """Return the factor of the voice's weight with the smallest cross-entropy at its best temperature."""
    losses = []
    for trust in VOICE_TRUSTS:
        logits = np.stack([pool_logits(utterance.face, utterance.voice, trust) for utterance in utterances])
        probabilities = metrics.softmax(logits, metrics.fit_temperature(logits, labels))
        losses.append(metrics.negative_log_likelihood(probabilities, labels))
    return VOICE_TRUSTS[int(np.argmin(losses))]


def combine(face: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """Return the components of faces (N, K) and voices (N, L) and their products, (N, K + L + K L)."""
    products = (face[:, :, None] * voice[:, None, :]).reshape(len(face), -1)
    return np.concatenate([face, voice, products], axis=1)


def _drop_modalities(complete: _Components, utterances: Sequence[AudiovisualUtterance], seed: int) -> FaceFeatures:
    """Return the utterances, and some of them again without their face or without their voice.

    The logits are then those of the other modality, and the components of the dropped one are 0, those of a mean
    embedding. So the products do not learn what one modality shows by itself. A face is not dropped where the voice
    model lacks the class.
    """
    count = len(utterances)
    rows = np.random.default_rng(seed).permutation(count)[: round(DROPOUT * count)]
    without_voice = rows[::2]
    is_known = [np.isfinite(utterances[row].voice.probabilities[utterances[row].label]) for row in rows[1::2]]
    without_face = rows[1::2][np.array(is_known, dtype=bool)]
    order = np.concatenate([np.arange(count), without_voice, without_face])
    face, voice = complete.face[order], complete.voice[order]
    voice[count : count + len(without_voice)] = 0.0
    face[count + len(without_voice) :] = 0.0
    single_modality = [utterances[row].face.probabilities for row in without_voice]
    single_modality += [utterances[row].voice.probabilities for row in without_face]
    return FaceFeatures(
        logits=np.concatenate([complete.logits, _logarithms(single_modality).reshape(-1, complete.logits.shape[1])]),
        features=combine(face, voice),
        labels=complete.labels[order],
        groups=complete.speakers[order],
    )


@dataclass(frozen=True, kw_only=True)
class _Components:
    """Pooled logits (N, C), components of faces (N, K) and voices (N, L), labels (N,) and speakers (N,)."""

    logits: np.ndarray
    face: np.ndarray
    voice: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray


def _main_components(embeddings: np.ndarray) -> Basis:
    """Return the first principal components of embeddings (N, D)."""
    basis = principal_components(embeddings)
    return Basis(center=basis.center, directions=basis.directions[:COMPONENTS])


def _logarithms(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the logarithms (N, C) of probabilities; a class that a modality lacks counts as improbable."""
    return np.log(np.maximum(np.nan_to_num(np.array(probabilities)), MIN_PROBABILITY))
