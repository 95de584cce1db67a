"""AffectNet as its owners give it out for manual labels: face crops, and four .npy annotations an image.

Source:
    Mollahosseini, Hasani, Mahoor: AffectNet (IEEE Transactions on Affective Computing, 2019). The data is given to
    those who ask its owners.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.datasets.index import Files, Index, Sample, hold_out_validation, one_hot, open_files
from mien.emotions import AFFECTNET_CLASSES, BASIC_EXPRESSIONS, EXPRESSIONS
from mien.errors import DatasetError, LayoutError

FOLDERS = {"train": "train_set", "test": "val_set"}
"""What AffectNet calls the splits: its own test split was never published, papers report `val_set`."""

HELD_OUT = 0.05
"""The share of every class's training images that is the validation split."""

LAST_NUMBER = 10
"""The largest class number; 8, 9 and 10 are none, uncertain and no face."""

LICENSE = "research only; ask the owners of AffectNet"
LAYOUT = "train_set/ or val_set/ with images/*.jpg and annotations/*_exp.npy, *_val.npy, *_aro.npy, *_lnd.npy"


def read_affectnet(path: str | Path) -> Index:
    """Read AffectNet with its eight expressions, in a folder or a zip.

    `val_set` is the split "test", as in papers; 5 % of each class of `train_set` is the split "valid" (see
    `hold_out_validation`). Images annotated as none, uncertain or no face are skipped. Valence, arousal and five of the
    68 landmarks are read where present and valid.

    Args:
        path: the folder or zip; everything may stand in a folder further down.

    Raises:
        LayoutError: the files are not there.
        DatasetError: a label cannot be read.
    """
    return _read(path, "affectnet", EXPRESSIONS)


def read_affectnet7(path: str | Path) -> Index:
    """Read AffectNet without contempt, as papers with seven classes do; otherwise as `read_affectnet`."""
    return _read(path, "affectnet7", BASIC_EXPRESSIONS)


def _read(path: str | Path, name: str, labels: tuple[str, ...]) -> Index:
    path = Path(path)
    files: Files = open_files(path)
    names = files.names()
    home = _home(path, names)
    if home:
        files = files.below(home)
        names = [found.removeprefix(f"{home}/") for found in names if found.startswith(f"{home}/")]
    samples = _samples(path / home, files, names, labels)
    return Index(
        name=name,
        root=path,
        labels=labels,
        samples=hold_out_validation(samples, HELD_OUT),
        license=LICENSE,
        is_cropped=True,
        source=files,
    )


def _home(path: Path, names: list[str]) -> str:
    """The one folder that holds `train_set` or `val_set`; "" for the top itself."""
    homes: set[str] = set()
    for name in names:
        *folders, _ = name.split("/")
        if name.endswith("_exp.npy") and len(folders) > 1 and folders[-2] in FOLDERS.values():
            homes.add("/".join(folders[:-2]))
    if len(homes) != 1:
        several = ", ".join(sorted(home or "." for home in homes)[:3])
        raise LayoutError(path, f"{LAYOUT}; there are several: {several}" if homes else LAYOUT)
    return homes.pop()


def _samples(path: Path, files: Files, names: list[str], labels: tuple[str, ...]) -> Iterator[Sample]:
    """One sample for every annotated image of the expressions wanted. Files are looked for in the one list."""
    present = set(names)
    for split, folder in FOLDERS.items():
        start = f"{folder}/annotations/"
        for name in names:
            if not (name.startswith(start) and name.endswith("_exp.npy")):
                continue
            number = _read_number(path, files, name)
            expression = AFFECTNET_CLASSES[number] if number < len(AFFECTNET_CLASSES) else None
            if expression in labels:
                stem = name.removesuffix("_exp.npy")
                label = labels.index(expression)
                yield Sample(
                    id=f"{folder}/images/{stem.removeprefix(start)}.jpg",
                    split=split,
                    label=label,
                    label_distribution=one_hot(label, len(labels)),
                    landmarks_xy=_read_landmarks(path, files, f"{stem}_lnd.npy", present),
                    valence_arousal=_read_valence_arousal(path, files, stem, present),
                )


def _read_number(path: Path, files: Files, name: str) -> int:
    values = _read_values(path, files, name)
    if values.size != 1 or values[0] not in range(LAST_NUMBER + 1):
        raise DatasetError(f"{path / name}: expected one class number 0..{LAST_NUMBER}.")
    return int(values[0])


def _read_valence_arousal(
    path: Path, files: Files, stem: str, present: set[str]
) -> tuple[float, float] | None:
    """Both, -1..1; None where one is not there or unreadable, or is the -2 of an image without an answer."""
    values = [_read_if_any(path, files, f"{stem}_{kind}.npy", present) for kind in ("val", "aro")]
    if any(value.size != 1 or not -1 <= value[0] <= 1 for value in values):
        return None
    return float(values[0][0]), float(values[1][0])


def _read_landmarks(
    path: Path, files: Files, name: str, present: set[str]
) -> tuple[tuple[float, float], ...] | None:
    """Eyes, nose tip and mouth corners out of 68 points, the subject's right first; None without 68 points."""
    values = _read_if_any(path, files, name, present)
    if values.size != 2 * 68 or not np.isfinite(values).all():
        return None
    points = values.reshape(68, 2)
    five = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
    return tuple((float(x), float(y)) for x, y in five)


def _read_if_any(path: Path, files: Files, name: str, present: set[str]) -> np.ndarray:
    """The numbers of an annotation that is no label: none where the file is missing or broken."""
    try:
        return _read_values(path, files, name) if name in present else np.empty(0)
    except DatasetError:
        return np.empty(0)


def _read_values(path: Path, files: Files, name: str) -> np.ndarray:
    """The numbers of an annotation (N,), which AffectNet partly stores as text."""
    try:
        return np.load(io.BytesIO(files.read(name)), allow_pickle=False).astype(float).reshape(-1)
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise DatasetError(f"{path / name}: is no .npy file of numbers ({error}).") from None
