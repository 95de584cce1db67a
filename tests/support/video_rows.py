"""Rows of video tables."""

from __future__ import annotations

from typing import Any

LABELS = ("neutral", "happiness", "surprise")


def face_row(time_s: float, label: str | None = "neutral", *, scene: int = 1, track: int = 1) -> dict[str, Any]:
    """Return the row of one face in one frame; without a label it is unsure."""
    return {
        **{"frame_index": round(time_s * 10), "timestamp_s": time_s, "scene": scene, "track_id": track},
        **{"x1": 10.0, "y1": 20.0, "x2": 60.0, "y2": 80.0, "face_confidence": 0.9, "is_face_doubtful": False},
        **{"yaw_deg": 12.0, "pitch_deg": None, "roll_deg": 0.0},
        **{"size_px": 50.0, "sharpness": 0.5, "frontality": None, "visible": 1.0},
        **{"label": label, "confidence": 0.8, "valence": None, "arousal": None},
        **{f"p_{name}": 1 / 3 for name in LABELS},
        **{f"s_{name}": 0.8 if name == label else 0.1 for name in LABELS},
    }


def face_rows(*stretches: tuple[int, int, str | None], **others: int) -> list[dict[str, Any]]:
    """Return the rows of one face at 10 frames per second: (begin, end, label) each, both in frames."""
    return [face_row(frame / 10, label, **others) for begin, end, label in stretches for frame in range(begin, end)]
