"""Contact sheet of training faces: the plain crop and augmented ones."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from mien.datasets import Index, Sample
from mien.datasets.face_store import prepare_faces
from mien.drawing.cards import rounded, text_font
from mien.errors import DatasetError, InputError
from mien.number_format import whole_percent
from mien.reports.plot_style import printable_name
from mien.theme import LIGHT, class_color
from mien.training.config import SCALED_PROBABILITIES, UNSCALED_PROBABILITIES, AugmentConfig, Config
from mien.training.data import Batches, Faces, gather_faces, read_excluded, read_index, unusable_ids, usable_rows

CELL = 128
GAP = 10
RADIUS = 8
PADDING = 44
NAME_WIDTH = 176
TITLE_HEIGHT = 76
LINE_HEIGHT = 21
COLUMN_TITLE_HEIGHT = 48
MIN_WIDTH = 760
"""Layout in pixels: side of a crop, space between crops, their corner radius, border of the sheet, width of the class
names, heights of title, lines of settings and column titles, minimum width of the sheet (with room for the title)."""
CAPTION_HEIGHT = 40
"""Height in pixels of the two labels below a view with mixup."""
MAX_COUNT = 64
"""Maximum number of faces, and of views per face."""


class Mixture(NamedTuple):
    """Share of a face in a mixed view, 0..1, and the (C,) label distribution of the other face."""

    share: float
    partner: np.ndarray


class _Row(NamedTuple):
    """One face of the sheet.

    (C,) labels, (S, S, 3) uint8 crop of inference, (V, S, S, 3) uint8 augmented crops, and with mixup V mixtures.
    """

    label_distribution: np.ndarray
    plain: np.ndarray
    views: np.ndarray
    mixtures: list[Mixture]


def draw_preview(config: Config, *, faces: int = 8, views: int = 8) -> Image.Image:
    """Draw a contact sheet with one row per face: its plain crop, then augmented ones.

    Args:
        config: the recipe; only the faces on the sheet are prepared. Its seed selects them.
        faces: number of faces, alternating between classes.
        views: number of augmented crops per face.

    Raises:
        InputError: if a number is out of range.
        DatasetError: if the training split has no usable face.
    """
    for name, count in (("faces", faces), ("views", views)):
        if not 1 <= count <= MAX_COUNT:
            raise InputError(f"{name} is {count}; expected 1 to {MAX_COUNT}.")
    index = read_index(config.data)
    rows = _make_rows(index, config, faces, views)
    return _draw_sheet(config, index, rows, views)


def choose_faces(index: Index, config: Config, count: int) -> list[Sample]:
    """Draw samples of the training split by the recipe's seed, alternating between classes; sort them by class."""
    rows = usable_rows(index, "train", read_excluded(index, config.data))
    classes: dict[int, list[Sample]] = {label: [] for label in range(len(index.labels))}
    for number in np.random.default_rng(config.training.seed).permutation(len(rows)):
        sample = index.samples[rows[number]]
        classes[int(np.argmax(sample.label_distribution))].append(sample)
    turns = [(turn, label) for label, members in classes.items() for turn in range(len(members))]
    chosen = sorted(sorted(turns)[:count], key=lambda pair: (pair[1], pair[0]))
    return [classes[label][turn] for turn, label in chosen]


