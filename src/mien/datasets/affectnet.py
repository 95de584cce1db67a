"""AffectNet adapter: the manually labeled face crops, with four .npy annotation files per image.

Source:
    Mollahosseini, Hasani, Mahoor: AffectNet (IEEE Transactions on Affective Computing, 2019). The data is available
    from its owners on request.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.datasets.files import Files, dataset_path, open_files, read_labels
from mien.datasets.index import Index, Sample, hold_out_validation
from mien.emotions import BASIC_EXPRESSIONS, EXPRESSIONS
from mien.errors import DatasetError, LayoutError, reason

FOLDERS = {"train": "train_set", "test": "val_set"}
"""Folder of each split. The test split of AffectNet was never published; papers report `val_set`."""

VALIDATION_FRACTION = 0.05
"""Fraction of the training images of each class that form the validation split."""

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""Classes 0..7 of the annotations."""

MAX_CLASS_NUMBER = 10
"""Largest class number in the annotations; 8, 9 and 10 are none, uncertain and no face."""

LICENSE = "research only; ask the owners of AffectNet"
LAYOUT = "train_set/ or val_set/ with images/*.jpg and annotations/*_exp.npy, *_val.npy, *_aro.npy, *_lnd.npy"


def read_affectnet(path: str | Path) -> Index:
    """Read AffectNet with its eight expressions.

    `val_set` is the split "test", as in papers; 5 % of each class of `train_set` is the split "valid" (see
    `hold_out_validation`). Images annotated as none, uncertain or no face are skipped. Valence, arousal and five of the
    68 landmarks are read where present and valid.

    Args:
        path: folder or zip archive; the files may be in a subfolder.

    Raises:
        LayoutError: the expected folders are missing, or exist several times.
        DatasetError: a label cannot be read.
    """
    return _read(path, "affectnet", EXPRESSIONS)


def read_affectnet7(path: str | Path) -> Index:
    """Read AffectNet without contempt, as papers with seven classes do; see `read_affectnet`."""
    return _read(path, "affectnet7", BASIC_EXPRESSIONS)


def _read(path: str | Path, name: str, labels: tuple[str, ...]) -> Index:
    path = dataset_path(path)
    files = open_files(path)
    names = files.names()
    root = _find_root(path, names)
    if root:
        files = files.subfolder(root)
        names = [name.removeprefix(f"{root}/") for name in names if name.startswith(f"{root}/")]
    return Index(
        name=name,
        root=path,
        labels=labels,
        samples=hold_out_validation(_read_samples(path / root, files, names, labels), VALIDATION_FRACTION),
        license=LICENSE,
        title="AffectNet (Mollahosseini, Hasani, Mahoor, IEEE TAC 2017)",
        is_cropped=True,
        source=files,
    )


def _find_root(path: Path, names: list[str]) -> str:
    """Return the only folder that contains `train_set` or `val_set`; "" for the top folder."""
    roots: set[str] = set()
    for name in names:
        *folders, _ = name.split("/")
        if name.endswith("_exp.npy") and len(folders) > 1 and folders[-2] in FOLDERS.values():
            roots.add("/".join(folders[:-2]))
    if len(roots) != 1:
        examples = ", ".join(sorted(root or "." for root in roots)[:3])
        raise LayoutError(path, f"{LAYOUT}, once; found in several folders: {examples}" if roots else LAYOUT)
    return roots.pop()


def _read_samples(path: Path, files: Files, names: list[str], labels: tuple[str, ...]) -> Iterator[Sample]:
    """Yield a sample for each image annotated with one of `labels`, without a lookup on disk per file."""
    present = set(names)
    for split, folder in FOLDERS.items():
        prefix = f"{folder}/annotations/"
        for name in names:
            if not (name.startswith(prefix) and name.endswith("_exp.npy")):
                continue
            number = _read_class_number(path, files, name)
            expression = CLASSES[number] if number < len(CLASSES) else None
            if expression in labels:
                stem = name.removesuffix("_exp.npy")
                sample = Sample(
                    id=f"{folder}/images/{stem.removeprefix(prefix)}.jpg",
                    split=split,
                    landmarks_xy=_read_landmarks(path, files, f"{stem}_lnd.npy", present),
                    valence_arousal=_read_valence_arousal(path, files, stem, present),
                )
                yield sample.with_label(expression, labels)


def _read_class_number(path: Path, files: Files, name: str) -> int:
    values = _read_values(path, files, name)
    if values.size != 1 or values[0] not in range(MAX_CLASS_NUMBER + 1):
        raise DatasetError(f"{path / name}: expected one class number 0..{MAX_CLASS_NUMBER}.")
    return int(values[0])


def _read_valence_arousal(path: Path, files: Files, stem: str, present: set[str]) -> tuple[float, float] | None:
    """Return both, -1..1; None where one is missing, unreadable, or -2 (not annotated)."""
    values = [_read_optional(path, files, f"{stem}_{kind}.npy", present) for kind in ("val", "aro")]
    if any(value.size != 1 or not -1 <= value[0] <= 1 for value in values):
        return None
    return float(values[0][0]), float(values[1][0])


def _read_landmarks(path: Path, files: Files, name: str, present: set[str]) -> tuple[tuple[float, float], ...] | None:
    """Return eyes, nose tip and mouth corners, the subject's right first; None without 68 valid points."""
    values = _read_optional(path, files, name, present)
    if values.size != 2 * 68 or not np.isfinite(values).all():
        return None
    points = values.reshape(68, 2)
    five = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
    return tuple((float(x), float(y)) for x, y in five)


def _read_optional(path: Path, files: Files, name: str, present: set[str]) -> np.ndarray:
    """Return the numbers of an annotation (N,); (0,) where the file is missing or broken."""
    try:
        return _read_values(path, files, name) if name in present else np.empty(0)
    except DatasetError:
        return np.empty(0)


def _read_values(path: Path, files: Files, name: str) -> np.ndarray:
    """Return the numbers of an annotation (N,), which AffectNet stores partly as text."""
    try:
        return np.load(io.BytesIO(read_labels(files, name, path / name)), allow_pickle=False).astype(float).reshape(-1)
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise DatasetError(f"{path / name}: not a .npy file of numbers: {reason(error)}.") from None
