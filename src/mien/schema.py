"""The JSON schema of results: what `to_dict`, `--json`, the HTTP API, the TypeScript types and the tables contain.

Every record is a msgspec struct. `json_schema` gives their JSON Schema; `table_columns` and `flatten_face` give the
columns of tables. Other modules convert to these records and define no second schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Share = Annotated[float, Meta(ge=0, le=1)]
Point = Annotated[list[float], Meta(min_length=2, max_length=2)]


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records: frozen, keyword-only, without further keys."""


class HeadPoseRecord(Record, frozen=True, kw_only=True):
    """Rotation of the head in degrees; all zero for a face that looks into the camera."""

    yaw: Annotated[float, Meta(description="positive when the subject turns to their own left")]
    pitch: Annotated[float, Meta(description="positive when the subject looks up")]
    roll: Annotated[float, Meta(description="positive when the head tilts to the subject's own left shoulder")]


class GazeRecord(Record, frozen=True, kw_only=True):
    """Direction of the eyes in the head in degrees; zero when they look straight out of the face."""

    yaw: Annotated[float, Meta(description="positive when the eyes turn to the subject's own left")]
    pitch: Annotated[float, Meta(description="positive when the eyes look up")]


class QualityRecord(Record, frozen=True, kw_only=True):
    """How suitable a face is for prediction."""

    size_px: Annotated[float, Meta(description="shorter side of the box in pixels")]
    sharpness: Annotated[float, Meta(description="0 (blurred) to 1 (crisp)")]
    frontality: Annotated[
        float | None, Meta(description="1 (frontal) to 0 (profile); null when the head pose is unknown")
    ]
    visible: Annotated[float, Meta(description="share of the box inside the image, 0 to 1")]


class ExpressionRecord(Record, frozen=True, kw_only=True):
    """The perceived expression of a face: what people would see in it, not what the person feels."""

    label: Annotated[str | None, Meta(description="most probable class; null when the model abstains")]
    confidence: Annotated[Share, Meta(description="probability of the most probable class")]
    probabilities: Annotated[dict[str, float], Meta(description="calibrated probability of every class; they sum to 1")]
    valence: Annotated[
        float | None, Meta(description="-1 (negative) to 1 (positive), derived from the probabilities unless `affect`")
    ]
    arousal: Annotated[
        float | None, Meta(description="-1 (calm) to 1 (excited), derived from the probabilities unless `affect`")
    ]
    affect: Annotated[
        str | UnsetType,
        Meta(description="`trained` when valence and arousal are predicted by a regression head of the model"),
    ] = UNSET


class FaceRecord(Record, frozen=True, kw_only=True):
    """A detected face. Coordinates are pixels of the upright image."""

    track_id: Annotated[int | UnsetType, Meta(description="number of the track in its scene, video only")] = UNSET
    bbox_xyxy: Annotated[list[float], Meta(min_length=4, max_length=4, description="left, top, right, bottom")]
    confidence: Annotated[Share, Meta(description="confidence of the face detector")]
    is_face_doubtful: Annotated[
        bool,
        Meta(description="true for an uncertain detection without a face mesh, perhaps not a face; it has no label"),
    ]
    landmarks_xy: Annotated[
        list[Point],
        Meta(
            min_length=5,
            max_length=5,
            description="the subject's right eye, left eye, nose tip, right and left mouth corner",
        ),
    ]
    head_pose_deg: HeadPoseRecord | None
    quality: QualityRecord | None
    expression: ExpressionRecord | None
    action_units: Annotated[
        dict[str, Share] | UnsetType, Meta(description="estimated intensity of facial movements, on request only")
    ] = UNSET
    blendshapes: Annotated[
        dict[str, Share] | UnsetType, Meta(description="MediaPipe's coefficients, beside action_units")
    ] = UNSET
    gaze_deg: Annotated[
        GazeRecord | UnsetType | None, Meta(description="beside action_units; null when the eyes are closed")
    ] = UNSET
    smoothed: Annotated[
        ExpressionRecord | UnsetType | None, Meta(description="expression smoothed over time, video only")
    ] = UNSET
    smoothed_action_units: Annotated[
        dict[str, Share] | UnsetType, Meta(description="action units smoothed over time, on request and video only")
    ] = UNSET
    smoothed_gaze_deg: Annotated[
        GazeRecord | UnsetType | None, Meta(description="beside smoothed_action_units; null while the eyes are closed")
    ] = UNSET


