"""What the pages are put together from: the frame, tables, tiles, plots and faces. Every text in them is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from mien.errors import InputError
from mien.reports import markup
from mien.theme import class_color

FACE_SIDE = 224
"""Longest side in pixels of a face on a page."""
DASH = "–"


def render_frame(title: str, subject: Mapping[str, str], body: str, footer: str) -> str:
    """A whole page around its body, which is HTML; the rest is text."""
    template = files("mien.reports").joinpath("templates/evaluation.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(title), subject=_subject(subject), body=body, footer=escape(footer)
    )


def section(name: str, title: str, content: str) -> str:
    """A part of a page under a heading; `name` is its id, `content` is HTML."""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>\n{content}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A text; `kind` is the style's name for it: quiet, perceived."""
    style = f' class="{kind}"' if kind else ""
    return f"<p{style}>{escape(text)}</p>"


def tiles(items: Sequence[tuple[str, str, str]]) -> str:
    """Numbers to see first, each a name, a value and a note; the first one stands out."""
    main = ' class="main"'
    told = "".join(
        f'<div{main if index == 0 else ""}><dt>{escape(name)}</dt><dd class="value">{escape(value)}</dd>'
        f'<dd class="note">{escape(note)}</dd></div>'
        for index, (name, value, note) in enumerate(items)
    )
    return f'<dl class="tiles">{told}</dl>'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A `mien.reports.markup.table` on a card."""
    return f'<div class="card">{markup.table(caption, head, rows)}</div>'


def plot(title: str, text: str, light: bytes, dark: bytes) -> str:
    """A PNG in its two themes; `text` says what it shows to those who do not see it."""
    return (
        f'<div class="card scroll plot" tabindex="0" role="region" aria-label="{escape(title)}"><image>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(dark, "png")}">'
        f'<img src="{_data_uri(light, "png")}" alt="{escape(title)}. {escape(text)}"></image></div>'
    )


def face_list(items: Sequence[str]) -> str:
    """Faces side by side, each made by `face`."""
    return f'<ul class="faces">{"".join(items)}</ul>'


def face(image: str, alt: str, caption: str) -> str:
    """One face: a data URI, what it shows as text, and its caption as HTML."""
    return (
        f'<li><figure><img src="{image}" alt="{escape(alt)}" loading="lazy">'
        f"<figcaption>{caption}</figcaption></figure></li>"
    )


def class_name(name: str) -> str:
    """A class's name behind its color, as HTML."""
    return f'<span class="chip" style="background:{class_color(name)}"></span>{escape(name)}'


def encode_face(image: np.ndarray, name: str = "a mistake") -> str:
    """An image (H, W, 3) uint8 as a data URI, at most `FACE_SIDE` pixels on its longer side.

    Raises:
        InputError: when the array is not such an image; the message gives its name.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"{name}: {image.shape} of {image.dtype}, expected an image (H, W, 3) uint8.")
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((FACE_SIDE, FACE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(picture.size) <= 64:
        picture.save(buffer, "PNG", optimize=True)
        return _data_uri(buffer.getvalue(), "png")
    picture.save(buffer, "JPEG", quality=88)
    return _data_uri(buffer.getvalue(), "jpeg")


def percent(value: float | None) -> str:
    """A share with one decimal; a dash when it is not defined."""
    return DASH if value is None else f"{value:.1%}"


def decimal(value: float | None) -> str:
    """A number with three decimals; a dash when it is not defined."""
    return DASH if value is None else f"{value:.3f}"


def interval(record: Mapping[str, Any]) -> str:
    """The `accuracy_interval` of a record."""
    low, high = record["accuracy_interval"]
    return DASH if low is None else f"{low * 100:.1f}–{high * 100:.1f}%"


def points(value: float | None) -> str:
    """A difference of two shares in points of a per cent; a dash when it is not defined."""
    return DASH if value is None else f"{value * 100:.1f} points"


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _subject(subject: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in subject.items()
    )
    return f'<dl class="subject">{items}</dl>' if items else ""
