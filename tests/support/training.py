"""A small data set with distinguishable classes, and a small recipe for it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mien.models import build_model
from mien.training.checkpoint import Checkpoint, save_checkpoint

CLASSES = ("neutral", "happiness", "surprise")

RECIPE = """
name = "tiny"

[card]
version = "1"
license = "CC0"

[model]
pretrained = {pretrained!r}
blocks = 3
frozen = {frozen}
dropout = 0.1
grayscale = true

[data]
dataset = "folder"
path = {path!r}
license = "CC0"
patch = 32
size = 32

[augment]
strength = {strength}

[training]
epochs = {epochs}
batch = 8
lr = 1e-3
warmup = 2
ema = 0.9
threads = 1
device = "cpu"
checkpoint_steps = 3
evaluate_steps = 10
"""


def write_stripes(root: Path, train: int = 16, valid: int = 6) -> Path:
    """Write `root/{train,valid}/{class}/*.png`: 32 x 32 pixels of stripes, with one direction per class."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:32, :32]
    waves = {"neutral": row, "happiness": column, "surprise": row + column}
    for split, count in (("train", train), ("valid", valid)):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                gray = 128 + 90 * np.sin(waves[name] * 0.9 + rng.uniform(0, 6)) + rng.normal(0, 8, (32, 32))
                pixels = np.repeat(gray.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def write_recipe(folder: Path, data: Path, *, epochs: float = 4, frozen: int = 1, strength: float = 1.0) -> Path:
    path = folder / "tiny.toml"
    pretrained = ""
    if frozen:
        pretrained = str(folder / "pretrained.ckpt")
        write_pretrained(Path(pretrained))
    path.write_text(
        RECIPE.format(epochs=epochs, frozen=frozen, strength=strength, path=str(data), pretrained=pretrained)
    )
    return path


def write_pretrained(path: Path) -> None:
    """Write a checkpoint of the recipe's network with random weights, for frozen layers."""
    torch.manual_seed(0)
    weights = build_model("face-mobilenet", len(CLASSES), {"blocks": 3}).state_dict()
    save_checkpoint(
        Checkpoint(step=1, config={}, labels=(), model=weights, ema=weights, optimizer={}, metrics={}), path
    )
