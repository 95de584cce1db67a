"""Writes small data sets in the published layouts, so that the adapters are tested without the real ones."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

USAGES = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
HEADER = ["Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
HEADER += ["contempt", "unknown", "NF"]

HAPPY = (0, 9, 0, 1, 0, 0, 0, 0, 0, 0)
SAD = (2, 0, 0, 8, 0, 0, 0, 0, 0, 0)
TORN = (4, 4, 2, 0, 0, 0, 0, 0, 0, 0)
UNKNOWN = (1, 1, 0, 0, 0, 0, 0, 0, 8, 0)

FERPLUS = {
    "FER2013Train": [("fer0000000.png", HAPPY), ("fer0000001.png", SAD), ("", (0,) * 9 + (10,))],
    "FER2013Valid": [("fer0028638.png", TORN), ("fer0028639.png", HAPPY)],
    "FER2013Test": [("fer0032220.png", UNKNOWN), ("fer0032221.png", SAD)],
}
"""Folder: image names (empty: an image that FER+ dropped) and votes."""


def pixels_of(name: str) -> np.ndarray:
    """48 x 48 grey values that belong to a file name."""
    seed = sum(ord(letter) * 7**place for place, letter in enumerate(name[-8:]))
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def png_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_picture(path: Path, name: str | None = None) -> None:
    """A PNG whose pixels belong to `name`, or else to the path's own name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(pixels_of(name or path.name)))


def write_csv(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_ferplus(root: Path, folders: tuple[str, ...] = tuple(FERPLUS), *, with_table: bool = True) -> Path:
    """The official layout. `with_table=False`: only `label.csv` in each folder."""
    for folder in folders:
        named = [(name, votes) for name, votes in FERPLUS[folder] if name]
        for name, _ in named:
            write_picture(root / folder / name)
        write_csv(root / folder / "label.csv", [[name, "(0, 0, 48, 48)", *votes] for name, votes in named])
    if with_table:
        write_new_csv(root / "fer2013new.csv", folders)
    return root


def write_new_csv(path: Path, folders: tuple[str, ...] = tuple(FERPLUS)) -> None:
    rows = [[USAGES[folder], name, *votes] for folder in folders for name, votes in FERPLUS[folder]]
    write_csv(path, [list(HEADER), *rows])


def write_kaggle(root: Path) -> Path:
    """The pair `fer2013.csv` and `fer2013new.csv`."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["emotion,pixels,Usage"]
    for folder, images in FERPLUS.items():
        for name, _ in images:
            lines.append(f"3,{' '.join(map(str, pixels_of(name).ravel()))},{USAGES[folder]}")
    (root / "fer2013.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_new_csv(root / "fer2013new.csv")
    return root


def zip_folder(folder: Path, path: Path, *, top: str = "") -> Path:
    """The folder's files as a zip, below one top folder when it is named."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, str(Path(top) / file.relative_to(folder)))
    return path
