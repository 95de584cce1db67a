"""A sheet of training faces as the network will see them: the plain crop, then its variations."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from mien.datasets import Index, Sample
from mien.datasets.face_store import prepare_faces
from mien.drawing.cards import rounded, text_font
from mien.errors import DatasetError, InputError
from mien.reports.plot_style import printable_name
from mien.theme import LIGHT, class_color
from mien.training.config import AugmentConfig, Config
from mien.training.data import (
    Batches,
    Faces,
    gather_faces,
    read_excluded,
    read_index,
    unusable_ids,
    usable_rows,
)

CELL, GAP, RADIUS = 128, 10, 8
"""Side of a crop on the sheet, the space between two, and how round the corners are, in pixels."""

PAD, NAMES, HEAD, LINE, COLUMN_HEAD = 44, 176, 76, 21, 48
"""The border, the width of the names, the heights of the title, of a line of settings, and of the columns' names."""

MIN_WIDTH = 760
"""A sheet of few views is as wide as this, so that its title has room."""

LARGEST = 64
"""Most faces, and most views of each."""


@dataclass(frozen=True, kw_only=True)
class PreviewRow:
    """One face of the sheet.

    Attributes:
        name: the class it shows most.
        label_distribution: (C,) what the data set says of it.
        plain: (S, S, 3) uint8, the crop that evaluation and inference would cut.
        views: (V, S, S, 3) uint8, what training would be given.
    """

    name: str
    label_distribution: np.ndarray
    plain: np.ndarray
    views: np.ndarray


def draw_preview(config: Config, *, faces: int = 8, views: int = 8) -> Image.Image:
    """The sheet of a recipe: one row a face, its plain crop first.

    Args:
        config: the recipe; its data set is read, but only the faces shown are looked for. The seed chooses them.
        faces: how many, the classes taking turns.
        views: variations of each.

    Raises:
        InputError: a number out of range.
        DatasetError: the training split has no usable face.
    """
    for name, count in (("faces", faces), ("views", views)):
        if not 1 <= count <= LARGEST:
            raise InputError(f"{name} is {count}; expected 1 to {LARGEST}.")
    index = read_index(config.data)
    rows = _read_rows(index, config, faces, views)
    return _draw_sheet(config, index, rows, views)


def choose_faces(index: Index, config: Config, count: int) -> list[Sample]:
    """Samples that training would use, drawn by the recipe's seed, classes taking turns in their order."""
    rows = usable_rows(index, "train", read_excluded(index, config.data))
    classes: dict[int, list[Sample]] = {label: [] for label in range(len(index.labels))}
    for place in np.random.default_rng(config.training.seed).permutation(len(rows)):
        sample = index.samples[rows[place]]
        classes[int(np.argmax(sample.label_distribution))].append(sample)
    turns = [(turn, label) for label, members in classes.items() for turn in range(len(members))]
    chosen = sorted(sorted(turns)[:count], key=lambda place: (place[1], place[0]))
    return [classes[label][turn] for turn, label in chosen]


def _read_rows(index: Index, config: Config, faces: int, views: int) -> list[PreviewRow]:
    """Prepare and vary the chosen faces; those that cannot be read or have no face are left out."""
    chosen = replace(index, samples=tuple(choose_faces(index, config, faces)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = prepare_faces(chosen, Path(folder), patch=config.data.patch, workers=1)
        unusable = unusable_ids(chosen, store)
        places = [place for place, sample in enumerate(chosen.samples) if sample.id not in unusable]
        if not places:
            raise DatasetError(
                f"{index.root}: none of the images could be read, or has a face: {min(unusable)}, ..."
            )
        prepared = gather_faces(chosen, store, places)
        varied = _vary(prepared, config, views)
        cut = {"size": config.data.size, "template": config.data.template, "margin": config.data.margin}
        plain = [store.crop(place, **cut) for place in places]
    return [
        PreviewRow(
            name=index.labels[int(np.argmax(target))], label_distribution=target, plain=crop, views=seen
        )
        for target, crop, seen in zip(prepared.label_distribution.numpy(), plain, varied, strict=True)
    ]


def _vary(faces: Faces, config: Config, views: int) -> np.ndarray:
    """(N, views, S, S, 3) uint8: every step of training shows each face once, in an order of its own."""
    one_batch = replace(
        config,
        data=replace(config.data, balance=0.0),
        training=replace(config.training, batch=len(faces.rows), accumulate=1),
    )
    orders: list[np.ndarray] = []

    def note_order(places: Tensor, crops: Tensor) -> Tensor:
        orders.append(places.numpy())
        return faces.label_distribution[places]

    batches = Batches(faces, one_batch, note_order)
    size = config.data.size
    varied = np.zeros((len(faces.rows), views, size, size, 3), dtype=np.uint8)
    for view in range(views):
        images, _ = batches.at(view)
        varied[orders[view], view] = images.round().clamp(0, 255).permute(0, 2, 3, 1).byte().numpy()
    return varied


def _draw_sheet(config: Config, index: Index, rows: list[PreviewRow], views: int) -> Image.Image:
    views_left = PAD + NAMES + CELL + 3 * GAP
    width = max(MIN_WIDTH, views_left + views * (CELL + GAP) - GAP + PAD)
    augment = config.augment if index.is_cropped else replace(config.augment, own_framing=0.0)
    settings = _wrap(describe_augmentation(augment), width - 2 * PAD)
    top = PAD + HEAD + LINE * len(settings) + COLUMN_HEAD
    sheet = Image.new("RGB", (width, top + len(rows) * (CELL + GAP) - GAP + PAD), LIGHT.paper)
    _draw_head(sheet, config, index.name, settings)
    _draw_columns(sheet, views_left, views, top)
    for number, row in enumerate(rows):
        y = top + number * (CELL + GAP)
        _draw_name(sheet, row, index.labels, y)
        _paste_crop(sheet, row.plain, PAD + NAMES, y)
        for view in range(views):
            _paste_crop(sheet, row.views[view], views_left + view * (CELL + GAP), y)
    return sheet


def _wrap(items: Iterable[str], room: int) -> list[str]:
    """Items side by side, in as many lines as they need."""
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]}   ·   {item}" if lines else item
        if lines and text_font(15, 1).getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines


def _draw_head(sheet: Image.Image, config: Config, dataset: str, settings: list[str]) -> None:
    draw = ImageDraw.Draw(sheet)
    title = f"{config.name}: what training sees"
    draw.text((PAD, PAD + 24), title, fill=LIGHT.ink, font=text_font(30, 1), anchor="ls")
    note = f"{dataset}, train split   ·   crops of {config.data.size} px   ·   strength {config.augment.strength:g}"
    draw.text((PAD, PAD + 60), note, fill=LIGHT.ink, font=text_font(17, 1), anchor="ls")
    for number, line in enumerate(settings, start=1):
        place = (PAD, PAD + HEAD - 12 + LINE * number)
        draw.text(place, line, fill=LIGHT.quiet, font=text_font(15, 1), anchor="ls")


def describe_augmentation(config: AugmentConfig) -> list[str]:
    """The ranges and chances that are not nothing, strength included: `rotation ±15°`, `mirrored 50 %`."""
    strength = config.strength
    ranges = {
        "scale": config.scale,
        "shift": config.shift,
        "brightness": config.brightness,
        "contrast": config.contrast,
        "tint": config.tint,
    }
    chances = {
        "gray": config.grayscale,
        "low resolution": config.low_resolution,
        "blurred": config.blur,
        "sharpened": config.sharpen,
        "JPEG": config.jpeg,
        "grain": config.noise,
        "erased": config.random_erasing,
    }
    always = {"own framing": config.own_framing, "mirrored": config.flip}
    found = {name: f"{100 * chance:.0f} %" for name, chance in always.items() if chance}
    found["rotation"] = f"±{config.rotate * strength:.3g}°"
    found |= {name: f"±{100 * most * strength:.0f} %" for name, most in ranges.items() if most}
    found |= {
        name: f"{100 * min(1.0, chance * strength):.0f} %" for name, chance in chances.items() if chance
    }
    if config.mixup:
        found["mixed in pairs, alpha"] = f"{config.mixup:g}"
    return [f"{name} {value}" for name, value in found.items() if value not in ("±0°", "±0 %", "0 %")]


def _draw_columns(sheet: Image.Image, left: int, views: int, top: int) -> None:
    draw, font = ImageDraw.Draw(sheet), text_font(15, 1)
    draw.text((PAD, top - 14), "class and labels", fill=LIGHT.quiet, font=font, anchor="ls")
    titles = [("plain", PAD + NAMES), *((str(view + 1), left + view * (CELL + GAP)) for view in range(views))]
    for title, x in titles:
        draw.text((x + CELL / 2, top - 14), title, fill=LIGHT.quiet, font=font, anchor="ms")
    x = left - 1.5 * GAP
    draw.line([x, top - 30, x, sheet.height - PAD], fill=LIGHT.line, width=2)


def _draw_name(sheet: Image.Image, row: PreviewRow, labels: Iterable[str], y: int) -> None:
    """The class in its color, and under it the label distribution as a bar."""
    draw, middle = ImageDraw.Draw(sheet), y + CELL // 2
    square = rounded(14, 14, 3, (*ImageColor.getrgb(class_color(row.name))[:3], 255))
    sheet.paste(square, (PAD, middle - 20), square)
    place = (PAD + 24, middle - 13)
    draw.text(place, printable_name(row.name), fill=LIGHT.ink, font=text_font(19, 1), anchor="lm")
    length, x = NAMES - 36, float(PAD)
    bar = Image.new("RGB", (length, 10), LIGHT.cell)
    paint = ImageDraw.Draw(bar)
    for label, share in zip(labels, row.label_distribution.tolist(), strict=True):
        end = x + share * length
        if round(end) > round(x):
            paint.rectangle([round(x) - PAD, 0, round(end) - PAD - 1, 9], fill=class_color(label))
        x = end
    sheet.paste(bar, (PAD, middle + 10), rounded(length, 10, 5, (0, 0, 0, 255)).getchannel("A"))


def _paste_crop(sheet: Image.Image, crop: np.ndarray, x: int, y: int) -> None:
    image = Image.fromarray(crop).resize((CELL, CELL), Image.Resampling.BICUBIC)
    sheet.paste(image, (x, y), rounded(CELL, CELL, RADIUS, (0, 0, 0, 255)).getchannel("A"))
