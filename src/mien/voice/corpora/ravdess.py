"""RAVDESS: acted English utterances as sound and video."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mien.voice.corpora.files import CorpusFiles
from mien.voice.corpora.utterance import Utterance

_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<label>0[1-8])-\d\d-(?P<text>\d\d)-\d\d-(?P<speaker>\d\d)"
)
_LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_SPEECH = "01"
"""Channel of spoken files; others are sung."""
_BOTH, _SILENT, _SOUND = "01", "02", "03"
"""Modalities: video with sound, video without sound, sound."""


def read_ravdess(path: Path) -> list[Utterance]:
    """Return the spoken utterances of RAVDESS: a folder or .zip file with `Actor_01/03-01-05-01-01-01-01.wav`.

    Videos (.mp4) are read too; where there is the same utterance as sound, the sound is taken, and where there is only
    a video without sound, the utterance is left out, as are sung files. The label is what the speaker was asked to act.

    Raises:
        DatasetError: see `read_emodb`.

    Source:
        Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (PLOS ONE 2018).
    """
    files = CorpusFiles(path)
    recordings = files.named(_NAME, (".wav", ".mp4"), "Actor_01/03-01-05-01-01-01-01.wav")
    forms: dict[str, dict[str, PurePosixPath]] = {}
    for file in recordings.values():
        modality, channel, rest = file.stem.split("-", 2)
        if channel == _SPEECH:
            forms.setdefault(rest, {})[modality] = file
    spoken = {
        sound.stem: (sound, form.get(_BOTH, form.get(_SILENT)))
        for form in forms.values()
        if (sound := form.get(_SOUND, form.get(_BOTH)))
    }
    parts = [(match, *spoken[name]) for name in spoken if (match := _NAME.fullmatch(name))]
    return [
        Utterance(
            name=sound.stem,
            speaker=match["speaker"],
            text=match["text"],
            label=_LABELS[match["label"]],
            path=files.locate(sound),
            video=files.locate(video),
            archive=files.archive,
        )
        for match, sound, video in parts
    ]
