"""mien: a model with pose or without, all faces or the largest ("mobile", "mobile without pose, one face")."""

from __future__ import annotations

import numpy as np
from serve import Predict, serve

from mien import Analyzer


def load(variant: str) -> Predict:
    name, _, one_face = variant.partition(", ")
    model, _, without_pose = name.partition(" ")
    analyzer = Analyzer(model, threads=1, pose=not without_pose, max_faces=1 if one_face else None)

    def predict(image: np.ndarray) -> str | None:
        faces = analyzer.analyze(image).faces
        # the most probable class also where the model abstains
        return faces[0].expression.top(1)[0][0] if faces and faces[0].expression else None

    return predict


serve("mien", load)
