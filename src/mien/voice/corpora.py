"""Speech corpora with labels of vocal expression."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.errors import AnnotationError, DatasetError, LayoutError

EMODB_CLASSES = {
    "N": "neutral",
    "F": "happiness",
    "T": "sadness",
    "W": "anger",
    "E": "disgust",
    "A": "fear",
    "L": "boredom",
}
"""Classes of EmoDB by the letter in a file name, in the order of the model."""
HIGH_AROUSAL = frozenset({"happiness", "anger", "fear"})
"""Classes with high arousal; neutral, sadness, disgust and boredom have low arousal.

Source:
    The division of EmoDB by Schuller et al. (ASRU 2009).
"""
_EMODB_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<letter>[A-Z])(?P<version>[a-z])")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A labeled recording of one speaker.

    Attributes:
        name: file name without suffix.
        speaker: identifier of the speaker.
        text: identifier of the spoken sentence.
        label: perceived expression.
        data: content of the audio file.
    """

    name: str
    speaker: str
    text: str
    label: str
    data: bytes


def read_emodb(path: Path) -> list[Utterance]:
    """Read the Berlin Database of Emotional Speech: a folder or .zip file with `wav/03a01Fa.wav`.

    Raises:
        DatasetError: when it cannot be read, has no such file, or a name is not of this form.

    Source:
        Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech (Interspeech 2005).
    """
    utterances = []
    for name, data in _read_files(path, ".wav"):
        match = _EMODB_NAME.fullmatch(name)
        if match is None or match["letter"] not in EMODB_CLASSES:
            raise AnnotationError(path, len(utterances) + 1, f"{name}.wav is not a name of EmoDB, such as 03a01Fa.wav.")
        label = EMODB_CLASSES[match["letter"]]
        utterances.append(Utterance(name=name, speaker=match["speaker"], text=match["text"], label=label, data=data))
    if not utterances:
        raise LayoutError(path, "a folder or .zip file with wav/03a01Fa.wav")
    return utterances


def _read_files(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield name without suffix and content of the files with a suffix, sorted by name."""
    with _open_folder(path) as folder:
        files = {PurePosixPath(name).stem: name for name in folder.names() if name.lower().endswith(suffix)}
        for stem in sorted(files):
            yield stem, folder.read(files[stem])


@dataclass(frozen=True)
class _Folder:
    path: Path
    archive: zipfile.ZipFile | None = None

    def names(self) -> list[str]:
        if self.archive is not None:
            return self.archive.namelist()
        return [str(file.relative_to(self.path)) for file in self.path.rglob("*") if file.is_file()]

    def read(self, name: str) -> bytes:
        return self.archive.read(name) if self.archive is not None else (self.path / name).read_bytes()


@contextmanager
def _open_folder(path: Path) -> Iterator[_Folder]:
    try:
        if path.is_dir():
            yield _Folder(path)
            return
        with zipfile.ZipFile(path) as archive:
            yield _Folder(path, archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path}: cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}."
        ) from None
