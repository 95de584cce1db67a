"""BORIS projects (.boris): label segments as state events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mien.interchange.face_names import face_names
from mien.video.io.sources import VideoInfo
from mien.video.label_segments import LabelSegment

_PROJECT_FORMAT = "7.0"


def to_boris(segments: Sequence[LabelSegment], labels: Sequence[str], media: Path, info: VideoInfo) -> str:
    """Return a BORIS project with one observation: labels are state events, faces are subjects.

    Args:
        segments: see `mien.video.label_segments`.
        labels: class names, the ethogram.
        media: the video.
        info: its properties; without a duration the end of the last segment is the length.

    Source:
        BORIS 8, project format 7.0.
    """
    now = datetime.now().isoformat(timespec="seconds")
    names = face_names(segments)
    events: list[list[Any]] = []
    for segment in segments:
        subject = names[segment.scene, segment.track_id]
        comment = f"confidence {segment.confidence:.2f}"
        events.append([round(segment.start_s, 3), subject, segment.label, "", comment])
        events.append([round(segment.end_s, 3), subject, segment.label, "", ""])
    # a face that changes its label ends one state and starts the next at the same time: the end comes first
    events.sort(key=lambda event: (event[0], event[1], event[4] != ""))
    path = str(media.resolve())
    last_s = max((segment.end_s for segment in segments), default=0.0)
    length_s = round(last_s if info.duration_s is None else info.duration_s, 3)
    observation = {
        "type": "MEDIA",
        "date": now,
        "description": "perceived facial expression, predicted by mien",
        "file": {"1": [path], **{str(player): [] for player in range(2, 9)}},
        "media_info": {
            "length": {path: length_s},
            "fps": {path: round(info.fps or 0.0, 3)},
            "hasVideo": {path: True},
            "hasAudio": {path: info.has_audio},
            "offset": {"1": 0.0},
        },
        "time offset": 0.0,
        "events": events,
        "independent_variables": {},
        "observation time interval": [0, 0],
    }
    project = {
        "project_format_version": _PROJECT_FORMAT,
        "project_name": media.stem,
        "project_date": now,
        "project_description": "",
        "time_format": "hh:mm:ss",
        "subjects_conf": {
            str(number): {"key": "", "name": name, "description": ""} for number, name in enumerate(names.values())
        },
        "behaviors_conf": {str(number): _behavior(label) for number, label in enumerate(labels)},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
        "observations": {media.stem: observation},
    }
    return json.dumps(project, indent=1, ensure_ascii=False) + "\n"


def _behavior(label: str) -> dict[str, Any]:
    return {
        "type": "State event",
        "key": "",
        "code": label,
        "description": f"face that appears to express {label}",
        "color": "",
        "category": "",
        "modifiers": {},
        "excluded": "",
        "coding map": "",
    }