class ErrorRecord(Record, frozen=True, kw_only=True):
    """Why an image could not be analyzed."""

    code: Annotated[str, Meta(description="stable identifier for programs")]
    message: Annotated[str, Meta(description="explanation for people")]


class ResultRecord(Record, frozen=True, kw_only=True):
    """The faces of one image: a line of `mien predict --json`."""

    image: Annotated[str, Meta(description="path or name of the image")]
    width: Annotated[int, Meta(ge=0, description="in pixels, upright; 0 when the image could not be read")]
    height: Annotated[int, Meta(ge=0, description="in pixels, upright; 0 when the image could not be read")]
    faces: Annotated[list[FaceRecord], Meta(description="largest first; empty without faces")]
    warnings: Annotated[list[str], Meta(description="what may keep faces from being found; mostly empty")]
    error: ErrorRecord | None


class VideoFrameRecord(Record, frozen=True, kw_only=True):
    """The tracked faces of one video frame: a line of `mien video --json`."""

    frame_index: Annotated[int, Meta(ge=0, description="number of the frame in its source, from 0")]
    timestamp_s: Annotated[float, Meta(description="presentation time in seconds since the first frame")]
    scene: Annotated[int, Meta(ge=1, description="number of the scene, from 1")]
    faces: list[FaceRecord]


class ProsodyRecord(Record, frozen=True, kw_only=True):
    """Measured properties of a speech segment; they describe the sound and are not predictions."""

    pitch_hz: Annotated[float | None, Meta(description="median of the voiced frames; null without them")]
    pitch_range_semitones: Annotated[float | None, Meta(description="from the 10th to the 90th percentile")]
    voiced: Annotated[Share, Meta(description="share of the frames with a pitch")]
    level_dbfs: Annotated[float, Meta(description="level (RMS) in decibels below full scale")]
    syllables_per_s: Annotated[float, Meta(ge=0, description="estimated rate of syllables")]
    clipped: Annotated[Share, Meta(description="share of samples at full scale")]


class VoiceSegmentRecord(Record, frozen=True, kw_only=True):
    """How a speech segment sounds to listeners, not what the speaker feels."""

    start_s: Annotated[float, Meta(ge=0, description="seconds since the start of the sound")]
    end_s: Annotated[float, Meta(ge=0, description="seconds since the start of the sound")]
    arousal: Annotated[float, Meta(ge=-1, le=1, description="-1 (calm) to 1 (excited)")]
    label: Annotated[str | None, Meta(description="experimental: most probable class; null when the model abstains")]
    confidence: Annotated[Share, Meta(description="probability of the most probable class")]
    probabilities: Annotated[dict[str, float], Meta(description="experimental: probability of every class; sum 1")]
    prosody: ProsodyRecord


class VoiceRecord(Record, frozen=True, kw_only=True):
    """The speech of one file: a line of `mien voice --json`."""

    audio: Annotated[str, Meta(description="path or name of the file")]
    duration_s: Annotated[float, Meta(ge=0, description="of the sound; 0 when it could not be read")]
    segments: Annotated[list[VoiceSegmentRecord], Meta(description="in the order of time; empty without speech")]
    warnings: Annotated[list[str], Meta(description="what makes predictions unreliable; mostly empty")]
    error: ErrorRecord | None


