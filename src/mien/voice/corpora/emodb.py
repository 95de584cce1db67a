"""EmoDB: 535 acted German utterances."""

from __future__ import annotations

import re
from pathlib import Path

from mien.voice.corpora.files import CorpusFiles
from mien.voice.corpora.utterance import Utterance

_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<label>[WLEAFTN])[a-z]")
_LABELS = {"N": "neutral", "F": "happiness", "T": "sadness", "W": "anger", "E": "disgust", "A": "fear", "L": "boredom"}


def read_emodb(path: Path) -> list[Utterance]:
    """Return the utterances of the Berlin Database of Emotional Speech: a folder or .zip file with `wav/03a01Fa.wav`.

    The label is what the speaker was asked to act.

    Raises:
        DatasetError: when it cannot be read, has no such file, or a name is not of this form.

    Source:
        Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech (Interspeech 2005).
    """
    files = CorpusFiles(path)
    recordings = files.named(_NAME, (".wav",), "wav/03a01Fa.wav")
    parts = [(match, file) for file in recordings.values() if (match := _NAME.fullmatch(file.stem))]
    return [
        Utterance(
            name=file.stem,
            speaker=match["speaker"],
            text=match["text"],
            label=_LABELS[match["label"]],
            path=files.locate(file),
            archive=files.archive,
        )
        for match, file in parts
    ]
