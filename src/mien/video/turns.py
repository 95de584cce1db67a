"""Result types of speaking turns: who speaks, and face and voice together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.results import Expression, Recordable
from mien.schema import FusionRecord, SpeakingTurnRecord, flatten_turn, turn_columns
from mien.table_files import TableFile
from mien.video.speakers import SpeakerStatus
from mien.voice.result import VoiceSegment

TURNS = "turns.csv"
"""Name of the table in an output folder."""
NO_FACE = {"no_match": "no visible face", "ambiguous": "several faces fit", "too_short": "too short to tell"}
"""Why a turn has no face, as text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceVoiceFusion(Recordable):
    """Face and voice of a speaking turn, each by itself and pooled.

    Attributes:
        face: mean of the predictions for the face during the turn.
        pooled: log-linear pool of the face and the voice, within the classes of the face.
        face_weight: weight of the face in the pool, 0..1; see `mien.fusion.face_weight`.
        voice_weight: weight of the voice, likewise.
        conflict: Jensen-Shannon divergence of both, 0 (equal) to 1; None when they have no class in common. Classes
            that only the voice has count as agreement; see `mien.fusion.conflict`.
    """

    face: Expression
    pooled: Expression
    face_weight: float
    voice_weight: float
    conflict: float | None

    def to_record(self) -> FusionRecord:
        """Return the struct of `mien.schema`."""
        return FusionRecord(
            face=self.face.to_record(),
            pooled=self.pooled.to_record(),
            face_weight=round(self.face_weight, 4),
            voice_weight=round(self.voice_weight, 4),
            conflict=None if self.conflict is None else round(self.conflict, 4),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SpeakingTurn(Recordable):
    """One speech segment of a video. Face and voice are what others perceive, not what the speaker feels.

    Attributes:
        start_s: seconds since the first frame of the video.
        end_s: likewise.
        status: see `mien.video.speakers`; only an "assigned" turn has a face.
        scene: number of the scene of the speaking face; None without one.
        track_id: number of the speaking face in its scene; None without one.
        speaker_confidence: see `SpeakerMatch.confidence`.
        correlation: of the mouth opening of the best face with the sound; None when no face could be compared.
        delay_s: delay of the sound against that mouth.
        voice: the segment of the sound; its times are those of the sound.
        fusion: face and voice together; None without a face.
    """

    start_s: float
    end_s: float
    status: SpeakerStatus
    scene: int | None
    track_id: int | None
    speaker_confidence: float
    correlation: float | None
    delay_s: float | None
    voice: VoiceSegment
    fusion: FaceVoiceFusion | None = None

    def to_record(self) -> SpeakingTurnRecord:
        """Return the struct of `mien.schema`."""
        return SpeakingTurnRecord(
            start_s=round(self.start_s, 3),
            end_s=round(self.end_s, 3),
            status=self.status,
            scene=self.scene,
            track_id=self.track_id,
            speaker_confidence=round(self.speaker_confidence, 4),
            correlation=None if self.correlation is None else round(self.correlation, 3),
            delay_s=self.delay_s,
            voice=self.voice.to_record(),
            fusion=self.fusion.to_record() if self.fusion else None,
        )


def write_turns(
    path: Path, turns: Sequence[SpeakingTurn], face_labels: Sequence[str], voice_labels: Sequence[str]
) -> None:
    """Write speaking turns as .csv, .jsonl or .parquet.

    Raises:
        InputError: when the table cannot be written.
        MissingExtraError: for Parquet without pyarrow.
    """
    with TableFile(path, turn_columns(face_labels, voice_labels)) as file:
        file.write([flatten_turn(turn.to_record()) for turn in turns])