def _make_rows(index: Index, config: Config, faces: int, views: int) -> list[_Row]:
    """Prepare and augment the chosen faces; skip those that are unreadable or without a detected face."""
    chosen = replace(index, samples=tuple(choose_faces(index, config, faces)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = prepare_faces(chosen, Path(folder), patch=config.data.patch, workers=1)
        unusable = unusable_ids(chosen, store)
        rows = [row for row, sample in enumerate(chosen.samples) if sample.id not in unusable]
        if not rows:
            raise DatasetError(
                f"{index.root}: none of the images can be read, or none has a detected face: {min(unusable)}, ..."
            )
        prepared = gather_faces(chosen, store, rows)
        augmented, mixtures = _augment(prepared, config, views)
        data = config.data
        plain = [store.crop(row, size=data.size, template=data.template, margin=data.margin) for row in rows]
    return list(map(_Row, prepared.label_distribution.numpy(), plain, augmented, mixtures))


def _augment(faces: Faces, config: Config, views: int) -> tuple[np.ndarray, list[list[Mixture]]]:
    """Return (N, views, S, S, 3) uint8 and the mixtures of every face; without mixup they are empty.

    Each view is one training step over a batch of all faces.
    """
    one_batch = replace(
        config,
        data=replace(config.data, balance=0.0),
        training=replace(config.training, batch=len(faces.rows), accumulate=1),
    )
    orders: list[np.ndarray] = []

    def record_order(indices: Tensor, crops: Tensor) -> Tensor:
        orders.append(indices.numpy())
        return faces.label_distribution[indices]

    batches = Batches(faces, one_batch, record_order)
    size = config.data.size
    augmented = np.zeros((len(faces.rows), views, size, size, 3), dtype=np.uint8)
    mixtures: list[list[Mixture]] = [[] for _ in faces.rows]
    distributions = faces.label_distribution.numpy()
    for view in range(views):
        images, _ = batches.at(view)
        order = orders[view]
        augmented[order, view] = images.round().clamp(0, 255).permute(0, 2, 3, 1).byte().numpy()
        if config.augment.mixup:
            partners, shares = batches.mixup(view)
            for face, partner, share in zip(order, order[partners.numpy()], shares.tolist(), strict=True):
                mixtures[face].append(Mixture(share, distributions[partner]))
    return augmented, mixtures


def _draw_sheet(config: Config, index: Index, rows: list[_Row], views: int) -> Image.Image:
    views_left = PADDING + NAME_WIDTH + CELL + 3 * GAP
    width = max(MIN_WIDTH, views_left + views * (CELL + GAP) - GAP + PADDING)
    augment = config.augment if index.is_cropped else replace(config.augment, unaligned=0.0)
    settings = _wrap(describe_augmentation(augment), width - 2 * PADDING)
    top = PADDING + TITLE_HEIGHT + LINE_HEIGHT * len(settings) + COLUMN_TITLE_HEIGHT
    pitch = CELL + GAP + (CAPTION_HEIGHT if config.augment.mixup else 0)
    sheet = Image.new("RGB", (width, top + len(rows) * pitch - GAP + PADDING), LIGHT.paper)
    _draw_title(sheet, config, index.name, settings)
    _draw_columns(sheet, views_left, views, top)
    for number, row in enumerate(rows):
        y = top + number * pitch
        _draw_name(sheet, row.label_distribution, index.labels, y)
        _paste_crop(sheet, row.plain, PADDING + NAME_WIDTH, y)
        for view in range(views):
            x = views_left + view * (CELL + GAP)
            _paste_crop(sheet, row.views[view], x, y)
            if row.mixtures:
                _draw_mixture(sheet, row.label_distribution, row.mixtures[view], index.labels, x, y + CELL)
    return sheet


def _wrap(items: Iterable[str], width: int) -> list[str]:
    """Join items into lines of at most `width` pixels."""
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]}   ·   {item}" if lines else item
        if lines and text_font(15, 1).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines


def _draw_title(sheet: Image.Image, config: Config, dataset: str, settings: list[str]) -> None:
    draw = ImageDraw.Draw(sheet)
    title = f"{config.name}: training faces"
    draw.text((PADDING, PADDING + 24), title, fill=LIGHT.ink, font=text_font(30, 1), anchor="ls")
    note = f"{dataset}, train split   ·   crops of {config.data.size} px   ·   strength {config.augment.strength:g}"
    draw.text((PADDING, PADDING + 60), note, fill=LIGHT.ink, font=text_font(17, 1), anchor="ls")
    for number, line in enumerate(settings, start=1):
        position = (PADDING, PADDING + TITLE_HEIGHT - 12 + LINE_HEIGHT * number)
        draw.text(position, line, fill=LIGHT.quiet, font=text_font(15, 1), anchor="ls")


