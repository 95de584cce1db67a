"""EmotiEffLib on ONNX Runtime with facenet-pytorch's MTCNN as in its examples ("enet_b0_8_best_vgaf", ...)."""

from __future__ import annotations

import numpy as np
import one_thread  # noqa: F401
import torch
from emotiefflib.facial_analysis import EmotiEffLibRecognizer
from facenet_pytorch import MTCNN
from serve import Predict, serve


def load(variant: str) -> Predict:
    torch.set_num_threads(1)
    recognizer = EmotiEffLibRecognizer(engine="onnx", model_name=variant)
    detector = MTCNN(keep_all=True, post_process=False, min_face_size=40)

    def predict(image: np.ndarray) -> str | None:
        boxes, _ = detector.detect(image)
        if boxes is None:
            return None
        x1, y1, x2, y2 = max(boxes.clip(min=0).astype(int), key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        return recognizer.predict_emotions(image[y1:y2, x1:x2])[0][0]

    return predict


serve("emotiefflib", load)