class FusionRecord(Record, frozen=True, kw_only=True):
    """Face and voice of a speaking turn, each by itself and pooled."""

    face: Annotated[ExpressionRecord, Meta(description="mean of the predictions for the face during the turn")]
    pooled: Annotated[ExpressionRecord, Meta(description="log-linear pool of face and voice")]
    face_weight: Annotated[Share, Meta(description="weight of the face in the pool")]
    voice_weight: Annotated[Share, Meta(description="weight of the voice in the pool")]
    conflict: Annotated[
        Share | None, Meta(description="divergence of face and voice; null when they have no class in common")
    ]


class SpeakingTurnRecord(Record, frozen=True, kw_only=True):
    """A speech segment of a video with the face that speaks: a line of `mien video --voice --json`."""

    start_s: Annotated[float, Meta(description="seconds since the first frame")]
    end_s: Annotated[float, Meta(description="seconds since the first frame")]
    status: Annotated[str, Meta(description="assigned, no_match, ambiguous or too_short")]
    scene: Annotated[int | None, Meta(description="number of the scene of the speaking face; null without one")]
    track_id: Annotated[int | None, Meta(description="number of the speaking face in its scene; null without one")]
    speaker_confidence: Annotated[Share, Meta(description="weight of the best face against all other explanations")]
    correlation: Annotated[float | None, Meta(description="of the mouth of the best face with the sound")]
    delay_s: Annotated[float | None, Meta(description="delay of the sound against that mouth")]
    voice: Annotated[VoiceSegmentRecord, Meta(description="the sound; its times are those of the sound")]
    fusion: Annotated[FusionRecord | None, Meta(description="face and voice together; null without a face")]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the records that the server returns, by name, under `$defs`."""
    _, components = msgspec.json.schema_components((ResultRecord, VideoFrameRecord), ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": components}


FACE_COLUMNS: dict[str, type] = {
    "x1": float,
    "y1": float,
    "x2": float,
    "y2": float,
    "face_confidence": float,
    "is_face_doubtful": bool,
    **{f"{name}_deg": float for name in HeadPoseRecord.__struct_fields__},
    **dict.fromkeys(QualityRecord.__struct_fields__, float),
}
"""Columns of a face without its expression: box, detection, head pose and quality."""


def movement_columns(action_units: Sequence[str]) -> dict[str, type]:
    """Return the columns of estimated action units and gaze; none without action units."""
    gaze = [f"gaze_{name}_deg" for name in GazeRecord.__struct_fields__] if action_units else []
    return dict.fromkeys([*action_units, *gaze], float)


def table_columns(labels: Sequence[str], action_units: Sequence[str] = ()) -> dict[str, type]:
    """Return the columns of an image table and their types; `p_NAME` is the probability of a class."""
    return {
        **{"image": str, "width": int, "height": int, "face": int},
        **FACE_COLUMNS,
        **{"label": str, "confidence": float, "valence": float, "arousal": float},
        **{f"p_{name}": float for name in labels},
        **movement_columns(action_units),
        **{"error": str, "message": str},
    }


def flatten_face(face: FaceRecord) -> dict[str, Any]:
    """Return a face as the cells of a table row; a cell without a value is absent."""
    row: dict[str, Any] = dict(zip(("x1", "y1", "x2", "y2"), face.bbox_xyxy, strict=True))
    row |= {"face_confidence": face.confidence, "is_face_doubtful": face.is_face_doubtful}
    if face.head_pose_deg is not None:
        row |= {f"{name}_deg": angle for name, angle in msgspec.structs.asdict(face.head_pose_deg).items()}
    if face.quality is not None:
        row |= msgspec.structs.asdict(face.quality)
    if face.expression is not None:
        row |= {"label": face.expression.label, "confidence": face.expression.confidence}
        row |= {"valence": face.expression.valence, "arousal": face.expression.arousal}
        row |= {f"p_{name}": value for name, value in face.expression.probabilities.items()}
    if face.action_units is not UNSET:
        row |= face.action_units
    if face.gaze_deg is not UNSET and face.gaze_deg is not None:
        row |= {f"gaze_{name}_deg": angle for name, angle in msgspec.structs.asdict(face.gaze_deg).items()}
    return row


def flatten_result(result: ResultRecord) -> list[dict[str, Any]]:
    """Return the table rows of an image, one per face; an image without faces has one row."""
    shared: dict[str, Any] = {"image": result.image, "width": result.width, "height": result.height}
    if result.error is not None:
        shared |= {"error": result.error.code, "message": result.error.message}
    rows = [{**shared, "face": number, **flatten_face(face)} for number, face in enumerate(result.faces, start=1)]
    return rows or [shared]


def voice_columns(labels: Sequence[str]) -> dict[str, type]:
    """Return the columns of a voice table and their types; `p_NAME` is the probability of a class."""
    return {
        **{"audio": str, "segment": int, "start_s": float, "end_s": float, "arousal": float},
        **{"label": str, "confidence": float},
        **{f"p_{name}": float for name in labels},
        **dict.fromkeys(ProsodyRecord.__struct_fields__, float),
        **{"error": str, "message": str},
    }


def flatten_voice(record: VoiceRecord) -> list[dict[str, Any]]:
    """Return the table rows of a file, one per segment; a file without speech has one row."""
    shared: dict[str, Any] = {"audio": record.audio}
    if record.error is not None:
        shared |= {"error": record.error.code, "message": record.error.message}
    rows = []
    for number, segment in enumerate(record.segments, start=1):
        row = {name: getattr(segment, name) for name in ("start_s", "end_s", "arousal", "label", "confidence")}
        row |= {f"p_{name}": value for name, value in segment.probabilities.items()}
        rows.append({**shared, "segment": number, **row, **msgspec.structs.asdict(segment.prosody)})
    return rows or [shared]


def turn_columns(face_labels: Sequence[str], voice_labels: Sequence[str]) -> dict[str, type]:
    """Return the columns of a table of speaking turns and their types.

    `label`, `confidence`, `valence` and `arousal` are those of face and voice together, and so are the probabilities
    `p_NAME`; `face_...` and `voice_...` are those of one modality.
    """
    return {
        **{"start_s": float, "end_s": float, "status": str, "scene": int, "track_id": int},
        **dict.fromkeys(("speaker_confidence", "correlation", "delay_s"), float),
        **{"label": str, "confidence": float, "valence": float, "arousal": float, "conflict": float},
        **{"face_label": str, "face_valence": float, "face_arousal": float, "face_weight": float},
        **{"voice_label": str, "voice_arousal": float, "voice_weight": float},
        **{f"p_{name}": float for name in face_labels},
        **{f"face_p_{name}": float for name in face_labels},
        **{f"voice_p_{name}": float for name in voice_labels},
    }


def flatten_turn(turn: SpeakingTurnRecord) -> dict[str, Any]:
    """Return a speaking turn as the cells of a table row; a cell without a value is absent."""
    names = ("start_s", "end_s", "status", "scene", "track_id", "speaker_confidence", "correlation", "delay_s")
    row: dict[str, Any] = {name: getattr(turn, name) for name in names}
    row |= {"voice_label": turn.voice.label, "voice_arousal": turn.voice.arousal}
    row |= {f"voice_p_{name}": value for name, value in turn.voice.probabilities.items()}
    if turn.fusion is not None:
        pooled, face = turn.fusion.pooled, turn.fusion.face
        row |= {name: getattr(pooled, name) for name in ("label", "confidence", "valence", "arousal")}
        row |= {f"face_{name}": getattr(face, name) for name in ("label", "valence", "arousal")}
        row |= {name: getattr(turn.fusion, name) for name in ("conflict", "face_weight", "voice_weight")}
        row |= {f"p_{name}": value for name, value in pooled.probabilities.items()}
        row |= {f"face_p_{name}": value for name, value in face.probabilities.items()}
    return row


def valid_text(text: str) -> str:
    """Replace the bytes of a file name that are not UTF-8, which Python keeps as surrogates."""
    # Windows keeps halves of UTF-16 pairs, other systems bytes
    whole = re.sub(r"[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
