"""CREMA-D: 7,442 acted English utterances as sound and video, with the votes of a crowd."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from mien.errors import AnnotationError
from mien.voice.corpora.files import CorpusFiles
from mien.voice.corpora.utterance import Utterance

_NAME = re.compile(r"(?P<speaker>\d{4})_(?P<text>[A-Z]{3})_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{1,2}")
_LABELS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
_VIDEOS = (".flv", ".mp4")
_VOTES = "tabulatedVotes.csv"
_MODALITIES = {"1": "voice", "2": "face", "3": "both"}
"""First digit of the row number of a table of votes: the row number is 100,000 times this plus that of the clip."""
Votes = dict[str, dict[str, int]]


def read_crema_d(path: Path) -> list[Utterance]:
    """Return the utterances of CREMA-D: a folder or .zip file with `AudioWAV/1001_DFA_ANG_XX.wav`.

    Videos (`VideoFlash/1001_DFA_ANG_XX.flv`, or .mp4) are read where they are there, and the votes of the crowd for
    face, voice and both from `processedResults/tabulatedVotes.csv`. The label is what the speaker was asked to act.

    Raises:
        DatasetError: see `read_emodb`.

    Source:
        Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D (IEEE Trans. Affective Computing 2014).
    """
    files = CorpusFiles(path)
    recordings = files.named(_NAME, (".wav", *_VIDEOS), "AudioWAV/1001_DFA_ANG_XX.wav")
    votes = _read_votes(files)
    utterances = []
    for name in dict.fromkeys(file.stem for file in recordings.values()):
        match = _NAME.fullmatch(name)
        assert match is not None
        video = next((recordings[name + suffix] for suffix in _VIDEOS if name + suffix in recordings), None)
        utterances.append(
            Utterance(
                name=name,
                speaker=match["speaker"],
                text=match["text"],
                label=_LABELS[match["label"]],
                path=files.locate(recordings.get(f"{name}.wav", video)),
                video=files.locate(video),
                archive=files.archive,
                # the table names the one file with a single-letter intensity, 1040_ITH_SAD_X, with two letters
                votes=votes.get(name) or votes.get(f"{name}X", {}),
            )
        )
    return utterances


def _read_votes(files: CorpusFiles) -> dict[str, Votes]:
    """Return the votes of every clip by modality; empty without the table."""
    letters = {name[0]: label for name, label in _LABELS.items()}
    votes: defaultdict[str, Votes] = defaultdict(dict)
    for path in (path for path in files.paths if path.name == _VOTES):
        for line, row in files.table(path, ("", "fileName", *letters)):
            modality = _MODALITIES.get(row[""][:1])
            counts = [row[letter].strip() for letter in letters]
            if modality is None or not all(count.isdecimal() for count in counts):
                raise AnnotationError(
                    files.locate(path), line, "expected a row number of 100000 to 399999, and counts."
                )
            votes[row["fileName"].strip()][modality] = dict(zip(letters.values(), map(int, counts), strict=True))
    return votes
