"""Generated audiovisual utterances in RAVDESS's layout whose class only face and voice together show."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from mien.voice.audio import read_audio
from mien.voice.augmentation import VARIANTS, augment
from support.clips import write_clip
from support.images import PORTRAITS, portrait
from support.sounds import RECORDINGS, write_audio

CLASSES = ("03", "04")
"""RAVDESS's numbers of happiness and sadness."""
SIZE = 192
SMILING = ("astronaut", "obama")
VOICES = ("03a01Wa", "03a05Tc")
"""An angry and a sad utterance."""


def write_exclusive_or(root: Path, speakers: int, per_speaker: int = 8) -> Path:
    """Write utterances of which those with a smile and an angry voice, or a frown and a sad one, are happiness.

    Every speaker has all four combinations equally often, so that neither face nor voice by itself says anything about
    the class. `per_speaker` is a multiple of 4, at most 16.
    """
    rng = np.random.default_rng(speakers)
    faces = {(name, frown): _face(name, frown=frown) for name, frown in product(SMILING, (False, True))}
    sounds = [read_audio(RECORDINGS / f"{name}.flac") for name in VOICES]
    for speaker in range(1, speakers + 1):
        folder = root / f"Actor_{speaker:02d}"
        folder.mkdir(parents=True)
        for number in range(per_speaker):
            frown, is_sad = bool(number & 1), bool(number & 2)
            label = CLASSES[frown != is_sad]
            take = number >> 2
            rest = f"01-{label}-{1 + (take >> 1):02d}-{1 + (take & 1):02d}-{1 + frown:02d}-{speaker:02d}"
            image = _vary(faces[SMILING[speaker % 2], frown], rng)
            write_clip(folder / f"02-{rest}.mp4", "mpeg4", images=[image], times_s=[0.0], size_hw=(SIZE, SIZE), rate=4)
            sound = augment(sounds[is_sad], str(rng.choice(VARIANTS)), rng)
            write_audio(folder / f"03-{rest}.wav", sound)
    return root


def _face(name: str, *, frown: bool) -> np.ndarray:
    """Return a square portrait, with its mouth upside down for a frown."""
    x1, y1, x2, y2 = PORTRAITS[name]
    image = Image.fromarray(portrait(name))
    if frown:
        height = y2 - y1
        box = (x1 + height // 8, y1 + round(0.62 * height), x2 - height // 8, y1 + round(0.92 * height))
        mouth = image.crop(box).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        mask = Image.new("L", mouth.size, 0)
        mask.paste(255, (5, 5, mouth.width - 5, mouth.height - 5))
        image.paste(mouth, box[:2], mask.filter(ImageFilter.GaussianBlur(4)))
    middle_x, middle_y, half = (x1 + x2) // 2, (y1 + y2) // 2, round(0.9 * (y2 - y1))
    square = image.crop((middle_x - half, middle_y - half, middle_x + half, middle_y + half))
    return np.array(square.resize((SIZE, SIZE)))


def _vary(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image with another brightness, a small rotation, and noise."""
    turned = Image.fromarray(image).rotate(rng.uniform(-6, 6), Image.Resampling.BICUBIC)
    noisy = np.asarray(turned) * rng.uniform(0.8, 1.15) + rng.normal(0, 4, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
