"""Networks. `MODELS` maps a recipe's `model.name` to the function that builds it."""

from collections.abc import Callable

from mien.models.backbones import FaceMobileNet
from mien.models.network import ExpressionNetwork

MODELS: dict[str, Callable[..., ExpressionNetwork]] = {"face-mobilenet": FaceMobileNet}

__all__ = ["MODELS", "ExpressionNetwork", "FaceMobileNet"]
