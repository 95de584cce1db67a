"""Result of a recorded video analysis, and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mien.video.timeline import Timeline
from mien.video.turns import SpeakingTurn


@dataclass(kw_only=True)
class Counts:
    """Progress of a run.

    Attributes:
        frames: number of analyzed frames.
        faces: number of rows in the table.
        end_s: time of the last frame.
        broken: number of broken frames, which are left out.
        dropped: number of frames of a live source that were replaced by newer ones.
        work_s: seconds of work.
    """

    frames: int = 0
    faces: int = 0
    end_s: float = 0.0
    broken: int = 0
    dropped: int = 0
    work_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Result of a run.

    Attributes:
        counts: frames and faces.
        timeline: the faces over time.
        turns: the speaking turns, with a sound track; empty without speech.
        files: the files written.
        problems: one line for each reason why images of a sequence are missing, or a stream or camera failed.
        was_stopped: true when Ctrl-C ended it early.
        is_resumable: true when it was stopped and `record` can continue it.
        is_truncated: true when the video ended early.
        has_failed: true when a network stream or a camera failed; `problems` has the reason.
        is_copy_stopped: true when it was stopped in the second pass over the video, so that the copy is missing.
        is_copy_truncated: true when the second pass ended early by itself.
    """

    counts: Counts
    timeline: Timeline
    turns: tuple[SpeakingTurn, ...]
    files: tuple[Path, ...]
    problems: tuple[str, ...]
    was_stopped: bool
    is_resumable: bool
    is_truncated: bool
    has_failed: bool
    is_copy_stopped: bool
    is_copy_truncated: bool
