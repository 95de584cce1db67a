"""Networks. `MODELS` maps a recipe's `model.name` to its class."""

from mien.models.backbones import FaceMobileNet
from mien.models.network import ExpressionNetwork

MODELS: dict[str, type[ExpressionNetwork]] = {"face-mobilenet": FaceMobileNet}

__all__ = ["MODELS", "ExpressionNetwork", "FaceMobileNet"]
