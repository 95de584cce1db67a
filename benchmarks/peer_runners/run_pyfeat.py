"""Py-Feat: `Detectorv1` with its RetinaFace, landmarks, pose and the network "resmasknet"."""

from __future__ import annotations

import numpy as np
import torch
from feat import Detectorv1
from serve import Predict, serve


def load(variant: str) -> Predict:
    torch.set_num_threads(1)
    detector = Detectorv1(
        face_model="retinaface", emotion_model=variant, au_model=None, identity_model=None, gaze_model=None
    )

    def predict(image: np.ndarray) -> str | None:
        frame = torch.from_numpy(image).permute(2, 0, 1)[None]
        faces = detector.detect(frame, data_type="tensor", progress_bar=False)
        areas = faces["FaceRectWidth"] * faces["FaceRectHeight"]
        return None if areas.isna().all() else faces.emotions.loc[areas.idxmax()].idxmax()

    return predict


serve("py-feat", load)
