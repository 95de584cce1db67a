"""Speaking turns of a video, from its rows and its speech."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mien.fusion import MAX_CONFLICT, conflict, face_weight, log_linear_pool, to_face_classes, voice_weight
from mien.inference.analyzer import Analyzer
from mien.manifest import Manifest
from mien.results import Expression, VideoFrame, choose_label
from mien.video.mouths import MouthMeter
from mien.video.speakers import MouthSeries, SpeakerMatch, find_speaker
from mien.video.table import frame_rows
from mien.video.turns import FaceVoiceFusion, SpeakingTurn
from mien.voice.result import VoiceResult, VoiceSegment

MOUTH = "mouth_opening"
"""Column of the mouth opening in the rows of a video, see `mien.video.mouths`."""
MIN_FRONTALITY = 0.1
"""Frontality below which the weight of a face does not fall further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SoundTrack:
    """The speech of a video.

    Attributes:
        voice: result for the sound of the file.
        manifest: of the voice model.
    """

    voice: VoiceResult
    manifest: Manifest

    @property
    def spans_s(self) -> list[tuple[float, float]]:
        """Start and end of each speech segment in seconds of the video."""
        offset_s = self.voice.offset_s
        return [(segment.start_s + offset_s, segment.end_s + offset_s) for segment in self.voice]


@dataclass(frozen=True, kw_only=True, eq=False)
class _FaceSamples:
    """The measurements of one face, in frames with a prediction.

    Attributes:
        scene: number of the scene.
        track_id: number of the face.
        times_s: (N,) ascending.
        openings: (N,) mouth opening.
        quality: (N, 2) frontality and visible share, NaN where unknown.
        probabilities: (N, C) of the single frames.
    """

    scene: int
    track_id: int
    times_s: np.ndarray
    openings: np.ndarray
    quality: np.ndarray
    probabilities: np.ndarray


def find_speaking_turns(
    frames: Iterable[VideoFrame], sound: SoundTrack, analyzer: Analyzer
) -> tuple[SpeakingTurn, ...]:
    """Return the speaking turns of a video.

    Args:
        frames: of `analyze_video` with the same analyzer, with their pixels; the iterator is exhausted.
        sound: the speech of the same file.
        analyzer: fits the landmark mesh; its manifest names the classes.

    Example:
        >>> analyzer, voices = mien.Analyzer(), mien.VoiceAnalyzer()  # doctest: +SKIP
        >>> frames = mien.analyze_video("clip.mp4", analyzer=analyzer)  # doctest: +SKIP
        >>> sound = SoundTrack(voice=voices.analyze("clip.mp4"), manifest=voices.manifest)  # doctest: +SKIP
        >>> turns = find_speaking_turns(frames, sound, analyzer)  # doctest: +SKIP
        >>> [(turn.start_s, turn.track_id, turn.fusion.pooled.label) for turn in turns if turn.fusion]  # doctest: +SKIP
        [(0.77, 1, 'happiness'), (4.93, 2, 'neutral')]
    """
    meter = MouthMeter(analyzer.mesh, sound.spans_s)
    rows = (row for frame in frames for row in speaking_rows(frame, meter))
    return join_turns(rows, sound, analyzer.manifest)


def speaking_rows(frame: VideoFrame, meter: MouthMeter) -> list[dict[str, Any]]:
    """Return the rows of a frame, see `mien.video.table`, with the mouth openings."""
    openings = meter.measure(frame)
    rows = frame_rows(frame)
    for row in rows:
        row[MOUTH] = openings.get(row["track_id"])
    return rows


