"""A tiny data set whose classes are easy to tell apart, and a tiny recipe for it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mien.training.checkpoint import Checkpoint, save_checkpoint
from mien.training.config import ModelConfig
from mien.training.pretrained import build_model

CLASSES = ("neutral", "happiness", "surprise")

RECIPE = """
name = "tiny"

[card]
version = "1"
licence = "CC0"
trained_on = [{{ name = "made up", licence = "CC0" }}]

[model]
pretrained = {start!r}
blocks = 3
frozen = {frozen}
dropout = 0.1
gray = true

[data]
dataset = "folder"
path = {path!r}
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
    """`root/{train,valid}/{class}/*.png`: 32 x 32 stripes, whose direction is the class."""
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


def write_recipe(
    folder: Path, data: Path, *, epochs: float = 4, frozen: int = 1, strength: float = 1.0
) -> Path:
    path, start = folder / "tiny.toml", folder / "start.ckpt"
    if frozen:
        write_start(start)
    told = {"path": str(data), "start": str(start) if frozen else ""}
    path.write_text(RECIPE.format(epochs=epochs, frozen=frozen, strength=strength, **told))
    return path


def write_start(path: Path) -> None:
    """A checkpoint of the recipe's network, untrained: what layers that do not learn keep."""
    torch.manual_seed(0)
    weights = build_model(ModelConfig(options={"blocks": 3}), len(CLASSES)).state_dict()
    save_checkpoint(
        Checkpoint(step=1, config={}, labels=(), model=weights, ema=weights, optimizer={}, metrics={}), path
    )
