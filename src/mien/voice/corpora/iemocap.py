"""IEMOCAP: five sessions of two actors each, labeled and rated by annotators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mien.errors import LayoutError
from mien.voice.corpora.files import CorpusFiles
from mien.voice.corpora.utterance import Utterance

_LINE = re.compile(
    r"\[(?P<start>[\d.]+) - (?P<end>[\d.]+)\]\t(?P<name>(?P<dialog>Ses\d\d[FM]_\w+)_[FM]\d{3})\t(?P<label>[a-z]{3})\t"
    r"\[(?P<valence>[\d.]+), (?P<arousal>[\d.]+), (?P<dominance>[\d.]+)\]"
)
_LABELS = {
    "neu": "neutral",
    "hap": "happiness",
    "exc": "happiness",
    "sur": "surprise",
    "sad": "sadness",
    "ang": "anger",
    "dis": "disgust",
    "fea": "fear",
}
"""Classes; frustration (fru), other (oth) and no agreement (xxx) have none. Excitement counts as happiness."""


def read_iemocap(path: Path) -> list[Utterance]:
    """Return the labeled utterances of IEMOCAP: the folder with `Session1`, or a .zip file of it.

    A session has `dialog/EmoEvaluation/Ses01F_impro01.txt` with labels and times,
    `sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`, and `dialog/avi/DivX/Ses01F_impro01.avi`, which shows both
    actors beside each other during a whole dialog. The label is the majority of the annotators; arousal is the mean of
    their ratings. A speaker is a session and F or M. Utterances without a class or a sound file are left out.

    Raises:
        DatasetError: see `read_emodb`.

    Source:
        Busso, Bulut, Lee et al.: IEMOCAP (Language Resources and Evaluation 2008).
    """
    files = CorpusFiles(path)
    sounds = {file.stem: file for file in files.paths if file.suffix == ".wav" and "sentences" in file.parts}
    videos = {file.stem: file for file in files.paths if file.suffix in (".avi", ".mp4")}
    utterances = []
    for match in _labeled_lines(files):
        label = _LABELS.get(match["label"])
        sound = sounds.get(match["name"])
        if label is None or sound is None:
            continue
        video = videos.get(match["dialog"])
        utterances.append(
            Utterance(
                name=match["name"],
                speaker=match["name"][3:5] + match["name"][-4],
                text=match["name"],
                label=label,
                path=files.locate(sound),
                archive=files.archive,
                video=files.locate(video),
                start_s=float(match["start"]) if video else 0.0,
                end_s=float(match["end"]) if video else None,
                arousal=(float(match["arousal"]) - 3) / 2,
            )
        )
    if not utterances:
        example = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt and Session1/sentences/wav"
        raise LayoutError(path, f"a folder or .zip file with {example}")
    return utterances


def _labeled_lines(files: CorpusFiles) -> Iterator[re.Match[str]]:
    """Yield the lines of the summaries with times, label and ratings; those of single annotators are left out."""
    for file in files.paths:
        if file.suffix == ".txt" and PurePosixPath(file).parent.name == "EmoEvaluation":
            yield from filter(None, map(_LINE.fullmatch, files.read(file).decode("utf-8", "replace").splitlines()))