def join_turns(
    rows: Iterable[Mapping[str, Any]], sound: SoundTrack, face_manifest: Manifest
) -> tuple[SpeakingTurn, ...]:
    """Return the speaking turns of a video from its rows, in the order of time.

    Args:
        rows: of `speaking_rows`, in time order.
        sound: the speech of the video.
        face_manifest: of the expression model.
    """
    faces = _read_faces(rows, face_manifest.labels)
    mouths = [MouthSeries(times_s=face.times_s, openings=face.openings) for face in faces]
    turns = []
    for segment, (start_s, end_s) in zip(sound.voice, sound.spans_s, strict=True):
        match = find_speaker(sound.voice.envelope, mouths, start_s, end_s, sound_start_s=sound.voice.offset_s)
        face = None if match.speaker is None else faces[match.speaker]
        turns.append(_turn(segment, (start_s, end_s), match, face, face_manifest))
    return tuple(turns)


def _turn(
    segment: VoiceSegment,
    span_s: tuple[float, float],
    match: SpeakerMatch,
    face: _FaceSamples | None,
    face_manifest: Manifest,
) -> SpeakingTurn:
    return SpeakingTurn(
        start_s=span_s[0],
        end_s=span_s[1],
        status=match.status,
        scene=face.scene if face else None,
        track_id=face.track_id if face else None,
        speaker_confidence=match.confidence,
        correlation=match.match.correlation if match.match else None,
        delay_s=match.match.delay_s if match.match else None,
        voice=segment,
        fusion=_fuse(segment, span_s, face, face_manifest) if face else None,
    )


def _fuse(
    segment: VoiceSegment, span_s: tuple[float, float], face: _FaceSamples, face_manifest: Manifest
) -> FaceVoiceFusion:
    """Return the fusion of a voice segment with the predictions for a face during the segment."""
    inside = slice(*np.searchsorted(face.times_s, span_s).tolist())
    count = len(face.times_s[inside])
    frontality, visible = (_known_mean(values) for values in face.quality[inside].T)
    on_face = face.probabilities[inside].mean(axis=0)
    in_voice, share = to_face_classes(segment.labels, segment.probabilities, face_manifest.labels)
    on_face_weight = face_weight(
        count,
        frontality=None if frontality is None else max(frontality, MIN_FRONTALITY),
        visible=1.0 if visible is None else visible,
    )
    in_voice_weight = voice_weight(span_s[1] - span_s[0], share=share, clipped=segment.prosody.clipped)
    probabilities = log_linear_pool(np.stack([on_face, in_voice]), np.array([on_face_weight, in_voice_weight]))
    pooled = _expression(probabilities, face_manifest)
    bits = conflict(on_face, in_voice, share=share) if share > 0 else None
    return FaceVoiceFusion(
        face=_expression(on_face, face_manifest),
        pooled=pooled if bits is None or bits < MAX_CONFLICT else replace(pooled, label=None),
        face_weight=on_face_weight,
        voice_weight=in_voice_weight,
        conflict=bits,
    )


def _known_mean(values: np.ndarray) -> float | None:
    """Return the mean of the known values (N,), None if all are NaN."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _expression(probabilities: np.ndarray, manifest: Manifest) -> Expression:
    label, confidence = choose_label(manifest.labels, probabilities, manifest.abstain_below)
    return Expression(labels=manifest.labels, probabilities=probabilities, label=label, confidence=confidence)


def _read_faces(rows: Iterable[Mapping[str, Any]], labels: Sequence[str]) -> list[_FaceSamples]:
    """Return the measured faces, in the order of appearance; a scene and a number are one face."""
    names = ["timestamp_s", MOUTH, "frontality", "visible", *(f"p_{label}" for label in labels)]
    samples: dict[tuple[int, int], array[float]] = {}
    for row in rows:
        if row.get(MOUTH) is not None:
            values = samples.setdefault((row["scene"], row["track_id"]), array("d"))
            values.extend(np.nan if row.get(name) is None else float(row[name]) for name in names)
    faces = []
    for (scene, track_id), values in samples.items():
        table = np.array(values).reshape(-1, len(names))
        face = _FaceSamples(
            scene=scene,
            track_id=track_id,
            times_s=table[:, 0],
            openings=table[:, 1],
            quality=table[:, 2:4],
            probabilities=table[:, 4:],
        )
        faces.append(face)
    return faces
