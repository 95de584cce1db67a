"""State of an unfinished recording: its settings and the last checkpoint, in the output folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import InputError
from mien.resume import check_settings
from mien.video.analysis import VideoAnalysis
from mien.video.speaking import SoundTrack
from mien.video.track_summary import SEGMENTS, TRACKS
from mien.video.turns import TURNS

STATE = "run.json"
"""Name of the checkpoint."""
TABLE = "faces.csv"
"""Name of the table by default."""
VIDEO = "annotated.mp4"
"""Name of the annotated copy."""
REPORT = "report.html"
"""Name of the report."""
ROWS = "rows.jsonl"
"""Name of the file of the rows, see `mien.video.table.RowFile`."""


def check_table_name(table: Path, folder: Path) -> None:
    """Raise `InputError` when the table is another file that a run writes into its folder, in any spelling."""
    names = (os.path.realpath(folder / name).casefold() for name in (ROWS, TRACKS, SEGMENTS, TURNS))
    if os.path.realpath(table).casefold() in names:
        raise InputError(f"{table} is another file of the run and would be overwritten; give the table another name.")


def remove_outputs(folder: Path, keep: Iterable[Path]) -> None:
    """Remove the files of an earlier run from its folder, which would pass for those of the next run."""
    # every run writes this table: without it, the files are not of a run
    if not (folder / TRACKS).is_file():
        return
    kept = {os.path.realpath(path).casefold() for path in keep}
    for name in (TABLE, TURNS, VIDEO, REPORT):
        if os.path.realpath(folder / name).casefold() not in kept:
            (folder / name).unlink(missing_ok=True)


def recording_settings(
    analysis: VideoAnalysis, sound: SoundTrack | None, *, annotate: bool, baseline: bool
) -> dict[str, Any]:
    """Return everything that has to be equal for a run to be resumed."""
    return {
        **analysis.settings(),
        "annotate": annotate,
        "blur": analysis.blur,
        "baseline": baseline,
        "voice": sound.manifest.sha256 if sound else None,
    }


def load_state(folder: Path, settings: dict[str, Any], *, resume: bool) -> dict[str, Any]:
    """Return the last checkpoint of an unfinished run, or only the settings of a new one.

    Raises:
        InputError: when the folder holds another run, or one to be resumed while `resume` is false.
    """
    path = folder / STATE
    if not path.is_file():
        return {"settings": settings}
    try:
        state = json.loads(path.read_bytes())
        was_stopped = bool(state.get("was_stopped"))
        is_complete = (folder / ROWS).stat().st_size >= state["length"]
    except (ValueError, LookupError, TypeError, AttributeError, FileNotFoundError):
        state, was_stopped, is_complete = {}, False, False
    if not resume and not was_stopped:
        raise InputError(f"{folder} holds an unfinished run; give mien video --resume or another --output.")
    if not resume:
        path.unlink()
        return {"settings": settings}
    if not is_complete:
        raise InputError(f"{path} is damaged; remove it to start over.")
    check_settings(folder, state.get("settings"), settings, "give another --output")
    return state


def mark_stopped(folder: Path) -> bool:
    """Mark the last checkpoint as that of a stopped run; return False when there is none."""
    path = folder / STATE
    if not path.is_file():
        return False
    write_atomic(path, json.dumps({**json.loads(path.read_bytes()), "was_stopped": True}))
    return True
