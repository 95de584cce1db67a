"""Weights of face and voice in their log-linear pool, where no labeled data has fitted them.

Size and sharpness of a face do not appear here: they already act on its probabilities through the quality temperature
of the model, and a flat distribution has little influence on a pool.
"""

from __future__ import annotations

VOICE_TRUST = 0.5
"""Factor of every voice: the classes of the shipped model were never measured on another corpus than EmoDB."""
HALF_FRAMES = 2.0
"""Frames of a face with which its weight is half of its maximum; neighboring frames are alike."""
HALF_SPEECH_S = 0.35
"""Seconds of speech with which the weight of a voice is half of its maximum.

Fitted to the recall of the shipped model at 1 s and 2 s of speech (docs/models/voice.md), above chance and relative to
whole utterances.
"""

MAX_CONFLICT = 0.5
"""Conflict, in bits, from which a pool has no label.

The geometric mean of two confident distributions that contradict each other can favor a class that neither of them has.
"""


def face_weight(frames: int, *, frontality: float | None = None, visible: float = 1.0) -> float:
    """Return the reliability of the mean prediction for a face during a speaking turn, 0..1.

    Args:
        frames: number of frames with a prediction; 0 removes the face.
        frontality: mean of `Quality.frontality`, 1 (frontal) to 0 (profile); None when unknown.
        visible: mean share of the face inside the image, 0..1.
    """
    return frames / (frames + HALF_FRAMES) * (1.0 if frontality is None else frontality) * visible


def voice_weight(speech_s: float, *, share: float = 1.0, clipped: float = 0.0) -> float:
    """Return the reliability of a voice during a speaking turn, 0..1.

    Args:
        speech_s: seconds of speech; 0 removes the voice.
        share: probability of the classes that faces have too; see `to_face_classes`.
        clipped: share of clipped samples, 0..1.
    """
    return VOICE_TRUST * speech_s / (speech_s + HALF_SPEECH_S) * share * (1.0 - clipped)
