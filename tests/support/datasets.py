"""Small synthetic data sets in the published layouts."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

USAGES = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
HEADER = ["Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
HEADER += ["contempt", "unknown", "NF"]

HAPPY = (0, 9, 0, 1, 0, 0, 0, 0, 0, 0)
SAD = (2, 0, 0, 8, 0, 0, 0, 0, 0, 0)
TIED = (4, 4, 2, 0, 0, 0, 0, 0, 0, 0)
UNKNOWN = (1, 1, 0, 0, 0, 0, 0, 0, 8, 0)

FERPLUS = {
    "FER2013Train": [("fer0000000.png", HAPPY), ("fer0000001.png", SAD), ("", (0,) * 9 + (10,))],
    "FER2013Valid": [("fer0028638.png", TIED), ("fer0028639.png", HAPPY)],
    "FER2013Test": [("fer0032220.png", UNKNOWN), ("fer0032221.png", SAD)],
}
"""Image names and votes of each folder. An empty name marks an image that FER+ dropped."""


def make_pixels(name: str) -> np.ndarray:
    """Return random gray values (48, 48) uint8, seeded by a file name."""
    seed = sum(ord(letter) * 7**place for place, letter in enumerate(name[-8:]))
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_image(path: Path, name: str | None = None) -> None:
    """Write a PNG with the pixels of `name`, by default the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(make_pixels(name or path.name)))


def write_csv(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_ferplus(root: Path, folders: tuple[str, ...] = tuple(FERPLUS), *, with_table: bool = True) -> Path:
    """Write FER+ in the official layout; without `with_table`, only with `label.csv` in each folder."""
    for folder in folders:
        named = [(name, votes) for name, votes in FERPLUS[folder] if name]
        for name, _ in named:
            write_image(root / folder / name)
        write_csv(root / folder / "label.csv", [[name, "(0, 0, 48, 48)", *votes] for name, votes in named])
    if with_table:
        write_new_csv(root / "fer2013new.csv", folders)
    return root


def add_training_face(root: Path, name: str, votes: tuple[int, ...]) -> None:
    """Add an image with votes to the training split of `write_ferplus`."""
    write_image(root / "FER2013Train" / name)
    for table, row in (
        ("FER2013Train/label.csv", (name, "(0, 0, 48, 48)", *votes)),
        ("fer2013new.csv", ("Training", name, *votes)),
    ):
        with (root / table).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)


def write_new_csv(path: Path, folders: tuple[str, ...] = tuple(FERPLUS)) -> None:
    """Write the table `fer2013new.csv` of the votes."""
    rows = [[USAGES[folder], name, *votes] for folder in folders for name, votes in FERPLUS[folder]]
    write_csv(path, [list(HEADER), *rows])


def write_kaggle(root: Path) -> Path:
    """Write FER+ as the Kaggle pair `fer2013.csv` and `fer2013new.csv`."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["emotion,pixels,Usage"]
    for folder, images in FERPLUS.items():
        for name, _ in images:
            lines.append(f"3,{' '.join(map(str, make_pixels(name).ravel()))},{USAGES[folder]}")
    (root / "fer2013.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_new_csv(root / "fer2013new.csv")
    return root


def zip_folder(folder: Path, path: Path, *, top: str = "") -> Path:
    """Write the files of a folder to a zip archive, optionally below a top folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, str(Path(top) / file.relative_to(folder)))
    return path


# Drawn faces for RAF-DB, AffectNet and FER2013: mouth and brows depend on the class, so that a network can learn it.

RAFDB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
FER2013 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Classes of FER2013 in the order of their numbers, as RAFDB and AFFECTNET above."""

EXPRESSION_SHAPES = {
    "neutral": (0.0, 0.02, 0.0),
    "happiness": (0.09, 0.05, 0.0),
    "surprise": (0.0, 0.2, -0.05),
    "sadness": (-0.07, 0.02, -0.06),
    "anger": (-0.04, 0.04, 0.09),
    "disgust": (-0.09, 0.09, 0.03),
    "fear": (-0.02, 0.13, -0.09),
    "contempt": (0.03, 0.02, 0.04),
}
"""Height of the mouth corners, opening of the mouth, and slope of the brows, relative to the side."""

FACE_POINTS = ((0.34, 0.42), (0.66, 0.42), (0.5, 0.58), (0.37, 0.74), (0.63, 0.74))
"""Subject's right eye, left eye, nose, right and left mouth corner of a drawn face, relative to the side."""


