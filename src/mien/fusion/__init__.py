"""Fusion of face and voice: pooled class probabilities, reliability weights, and how much the two disagree."""

from mien.fusion.classes import to_face_classes
from mien.fusion.pooling import conflict, log_linear_pool
from mien.fusion.reliability import MAX_CONFLICT, face_weight, voice_weight

__all__ = ["MAX_CONFLICT", "conflict", "face_weight", "log_linear_pool", "to_face_classes", "voice_weight"]
