"""A labeled recording of one speaker, and the classes of all corpora."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import DatasetError, reason

VOICE_CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "boredom", "calm")
"""Classes of all corpora, in the order of a voice model."""
HIGH_AROUSAL = frozenset({"happiness", "surprise", "anger", "fear"})
"""Classes with high arousal; neutral, sadness, disgust, boredom and calm have low arousal.

Source:
    The division of EmoDB by Schuller et al. (ASRU 2009).
"""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A labeled recording of one speaker.

    Attributes:
        name: file name without suffix; unique in the corpus.
        speaker: identifier of the speaker.
        text: identifier of the spoken sentence.
        label: class: what the speaker was asked to act, or what annotators perceived; see the reader of the corpus.
        path: the file with the sound, or its path inside the archive.
        archive: .zip file, or None.
        split: "train", "valid" or "test" where the corpus states it, otherwise empty.
        video: a video of the utterance, likewise; empty without one. It may lack the sound.
        start_s: start of the utterance in the video.
        end_s: its end; None: the end of the video.
        arousal: perceived arousal, -1 (calm) to 1 (excited); None where annotators have not rated it.
        votes: number of annotators by class, for "voice", "face" and "both"; empty where the corpus has none.
    """

    name: str
    speaker: str
    text: str
    label: str
    path: str
    archive: Path | None = None
    split: str = ""
    video: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    arousal: float | None = None
    votes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def is_high_arousal(self) -> bool:
        """True if the perceived arousal is above the middle; without a rating, if the class has high arousal."""
        return self.label in HIGH_AROUSAL if self.arousal is None else self.arousal > 0

    def read(self) -> bytes:
        """Return the content of the file with the sound.

        Raises:
            DatasetError: when it cannot be read.
        """
        return read_file(self.path, self.archive)

    def read_video(self) -> bytes:
        """Return the content of the file with the video; see `read`."""
        return read_file(self.video, self.archive)


def read_file(path: str, archive: Path | None) -> bytes:
    """Return the content of a file, or of a file inside a .zip file.

    Raises:
        DatasetError: when it cannot be read.
    """
    try:
        if archive is None:
            return Path(path).read_bytes()
        with zipfile.ZipFile(archive) as content:
            return content.read(path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: cannot be read: {reason(error)}.") from None
