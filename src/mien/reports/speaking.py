"""Content of the video report about speech: voice lanes and the table of speaking turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mien.number_format import UNDEFINED, clock, whole_percent
from mien.reports.time_charts import Chart, Span
from mien.video.turns import NO_FACE, SpeakingTurn

MAX_LISTED_TURNS = 200
"""Maximum number of turns in the table."""
TABLE_HEAD = ("time", "speaker", "face", "voice (experimental)", "both", "conflict", "voice arousal")
_MIN_WIDTH = 2
_WIDTH = 1000


def voice_chart(turns: Sequence[SpeakingTurn], span: Span) -> Chart:
    """Return the turns within a span as blocks, and their arousal as bars from the middle: up is excited."""
    blocks = ""
    bars = ""
    for turn in turns:
        left = round(_WIDTH * max(span.position(turn.start_s), 0) / 100)
        right = round(_WIDTH * min(span.position(turn.end_s), 100) / 100)
        width = max(right - left, _MIN_WIDTH)
        if right <= 0 or left >= _WIDTH:
            continue
        height = round(50 * turn.voice.arousal)
        blocks += f"M{left} 0h{width}v100h-{width}z"
        bars += f"M{left} 50h{width}v{-height}h-{width}z"
    paths = (("turn", blocks), ("arousal", bars)) if blocks else ()
    return Chart(css="voice", view_box=f"0 0 {_WIDTH} 100", paths=paths)


def turns_of(turns: Sequence[SpeakingTurn], scene: int, track_id: int) -> list[SpeakingTurn]:
    """Return the turns of one face."""
    return [turn for turn in turns if (turn.scene, turn.track_id) == (scene, track_id)]


def turns_without_face(turns: Sequence[SpeakingTurn]) -> list[SpeakingTurn]:
    """Return the turns that belong to no face."""
    return [turn for turn in turns if turn.track_id is None]


def turn_cells(turn: SpeakingTurn, length_s: float, name_of: Callable[[int, int], str]) -> list[str]:
    """Return the cells of a turn under `TABLE_HEAD`.

    Args:
        turn: the turn.
        length_s: of the video.
        name_of: returns the name of a face by scene and number.
    """
    times = f"{clock(turn.start_s, length_s, decimals=1)} to {clock(turn.end_s, length_s, decimals=1)}"
    face = both = disagreement = UNDEFINED
    speaker = NO_FACE.get(turn.status, "")
    if turn.fusion is not None and turn.scene is not None and turn.track_id is not None:
        speaker = f"{name_of(turn.scene, turn.track_id)} ({whole_percent(turn.speaker_confidence)})"
        face = _label(turn.fusion.face.label, turn.fusion.face.confidence)
        both = _label(turn.fusion.pooled.label, turn.fusion.pooled.confidence)
        if turn.fusion.conflict is not None:
            disagreement = f"{turn.fusion.conflict:.2f}"
    voice = _label(turn.voice.label, turn.voice.confidence)
    return [times, speaker, face, voice, both, disagreement, f"{turn.voice.arousal:+.2f}"]


def table_values(turns: Sequence[SpeakingTurn], length_s: float, name_of: Callable[[int, int], str]) -> dict[str, Any]:
    """Return the values of the template for the table of turns."""
    listed = turns[:MAX_LISTED_TURNS]
    return {
        "turn_head": TABLE_HEAD,
        "turns": [turn_cells(turn, length_s, name_of) for turn in listed],
        "turn_count": len(turns),
    }


def _label(label: str | None, confidence: float) -> str:
    return "not sure" if label is None else f"{label} {whole_percent(confidence)}"
