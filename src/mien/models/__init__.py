"""Networks. `MODELS` maps a recipe's `model.name` to its class."""

from mien.models.backbones import FaceMobileNet
from mien.models.efficientface import EfficientFace
from mien.models.hybrid import HybridNet
from mien.models.network import ExpressionNetwork

MODELS: dict[str, type[ExpressionNetwork]] = {
    "efficientface": EfficientFace,
    "face-mobilenet": FaceMobileNet,
    "hybrid": HybridNet,
}

__all__ = ["MODELS", "EfficientFace", "ExpressionNetwork", "FaceMobileNet", "HybridNet"]
