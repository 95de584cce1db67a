"""Faces and voices of labeled audiovisual utterances, measured for the fit of a fusion model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import DatasetError, InputError
from mien.faces.detection import FaceDetector
from mien.faces.quality import face_quality
from mien.fusion.classes import MERGED, to_face_classes
from mien.fusion.model import Evidence
from mien.fusion.reliability import face_weight, voice_weight
from mien.inference.classifier import ExpressionClassifier
from mien.metrics import softmax
from mien.progress import Progress
from mien.video.io.reader import VideoReader
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.corpora import Utterance

FRAMES_PER_S = 4.0
"""Frames of a video that are measured per second."""
MAX_FRAMES = 16
"""Maximum number of frames of an utterance that are measured."""


@dataclass(frozen=True, kw_only=True)
class AudiovisualUtterance:
    """Face and voice of an utterance.

    Attributes:
        face: the largest face of the video.
        voice: all speech of the utterance.
        label: class ID of the face model.
        speaker: identifier of the speaker.
    """

    face: Evidence
    voice: Evidence
    label: int
    speaker: str


class UtteranceReader:
    """Measures utterances with a face model and a voice model.

    Args:
        classifier: face model with an embedding output.
        analyzer: voice model.
    """

    def __init__(self, classifier: ExpressionClassifier, analyzer: VoiceAnalyzer) -> None:
        self.classifier = classifier
        self.analyzer = analyzer
        self._detector = FaceDetector(threads=1, device="cpu", precision="float32")

    def read(
        self, utterances: Sequence[Utterance], *, progress: Progress | None = None
    ) -> tuple[list[AudiovisualUtterance], dict[str, str]]:
        """Return the utterances with a face and speech, and the reason for each of the others by name.

        Args:
            utterances: of a corpus with one person per video, such as RAVDESS or CREMA-D.
            progress: called after each utterance.
        """
        measured: list[AudiovisualUtterance] = []
        skipped: dict[str, str] = {}
        for done, utterance in enumerate(utterances, start=1):
            result = self._measure(utterance)
            if isinstance(result, str):
                skipped[utterance.name] = result
            else:
                measured.append(result)
            if progress:
                progress(done, len(utterances))
        return measured, skipped

    def _measure(self, utterance: Utterance) -> AudiovisualUtterance | str:
        labels = self.classifier.manifest.labels
        name = utterance.label if utterance.label in labels else MERGED.get(utterance.label, utterance.label)
        if name not in labels:
            return f"{utterance.label} is not a class of {self.classifier.manifest.name}"
        if not utterance.video or utterance.end_s is not None:
            return "no video of its own"
        try:
            face = self._measure_face(utterance.read_video())
            voice = self._measure_voice(utterance.read())
        except (InputError, DatasetError) as error:
            return str(error)
        if face is None or voice is None:
            return "no face" if face is None else "no speech"
        return AudiovisualUtterance(face=face, voice=voice, label=labels.index(name), speaker=utterance.speaker)

    def _measure_face(self, video: bytes) -> Evidence | None:
        """Return the mean prediction for the largest face of the frames."""
        manifest = self.classifier.manifest
        spec = manifest.quality_temperature
        crops, factors, visible = [], [], []
        with VideoReader(video, threads=1, fps=FRAMES_PER_S, max_side=640) as frames:
            for _, frame in zip(range(MAX_FRAMES), frames, strict=False):
                faces = self._detector.detect(frame.image)
                if faces:
                    quality = face_quality(frame.image, faces[0])
                    crops.append(self.classifier.crop(frame.image, faces[0]))
                    factors.append(spec.factor(quality) if spec else 1.0)
                    visible.append(quality.visible)
        if not crops:
            return None
        logits, embeddings = self.classifier.features(np.stack(crops))
        return Evidence(
            probabilities=softmax(logits / np.array(factors)[:, None], manifest.temperature).mean(axis=0),
            weight=face_weight(len(crops), visible=float(np.mean(visible))),
            embedding=embeddings.mean(axis=0),
        )

    def _measure_voice(self, sound: bytes) -> Evidence | None:
        """Return the mean prediction for the segments of speech, weighted by their length."""
        segments = self.analyzer.analyze(sound).segments
        if not segments:
            return None
        lengths_s = np.array([segment.end_s - segment.start_s for segment in segments])
        shares = lengths_s / lengths_s.sum()
        mean = shares @ np.stack([segment.probabilities for segment in segments])
        clipped = float(shares @ np.array([segment.prosody.clipped for segment in segments]))
        probabilities, share = to_face_classes(segments[0].labels, mean, self.classifier.manifest.labels)
        return Evidence(
            probabilities=probabilities,
            weight=voice_weight(float(lengths_s.sum()), share=share, clipped=clipped),
            embedding=shares @ np.stack([segment.embedding for segment in segments]),
        )