def draw_face(expression: str, number: int = 0, side: int = 100) -> np.ndarray:
    """Draw a face (side, side, 3) uint8 RGB; `number` seeds skin tone, background, noise and small offsets."""
    rng = np.random.default_rng(number)
    up, gap, brow = np.array(EXPRESSION_SHAPES[expression]) + rng.normal(0, 0.008, 3)
    big = 4 * side
    image = Image.new("RGB", (big, big), tuple(rng.integers(30, 220, 3).tolist()))
    draw = ImageDraw.Draw(image)
    tone = rng.uniform(0.45, 1.0)

    def shape(box: tuple[float, float, float, float], color: tuple[int, int, int]) -> None:
        draw.ellipse([value * big for value in box], fill=color)

    shape((0.12, 0.02, 0.88, 0.98), tuple(int(part * tone) for part in (240, 200, 170)))
    for x, inside in ((0.34, 1), (0.66, -1)):
        shape((x - 0.07, 0.38, x + 0.07, 0.46), (245, 245, 245))
        shape((x - 0.03, 0.385, x + 0.03, 0.455), (35, 25, 20))
        brows = [(x - 0.09 * inside, 0.32 - brow / 2), (x + 0.09 * inside, 0.32 + brow / 2)]
        draw.line([(a * big, b * big) for a, b in brows], fill=(50, 35, 25), width=big // 40)
    draw.line([(0.5 * big, 0.45 * big), (0.47 * big, 0.58 * big), (0.53 * big, 0.58 * big)], (90, 60, 50), big // 90)
    bend = [(x, 0.74 - up * (abs(x - 0.5) / 0.13) ** 2 + 0.5 * up) for x in np.linspace(0.37, 0.63, 21)]
    lips = [(x, y - gap / 2 * np.sin((x - 0.37) / 0.26 * np.pi)) for x, y in bend]
    lips += [(x, y + gap / 2 * np.sin((x - 0.37) / 0.26 * np.pi)) for x, y in reversed(bend)]
    draw.polygon([(x * big, y * big) for x, y in lips], fill=(110, 25, 35), outline=(120, 40, 45), width=big // 60)
    pixels = np.array(image.resize((side, side), Image.Resampling.BOX)) + rng.normal(0, 4, (side, side, 1))
    return pixels.clip(0, 255).astype(np.uint8)


def encode_jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _face_specs(classes: tuple[str, ...], train: int, test: int) -> list[tuple[str, int, str, int]]:
    """Return split, number in the split (from 1), class and seed of every face, cycling through the classes."""
    return [
        (split, number + 1, classes[number % len(classes)], start + number)
        for split, count, start in (("train", train, 0), ("test", test, 100_000))
        for number in range(count * len(classes))
    ]


def write_rafdb(
    root: Path, layout: str = "official", *, train: int = 10, test: int = 4, images: str = "aligned"
) -> Path:
    """Write RAF-DB with drawn faces, 100 x 100.

    Args:
        root: folder for `basic/`, or `DATASET/`, or `train/` and `test/`; created if missing.
        layout: "official", "repacked" or "efficientface".
        train: faces per class in train; the adapter holds out 10 % of them, at least one, as valid.
        test: faces per class in test.
        images: images of the official layout: "aligned", or "original", photographs 200 x 160 with an off-center face.
    """
    codes: dict[str, list[str]] = {"train": [], "test": []}
    for split, number, expression, seed in _face_specs(RAFDB, train, test):
        stem = f"{split}_{number:05d}" if split == "train" else f"{split}_{number:04d}"
        code = RAFDB.index(expression) + 1
        face = draw_face(expression, seed)
        if layout == "official":
            codes[split].append(f"{stem}.jpg {code}\n")
            _write_rafdb_face(root / "basic", stem, face, seed, images)
        elif layout == "repacked":
            codes[split].append(f"{stem}_aligned.jpg,{code}\n")
            _write_bytes(root / "DATASET" / split / str(code) / f"{stem}_aligned.jpg", encode_jpeg(face))
        else:
            _write_bytes(root / split / str(AFFECTNET.index(expression)) / f"{stem}_aligned.jpg", encode_jpeg(face))
    if layout == "official":
        lines = "".join(codes["train"] + codes["test"])
        _write_bytes(root / "basic/EmoLabel/list_patition_label.txt", lines.encode())
    elif layout == "repacked":
        for split, lines in codes.items():
            (root / f"{split}_labels.csv").write_text("".join(["image,label\n", *lines]), encoding="utf-8")
    return root


RAFDB_FACE_OFFSET = (70, 30)
"""Left and upper edge of the face in a synthetic photograph of RAF-DB, in pixels."""


def _write_rafdb_face(basic: Path, stem: str, face: np.ndarray, seed: int, images: str) -> None:
    """Write one image of the official layout and its annotation, with landmarks in the original."""
    x, y = RAFDB_FACE_OFFSET
    if images == "original":
        photograph = np.full((160, 200, 3), 60, dtype=np.uint8)
        photograph[y : y + 100, x : x + 100] = face
        _write_bytes(basic / "Image/original" / f"{stem}.jpg", encode_jpeg(photograph))
    else:
        _write_bytes(basic / "Image/aligned" / f"{stem}_aligned.jpg", encode_jpeg(face))
    points = [f"{x + 100 * a:.2f}\t{y + 100 * b:.2f}" for a, b in FACE_POINTS]
    lines = [*points, seed % 3, seed // 3 % 3, seed // 2 % 5]
    text = "".join(f"{line}\n" for line in lines)
    _write_bytes(basic / "Annotation/manual" / f"{stem}_manu_attri.txt", text.encode())


def write_affectnet(root: Path, *, train: int = 10, test: int = 4, landmarks: bool = True) -> Path:
    """Write AffectNet with drawn faces, 112 x 112, and one image without a face in each split.

    Args:
        root: folder for `train_set/` and `val_set/`; created if missing.
        train: faces per class in train_set; the adapter holds out 5 % of them, at least one, as valid.
        test: faces per class in val_set.
        landmarks: whether to write the 68 landmarks.
    """
    for split, number, expression, seed in _face_specs(AFFECTNET, train, test):
        folder = root / {"train": "train_set", "test": "val_set"}[split]
        _write_bytes(folder / "images" / f"{number}.jpg", encode_jpeg(draw_face(expression, seed, 112)))
        notes = folder / "annotations"
        notes.mkdir(exist_ok=True)
        np.save(notes / f"{number}_exp.npy", np.array(str(AFFECTNET.index(expression))))
        np.save(notes / f"{number}_val.npy", np.array(str(round(EXPRESSION_SHAPES[expression][0] * 10, 3))))
        np.save(notes / f"{number}_aro.npy", np.array(str(round(EXPRESSION_SHAPES[expression][1] * 4, 3))))
        if landmarks:
            np.save(notes / f"{number}_lnd.npy", _sixty_eight_points(112).reshape(-1))
    for folder in ("train_set", "val_set"):
        _write_bytes(root / folder / "images" / "900000.jpg", encode_jpeg(np.full((112, 112, 3), 90, np.uint8)))
        for name, value in (("exp", "10"), ("val", "-2"), ("aro", "-2")):
            np.save(root / folder / "annotations" / f"900000_{name}.npy", np.array(value))
    return root


def _sixty_eight_points(side: int) -> np.ndarray:
    """Return 68 landmarks of a drawn face: rings around the eyes, nose tip and mouth corners, others at the center."""
    points = np.full((68, 2), 0.5)
    ring = 0.05 * np.stack([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)], axis=1)
    right, left, nose, mouth_right, mouth_left = np.array(FACE_POINTS)
    points[36:42], points[42:48] = right + ring, left + ring
    points[30], points[48], points[54] = nose, mouth_right, mouth_left
    return points * side


def write_fer2013(root: Path, *, train: int = 10, valid: int = 4, test: int = 4) -> Path:
    """Write `fer2013.csv` with drawn gray faces, given their number per class and split, and return its path."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["emotion,pixels,Usage"]
    for usage, count, start in (("Training", train, 0), ("PublicTest", valid, 50_000), ("PrivateTest", test, 100_000)):
        for number in range(count * len(FER2013)):
            code = number % len(FER2013)
            face = Image.fromarray(draw_face(FER2013[code], start + number, 48)).convert("L")
            lines.append(f"{code},{' '.join(map(str, np.array(face).ravel().tolist()))},{usage}")
    path = root / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
