"""Fusion model: a small head on the predictions and embeddings of a face and a voice, fitted to labeled utterances."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mien.errors import InputError, ModelError
from mien.fusion.pooling import MIN_PROBABILITY, log_linear_pool
from mien.manifest import Manifest
from mien.metrics import softmax
from mien.runtime import load_model

TASK = "fusion"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Prediction of one modality for a speaking turn.

    Attributes:
        probabilities: (C,) mean over its frames or segments, in the classes of the face model; NaN for those that the
            modality lacks.
        weight: reliability, see `face_weight` and `voice_weight`.
        embedding: (D,) mean embedding.
    """

    probabilities: np.ndarray
    weight: float
    embedding: np.ndarray = field(repr=False)


class FusionModel:
    """A fitted fusion of one face model and one voice model; thread-safe.

    Args:
        path: `.onnx` file with its manifest beside it, as `recipes/fusion.py` writes it.
        face: manifest of the face model.
        voice: manifest of the voice model.

    Attributes:
        path: the file.
        manifest: its manifest; `labels` are the classes.

    Raises:
        ModelError: if the file is not a fusion model, or was fitted to other models.
    """

    def __init__(self, path: str | Path, *, face: Manifest, voice: Manifest) -> None:
        self._network = load_model(path, task=TASK, threads=1)
        self.path = self._network.path
        self.manifest = self._network.manifest
        for modality, manifest in (("face", face), ("voice", voice)):
            fitted = self.manifest.source.get(modality)
            if fitted != identify(manifest):
                raise ModelError(f"{self.path} was fitted to {fitted}, not to {identify(manifest)}.")
        trust = self.manifest.source.get("voice_trust")
        if not isinstance(trust, int | float) or not trust >= 0:
            raise ModelError(f"{self.path}: source.voice_trust is {trust!r}; expected a number of at least 0.")
        self._voice_trust = float(trust)

    def fuse(self, face: Evidence | None, voice: Evidence | None) -> np.ndarray:
        """Return the probabilities (C,) of a face and a voice; with one of them, its own probabilities exactly.

        A modality with weight 0 counts as missing.

        Raises:
            InputError: if both are missing.
            ModelError: if the head fails, such as for embeddings of another width.
        """
        present = [evidence for evidence in (face, voice) if evidence is not None and evidence.weight > 0]
        if not present:
            raise InputError("neither a face nor a voice; expected at least one with a weight above 0.")
        if len(present) == 1:
            return np.nan_to_num(present[0].probabilities)
        assert face is not None
        assert voice is not None
        inputs = {
            "pooled": pool_logits(face, voice, self._voice_trust)[None].astype(np.float32),
            "face": face.embedding[None].astype(np.float32),
            "voice": voice.embedding[None].astype(np.float32),
        }
        (logits,) = self._network.run(["logits"], inputs)
        return softmax(logits, self.manifest.temperature)[0]


def pool_logits(face: Evidence, voice: Evidence, voice_trust: float) -> np.ndarray:
    """Return the logarithms (C,) of the pooled probabilities of a face and a voice.

    Args:
        face: with a weight above 0.
        voice: likewise, or 0.
        voice_trust: factor of the weight of the voice.
    """
    rows = np.stack([face.probabilities, voice.probabilities])
    pooled = log_linear_pool(rows, np.array([face.weight, voice_trust * voice.weight]))
    return np.log(np.maximum(pooled, MIN_PROBABILITY))


def identify(manifest: Manifest) -> str:
    """Return name and version of a model, as a fusion model states what it was fitted to."""
    return f"{manifest.name}, version {manifest.version}"
