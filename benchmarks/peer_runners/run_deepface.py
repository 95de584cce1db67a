"""DeepFace: its emotion network on ONNX Runtime, with one of its detectors ("opencv", "yunet", ...)."""

from __future__ import annotations

import cv2
import numpy as np
import one_thread  # noqa: F401
from deepface import DeepFace
from serve import Predict, serve


def load(variant: str) -> Predict:
    cv2.setNumThreads(1)
    DeepFace.build_model("Emotion", task="facial_attribute")
    DeepFace.build_model(variant, task="face_detector")

    def predict(image: np.ndarray) -> str | None:
        # OpenCV's order of channels
        image = image[..., ::-1].copy()
        try:
            faces = DeepFace.analyze(image, actions=("emotion",), detector_backend=variant, silent=True)
        except ValueError:
            # no face
            return None
        return max(faces, key=lambda face: face["region"]["w"] * face["region"]["h"])["dominant_emotion"]

    return predict


serve("deepface", load)
