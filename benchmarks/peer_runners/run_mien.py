"""mien: `expression` or `mobile`, with pose or without ("expression", "expression without pose")."""

from __future__ import annotations

import numpy as np
from serve import Predict, serve

from mien import Analyzer


def load(variant: str) -> Predict:
    model, _, without_pose = variant.partition(" ")
    analyzer = Analyzer(model, threads=1, pose=not without_pose)

    def predict(image: np.ndarray) -> str | None:
        faces = analyzer.analyze(image).faces
        # the most probable class also where the model abstains
        return faces[0].expression.top(1)[0][0] if faces and faces[0].expression else None

    return predict


serve("mien", load)
