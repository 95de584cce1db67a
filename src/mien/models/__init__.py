"""Networks. `MODELS` maps a recipe's `model.name` to the function that builds it."""

from collections.abc import Callable

from torch import nn

from mien.models.backbones import FaceMobileNet

MODELS: dict[str, Callable[..., nn.Module]] = {"face-mobilenet": FaceMobileNet}

__all__ = ["MODELS", "FaceMobileNet"]
