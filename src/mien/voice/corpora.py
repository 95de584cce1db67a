"""Speech corpora with labels of vocal expression: EmoDB, CREMA-D and RAVDESS in their published layouts."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.errors import AnnotationError, DatasetError, LayoutError

VOICE_CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "boredom", "calm")
"""Classes of all corpora, in the order of a voice model."""
HIGH_AROUSAL = frozenset({"happiness", "surprise", "anger", "fear"})
"""Classes with high arousal; neutral, sadness, disgust, boredom and calm have low arousal.

Source:
    The division of EmoDB by Schuller et al. (ASRU 2009).
"""
_EMODB_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<label>[WLEAFTN])[a-z]")
_EMODB_LABELS = {
    "N": "neutral",
    "F": "happiness",
    "T": "sadness",
    "W": "anger",
    "E": "disgust",
    "A": "fear",
    "L": "boredom",
}
_CREMA_D_NAME = re.compile(r"(?P<speaker>\d{4})_(?P<text>[A-Z]{3})_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{2}")
_CREMA_D_LABELS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
_RAVDESS_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<label>0[1-8])-\d\d-(?P<text>\d\d)-\d\d-(?P<speaker>\d\d)"
)
_RAVDESS_LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_SILENT, _SONG = "02", "02"
"""Modality of RAVDESS files without sound, and channel of those that are sung."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A labeled recording of one speaker.

    Attributes:
        name: file name without suffix.
        speaker: identifier of the speaker.
        text: identifier of the spoken sentence.
        label: expression that the speaker was asked to act.
        path: the file, or its path inside the archive.
        archive: .zip file, or None.
    """

    name: str
    speaker: str
    text: str
    label: str
    path: str
    archive: Path | None = None

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            DatasetError: when it cannot be read.
        """
        try:
            if self.archive is None:
                return Path(self.path).read_bytes()
            with zipfile.ZipFile(self.archive) as archive:
                return archive.read(self.path)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{self.path}: cannot be read: {_problem(error)}.") from None


def read_emodb(path: Path) -> list[Utterance]:
    """Return the utterances of the Berlin Database of Emotional Speech: a folder or .zip file with `wav/03a01Fa.wav`.

    Raises:
        DatasetError: when it cannot be read, has no such file, or a name is not of this form.

    Source:
        Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech (Interspeech 2005).
    """
    return _read_corpus(path, (".wav",), _EMODB_NAME, _EMODB_LABELS, "wav/03a01Fa.wav")


def read_crema_d(path: Path) -> list[Utterance]:
    """Return the utterances of CREMA-D: a folder or .zip file with `AudioWAV/1001_DFA_ANG_XX.wav`.

    Raises:
        DatasetError: see `read_emodb`.

    Source:
        Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D (IEEE Trans. Affective Computing 2014).
    """
    return _read_corpus(path, (".wav",), _CREMA_D_NAME, _CREMA_D_LABELS, "AudioWAV/1001_DFA_ANG_XX.wav")


def read_ravdess(path: Path) -> list[Utterance]:
    """Return the spoken utterances of RAVDESS: a folder or .zip file with `Actor_01/03-01-05-01-01-01-01.wav`.

    Videos (.mp4) are read too; where there is the same utterance as sound, the sound is taken. Sung and silent files
    are left out.

    Raises:
        DatasetError: see `read_emodb`.

    Source:
        Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (PLOS ONE 2018).
    """
    example = "Actor_01/03-01-05-01-01-01-01.wav"
    found = _read_corpus(path, (".wav", ".mp4"), _RAVDESS_NAME, _RAVDESS_LABELS, example)
    parts = [(utterance.name.split("-", 2), utterance) for utterance in found]
    spoken = {
        rest: utterance for (modality, channel, rest), utterance in parts if channel != _SONG and modality != _SILENT
    }
    return list(spoken.values())


READERS: dict[str, Callable[[Path], list[Utterance]]] = {
    "emodb": read_emodb,
    "crema-d": read_crema_d,
    "ravdess": read_ravdess,
}
"""Reader of each corpus."""


def _read_corpus(
    path: Path, suffixes: tuple[str, ...], pattern: re.Pattern[str], labels: dict[str, str], example: str
) -> list[Utterance]:
    """Return the files with one of the suffixes, sorted by name; speaker, text and label come from the name.

    Of several files with one name, as in copies of a corpus that contain it twice, the last is returned.
    """
    archive = None if path.is_dir() else path
    utterances: dict[str, Utterance] = {}
    for file in sorted(_files(path), key=lambda file: PurePosixPath(file).name):
        name, suffix = PurePosixPath(file).stem, PurePosixPath(file).suffix
        if suffix.lower() not in suffixes:
            continue
        match = pattern.fullmatch(name)
        if match is None:
            expected = PurePosixPath(example).name
            raise AnnotationError(path, len(utterances) + 1, f"{name}{suffix} is not a name such as {expected}.")
        utterances[name] = Utterance(
            name=name,
            speaker=match["speaker"],
            text=match["text"],
            label=labels[match["label"]],
            path=file,
            archive=archive,
        )
    if not utterances:
        raise LayoutError(path, f"a folder or .zip file with {example}")
    return list(utterances.values())


def _files(path: Path) -> Iterator[str]:
    """Yield the paths of the files in a folder or a .zip file, without those of macOS."""
    try:
        if path.is_dir():
            names = [file.as_posix() for file in path.rglob("*") if file.is_file()]
        else:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: cannot be read: {_problem(error)}.") from None
    yield from (name for name in names if not PurePosixPath(name).name.startswith("._"))


def _problem(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
