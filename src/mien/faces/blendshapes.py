"""Blendshapes: 52 coefficients of facial movement, predicted from the landmark mesh."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mien.devices import Precision
from mien.faces.mesh_network import OUTER_EYES, POINTS
from mien.runtime import load_model

BATCH = 16
"""Maximum number of faces per run of the network."""
CONSTANT_BLENDSHAPES = (
    "_neutral",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
)
"""Outputs that never move: their standard deviation over photographs is below 0.001. They are left out."""


class BlendshapeModel:
    """Predicts blendshapes from meshes; thread-safe.

    Args:
        threads: ONNX Runtime threads; 0 lets it choose.
        device: where the network runs; see `mien.runtime.open_session`.
        precision: float32 or int8 arithmetic; see `mien.runtime.load_model`.

    Attributes:
        network: the loaded model file.
        names: MediaPipe's names of the coefficients, in the order of the output; "Left" and "Right" are the subject's.

    Source:
        Grishchenko and others (2023), "Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction".
    """

    def __init__(self, threads: int = 0, *, device: str = "auto", precision: Precision = "auto") -> None:
        self.network = load_model(
            "face-blendshapes", task="face-blendshapes", threads=threads, device=device, precision=precision
        )
        self._outputs = [self.network.session.get_outputs()[0].name]
        labels = self.network.manifest.labels
        self._columns = [index for index, name in enumerate(labels) if name not in CONSTANT_BLENDSHAPES]
        self.names = tuple(labels[index] for index in self._columns)

    def predict(self, meshes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the coefficients (N, 46) float32, 0..1, of meshes (478, 3) in pixels.

        The network is not invariant to rotation in the image plane; meshes are leveled by their eyes first.
        """
        outputs = [np.zeros((0, len(self.names)), dtype=np.float32)]
        for start in range(0, len(meshes), BATCH):
            points = np.stack([level(mesh_xyz) for mesh_xyz in meshes[start : start + BATCH]])
            (blendshapes,) = self.network.run(self._outputs, {"mesh": points})
            outputs.append(blendshapes[:, self._columns])
        return np.concatenate(outputs)


def level(mesh_xyz: np.ndarray) -> np.ndarray:
    """Return the points (478, 2) float32 of a mesh, rotated in the image plane so that the outer eye corners are level.

    >>> points = level(np.random.default_rng(0).normal(size=(POINTS, 3)))
    >>> bool(abs(points[OUTER_EYES[0], 1] - points[OUTER_EYES[1], 1]) < 1e-6)
    True
    """
    x, y = mesh_xyz[OUTER_EYES[1], :2] - mesh_xyz[OUTER_EYES[0], :2]
    length = math.hypot(x, y) or 1.0
    cos, sin = x / length, y / length
    return (mesh_xyz[:POINTS, :2] @ np.array([[cos, -sin], [sin, cos]])).astype(np.float32)
