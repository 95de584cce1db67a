"""The voice model: speech segments in, embedding, arousal and calibrated class probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.errors import InputError, ModelError
from mien.manifest import Manifest
from mien.metrics import softmax
from mien.runtime import load_model
from mien.voice.audio import SAMPLE_RATE_HZ
from mien.voice.features import HOP, log_mel

DEFAULT_VOICE_MODEL = "voice"
MAX_SECONDS = 8.0
"""Longest segment that the model accepts, in seconds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VoicePrediction:
    """Prediction for a speech segment.

    Attributes:
        probabilities: (C,) float, calibrated, sums to 1.
        arousal: -1 (calm) to 1 (excited): twice the calibrated probability of high arousal, minus 1.
        embedding: (D,) float32, the input of the linear heads.
    """

    probabilities: np.ndarray
    arousal: float
    embedding: np.ndarray


class VoiceClassifier:
    """A voice model with its calibration; thread-safe.

    Args:
        model: name of a shipped model, or path of an `.onnx` file with its manifest beside it.
        threads: threads of ONNX Runtime; 0 lets it choose.

    Raises:
        ModelError: if the model is unknown, is not a voice model or contradicts its manifest.
    """

    def __init__(self, model: str | Path = DEFAULT_VOICE_MODEL, threads: int = 0) -> None:
        self._network = load_model(model, task="voice-expression", threads=threads)
        outputs = {output.name for output in self._network.session.get_outputs()}
        if not {"logits", "arousal", "embedding"} <= outputs:
            raise ModelError(f"{self._network.path}: expected the outputs logits, arousal and embedding.")
        self.manifest: Manifest = self._network.manifest

    def predict(self, samples: np.ndarray) -> VoicePrediction:
        """Return the prediction for one speech segment.

        Args:
            samples: (N,) float32 at 16 kHz, from 10 ms to `MAX_SECONDS`.

        Raises:
            InputError: if the segment is shorter or longer, or not finite.
            ModelError: if the network fails, or returns another number of classes than its manifest names.
        """
        if samples.ndim != 1 or not HOP <= len(samples) <= MAX_SECONDS * SAMPLE_RATE_HZ:
            raise InputError(
                f"samples: shape {samples.shape}, expected (N,) of 10 ms to {MAX_SECONDS:g} s at 16 kHz. Divide longer "
                "speech, or use VoiceAnalyzer."
            )
        if not np.isfinite(samples).all():
            raise InputError("samples: not finite.")
        inputs = {"log_mel": log_mel(samples)[None]}
        logits, arousal, embedding = self._network.run(["logits", "arousal", "embedding"], inputs)
        if logits.shape != (1, len(self.manifest.labels)):
            raise ModelError(f"{self._network.path} returned {logits.shape[-1]} classes; its manifest names others.")
        return VoicePrediction(
            probabilities=softmax(logits, self.manifest.temperature)[0],
            arousal=float(np.tanh(arousal.reshape(-1)[0] / 2)),
            embedding=embedding[0],
        )
