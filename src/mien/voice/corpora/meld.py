"""MELD: utterances of a television series, labeled by annotators who saw and heard them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mien.errors import AnnotationError, LayoutError
from mien.voice.corpora.files import CorpusFiles
from mien.voice.corpora.utterance import Utterance

_TABLES = {"train_sent_emo.csv": "train", "dev_sent_emo.csv": "valid", "test_sent_emo.csv": "test"}
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
_LABELS = {
    "neutral": "neutral",
    "joy": "happiness",
    "surprise": "surprise",
    "sadness": "sadness",
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
}
_CLIP = re.compile(r"dia\d+_utt\d+")
_FOLDERS = {"train_splits": "train", "dev_splits_complete": "valid", "output_repeated_splits_test": "test"}
_SHORT_FOLDERS = {"train": "train", "dev": "valid", "test": "test"}


def read_meld(path: Path) -> list[Utterance]:
    """Return the utterances of MELD: the unpacked folder, or a .zip file of it.

    It has `train_sent_emo.csv`, `dev_sent_emo.csv` and `test_sent_emo.csv`, and `train_splits/dia0_utt0.mp4`,
    `dev_splits_complete/` and `output_repeated_splits_test/`; folders called `train`, `dev` and `test` are accepted.
    Utterances without a video are left out: the published archives lack a few. The label is the majority of three
    annotators who saw the video and read the dialog. The speaker is the name of the character.

    Raises:
        DatasetError: see `read_emodb`.

    Source:
        Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea: MELD (ACL 2019).
    """
    files = CorpusFiles(path)
    clips = {
        (split, file.stem): file
        for file in files.paths
        if file.suffix.lower() == ".mp4" and _CLIP.fullmatch(file.stem) and (split := _split(file))
    }
    utterances = [
        utterance for table in files.paths if table.name in _TABLES for utterance in _read_table(files, table, clips)
    ]
    if not utterances:
        raise LayoutError(path, "train_sent_emo.csv with train_splits/dia0_utt0.mp4")
    return utterances


def _split(file: PurePosixPath) -> str:
    """Return the split of the innermost folder that names one; empty without one."""
    for folder in reversed(file.parts[:-1]):
        if split := _FOLDERS.get(folder) or _SHORT_FOLDERS.get(folder):
            return split
    return ""


def _read_table(
    files: CorpusFiles, table: PurePosixPath, clips: dict[tuple[str, str], PurePosixPath]
) -> list[Utterance]:
    """Return the utterances of a split that have a video."""
    split = _TABLES[table.name]
    utterances = []
    for line, row in files.table(table, _COLUMNS):
        clip = clips.get((split, f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"))
        label = _LABELS.get(row["Emotion"].strip().lower())
        if label is None:
            raise AnnotationError(files.locate(table), line, f"{row['Emotion']!r} is not a class of MELD.")
        if clip is None:
            continue
        utterances.append(
            Utterance(
                name=f"{split}_{clip.stem}",
                speaker=row["Speaker"].strip(),
                text=row["Utterance"],
                label=label,
                path=files.locate(clip),
                video=files.locate(clip),
                archive=files.archive,
                split=split,
            )
        )
    return utterances
