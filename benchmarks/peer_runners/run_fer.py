"""fer: its TensorFlow Lite network with OpenCV's Haar cascade or MTCNN as detector ("Haar cascade", "MTCNN")."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from fer.fer import FER
from serve import Predict, serve


def load(variant: str) -> Predict:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    detector = FER(mtcnn=variant == "MTCNN")

    def predict(image: np.ndarray) -> str | None:
        # OpenCV's order of channels
        faces = detector.detect_emotions(image[..., ::-1].copy())
        if not faces:
            return None
        largest = max(faces, key=lambda face: face["box"][2] * face["box"][3])
        return max(largest["emotions"], key=largest["emotions"].get)

    return predict


serve("fer", load)