def describe_augmentation(config: AugmentConfig) -> list[str]:
    """List the active augmentations with their ranges or probabilities, strength included: `rotation ±15°`."""
    strength = config.strength
    values = {name: f"{100 * getattr(config, name):.0f} %" for name in UNSCALED_PROBABILITIES}
    values["rotation"] = f"±{config.rotate * strength:.3g}°"
    for name in ("scale", "shift", "brightness", "contrast", "tint"):
        values[name] = f"±{100 * getattr(config, name) * strength:.0f} %"
    for name in SCALED_PROBABILITIES:
        title = "JPEG" if name == "jpeg" else name.replace("_", " ")
        values[title] = f"{100 * min(1.0, getattr(config, name) * strength):.0f} %"
    if config.mixup:
        values["mixup, alpha"] = f"{config.mixup:g}"
    return [f"{name} {value}" for name, value in values.items() if value not in ("±0°", "±0 %", "0 %")]


def _draw_columns(sheet: Image.Image, left: int, views: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    font = text_font(15, 1)
    draw.text((PADDING, top - 14), "class and labels", fill=LIGHT.quiet, font=font, anchor="ls")
    titles = [("plain", PADDING + NAME_WIDTH)]
    titles += [(str(view + 1), left + view * (CELL + GAP)) for view in range(views)]
    for title, x in titles:
        draw.text((x + CELL / 2, top - 14), title, fill=LIGHT.quiet, font=font, anchor="ms")
    x = left - 1.5 * GAP
    draw.line([x, top - 30, x, sheet.height - PADDING], fill=LIGHT.line, width=2)


def _draw_name(sheet: Image.Image, distribution: np.ndarray, labels: Sequence[str], y: int) -> None:
    """Draw the most likely class with its color, and below it the label distribution as a stacked bar."""
    name = labels[int(np.argmax(distribution))]
    draw = ImageDraw.Draw(sheet)
    middle = y + CELL // 2
    square = rounded(14, 14, 3, (*ImageColor.getrgb(class_color(name))[:3], 255))
    sheet.paste(square, (PADDING, middle - 20), square)
    position = (PADDING + 24, middle - 13)
    draw.text(position, printable_name(name), fill=LIGHT.ink, font=text_font(19, 1), anchor="lm")
    length = NAME_WIDTH - 36
    bar = Image.new("RGB", (length, 10), LIGHT.cell)
    paint = ImageDraw.Draw(bar)
    x = 0.0
    for label, probability in zip(labels, distribution.tolist(), strict=True):
        end = x + probability * length
        if round(end) > round(x):
            paint.rectangle([round(x), 0, round(end) - 1, 9], fill=class_color(label))
        x = end
    sheet.paste(bar, (PADDING, middle + 10), rounded(length, 10, 5, (0, 0, 0, 255)).getchannel("A"))


def _paste_crop(sheet: Image.Image, crop: np.ndarray, x: int, y: int) -> None:
    image = Image.fromarray(crop).resize((CELL, CELL), Image.Resampling.BICUBIC)
    sheet.paste(image, (x, y), rounded(CELL, CELL, RADIUS, (0, 0, 0, 255)).getchannel("A"))


def _draw_mixture(
    sheet: Image.Image, distribution: np.ndarray, mixture: Mixture, labels: Sequence[str], x: int, y: int
) -> None:
    """Draw the most likely class of both faces of a mixed view with their shares, the larger share first."""
    parts = [(mixture.share, distribution), (1 - mixture.share, mixture.partner)]
    draw = ImageDraw.Draw(sheet)
    for line, (share, probabilities) in enumerate(sorted(parts, key=lambda part: -part[0])):
        name = printable_name(labels[int(np.argmax(probabilities))])
        color = LIGHT.ink if share >= 0.5 else LIGHT.quiet
        position = (x + CELL / 2, y + 11 + 17 * line)
        draw.text(position, f"{whole_percent(share)} {name}", fill=color, font=text_font(14, 1), anchor="mm")
