"""Subtitles with the labels of all faces: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from mien.interchange.face_names import face_names
from mien.video.label_segments import LabelSegment


def to_srt(segments: Sequence[LabelSegment]) -> str:
    """Return SubRip subtitles: one cue for every stretch in which no label changes."""
    cues = [
        f"{number}\n{_clock(start_ms, ',')} --> {_clock(end_ms, ',')}\n{text}\n"
        for number, (start_ms, end_ms, text) in enumerate(_cues(segments), start=1)
    ]
    return "\n".join(cues)


def to_vtt(segments: Sequence[LabelSegment]) -> str:
    """Return WebVTT subtitles: one cue for every stretch in which no label changes."""
    cues = [
        f"{_clock(start_ms, '.')} --> {_clock(end_ms, '.')}\n{escape(text, quote=False)}\n"
        for start_ms, end_ms, text in _cues(segments)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _cues(segments: Sequence[LabelSegment]) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in milliseconds and the text of every cue, in time order; cues do not overlap."""
    names = face_names(segments)
    ending: dict[int, list[tuple[int, int]]] = defaultdict(list)
    starting: dict[int, list[LabelSegment]] = defaultdict(list)
    for segment in segments:
        start_ms, end_ms = round(segment.start_s * 1000), round(segment.end_s * 1000)
        if start_ms < end_ms:
            starting[start_ms].append(segment)
            ending[end_ms].append((segment.scene, segment.track_id))
    held: dict[tuple[int, int], str] = {}
    for time_ms, next_ms in pairwise(sorted({*starting, *ending})):
        for face in ending[time_ms]:
            del held[face]
        held |= {(segment.scene, segment.track_id): segment.label for segment in starting[time_ms]}
        if held:
            yield time_ms, next_ms, "\n".join(f"{names[face]}: {label}" for face, label in sorted(held.items()))


def _clock(milliseconds: int, separator: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{rest:03}"
