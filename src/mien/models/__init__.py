"""Networks that predict expressions from face crops."""

from mien.models.backbones import FaceMobileNet
from mien.models.efficientface import EfficientFace
from mien.models.hybrid import HybridNet
from mien.models.network import ExpressionNetwork
from mien.models.registry import MODELS, build_model

__all__ = ["MODELS", "EfficientFace", "ExpressionNetwork", "FaceMobileNet", "HybridNet", "build_model"]
