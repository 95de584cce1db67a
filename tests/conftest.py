"""What many tests share: a tiny expression model, and the images of `examples/`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from mien.imaging import read_image
from support.models import make_explainable, make_model

ROOT = Path(__file__).parents[1]

# a background shell ignores the first one, nohup the second, and so would every command that a test interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("mien", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "mien"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example images."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def portrait(examples: Path) -> np.ndarray:
    """A photograph with one face."""
    return read_image(examples / "astronaut.jpg")


@pytest.fixture(scope="session")
def group(examples: Path) -> np.ndarray:
    """An image with several faces."""
    return read_image(examples / "group.jpg")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expression model of a few hundred weights: the same contract as the real one, no meaning."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def explainable_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that gives class-activation maps (8, 6, 6) and the weights of two regions."""
    return make_explainable(tmp_path_factory.mktemp("explainable") / "explainable.onnx")
