"""Decoding of random and mutated bytes gives a valid result or a mien error."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.errors import ImageReadError, ManifestError
from mien.imaging import read_image
from mien.manifest import Manifest, parse_manifest
from mien.runtime import ASSETS
from support.images import encoded, portrait, stored_rotated

SMALL = np.ascontiguousarray(portrait("astronaut")[60:100, 200:248])
GRAY_16 = Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 30)
PALETTE = Image.fromarray(SMALL).quantize(16)
VALID = {
    "png": encoded(SMALL, "PNG"),
    "png 16 bit": encoded(GRAY_16, "PNG"),
    "png palette": encoded(PALETTE, "PNG", transparency=3),
    "jpeg": stored_rotated(SMALL, 6),
    "jpeg cmyk": encoded(Image.fromarray(SMALL).convert("CMYK"), "JPEG"),
    "jpeg progressive": encoded(SMALL, "JPEG", progressive=True),
    "gif": encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(90)], transparency=3),
    "tiff": encoded(SMALL, "TIFF"),
    "tiff packed": encoded(SMALL, "TIFF", compression="tiff_lzw"),
    "webp": encoded(SMALL, "WEBP"),
    "bmp": encoded(SMALL, "BMP"),
}
MANIFEST = json.loads((ASSETS / "face-landmarks.json").read_text(encoding="utf-8"))

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check_image(data: bytes) -> None:
    try:
        image = read_image(data, max_pixels=200_000)
    except ImageReadError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert 0 not in image.shape


def check_manifest(data: bytes) -> None:
    try:
        manifest = parse_manifest(data)
    except ManifestError:
        return
    assert isinstance(manifest, Manifest)
    assert parse_manifest(manifest.to_json().encode()) == manifest


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a valid file with a few overwrites, cuts, repetitions and insertions, mostly near its start."""
    changed = bytearray(data)
    offsets = st.one_of(st.integers(0, min(200, len(data))), st.integers(0, len(data)))
    for _ in range(draw(st.integers(1, 6))):
        offset = draw(offsets)
        kind = draw(st.sampled_from(["overwrite", "insert", "remove", "repeat", "cut"]))
        insertion = draw(
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff"]))
        )
        if kind == "overwrite":
            changed[offset : offset + len(insertion)] = insertion
        elif kind == "insert":
            changed[offset:offset] = insertion
        elif kind == "remove":
            del changed[offset : offset + len(insertion)]
        elif kind == "repeat":
            changed[offset:offset] = changed[offset : offset + 40]
        else:
            del changed[max(offset, 20) :]
    return bytes(changed)


@quick
@given(st.binary(max_size=300))
def test_decoding_random_bytes(data: bytes):
    check_image(data)
    check_manifest(data)


@pytest.mark.parametrize("name", VALID)
def test_decoding_mutated_images(name: str):
    read_image(VALID[name])  # the unmodified file is valid

    @quick
    @given(mutated(VALID[name]))
    def check(data: bytes) -> None:
        check_image(data)

    check()


@quick
@given(mutated(json.dumps(MANIFEST).encode()))
def test_parsing_mutated_manifests(data: bytes):
    check_manifest(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@quick
@given(json_values)
def test_parsing_random_json(value: Any):
    check_manifest(json.dumps(value).encode())


def key_paths(record: dict[str, Any]) -> list[tuple[str, ...]]:
    nested = [(key, inner) for key, value in record.items() if isinstance(value, dict) for inner in value]
    return [(key,) for key in record] + nested


@settings(quick, max_examples=100)
@given(st.sampled_from(key_paths(MANIFEST)), json_values, st.sampled_from(["expression", "face-landmarks"]))
def test_parsing_a_random_value_at_any_key(path: tuple[str, ...], value: Any, task: str):
    record = json.loads(
        json.dumps({**MANIFEST, "task": task, "labels": ["a", "b"], "alignment": {"template": "ferplus", "margin": 0}})
    )
    target = record[path[0]] if len(path) == 2 else record
    target[path[-1]] = value
    check_manifest(json.dumps(record).encode())
