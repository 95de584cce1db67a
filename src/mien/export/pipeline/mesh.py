"""The face mesh as one graph: crop, network, points in the image, head pose."""

import math

import torch
from torch import Tensor, nn

from mien.export.pipeline.resampling import Similarity, crop_image
from mien.faces.mesh_network import CROP_SCALE, OUTER_EYES, POINTS
from mien.faces.pose import canonical_face

DEGREES = 180 / math.pi
"""Degrees per radian."""
CROP_SIZE = 256
"""Side of the network's input in pixels."""
ROTATION_ITERATIONS = 12
"""Number of Newton iterations for the head's rotation; each doubles the correct digits once it is near."""


class MeshPipeline(nn.Module):
    """Fit the mesh of one face in one pass, with the results of the detailed network of `mien.faces.LandmarkMesh`.

    Args:
        network: from crops (1, 256, 256, 3) uint8 RGB to 478 x 3 coordinates and a presence logit; without dynamic
            shapes a `TorchGraph`, which gets float32.
        has_dynamic_shapes: see `ExpressionPipeline`.
    """

    def __init__(self, network: nn.Module, *, has_dynamic_shapes: bool) -> None:
        super().__init__()
        self.network = network
        self.has_dynamic_shapes = has_dynamic_shapes
        face = canonical_face()
        points = torch.tensor(face.points_xyz, dtype=torch.float32)
        share = torch.tensor(face.weights / face.weights.sum(), dtype=torch.float32)[:, None]
        self._landmarks = torch.tensor(face.landmarks)
        self._weighted = share * (points - (share * points).sum(dim=0))

    def forward(
        self, image: Tensor, size_hw: Tensor, bbox_xyxy: Tensor, eyes_xy: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mesh (478, 3), presence (1,) 0..1, rotation (1,) in degrees, and yaw, pitch and roll (3,) in degrees.

        The rotation is the angle from the given eyes to those of the mesh, clockwise in the image.

        Args:
            image: canvas (H, W, 3) uint8 RGB with the image in its upper left.
            size_hw: (2,) int32 height and width of the image.
            bbox_xyxy: (4,) box of the face in pixels.
            eyes_xy: (2, 2) the subject's right and left eye in pixels, which become level in the crop.
        """
        similarity = _crop_similarity(bbox_xyxy, eyes_xy)
        crop = crop_image(image, size_hw.float(), similarity, CROP_SIZE, has_dynamic_shapes=self.has_dynamic_shapes)
        # other formats take long to convert float32 to uint8, and their networks convert it back
        points, logit = self.network((crop.to(torch.uint8) if self.has_dynamic_shapes else crop)[None])
        xyz = points.reshape(POINTS, 3)
        mesh = torch.cat([similarity.to_image(xyz[:, :2]), xyz[:, 2:] * similarity.reduction], dim=1)
        rotation = _angle_between(eyes_xy, mesh[OUTER_EYES, :2])
        return mesh, logit.reshape(1).sigmoid(), (rotation * DEGREES).reshape(1), self._head_pose(mesh)

    def _head_pose(self, mesh_xyz: Tensor) -> Tensor:
        """Return yaw, pitch and roll (3,) in degrees; see `mien.faces.pose.head_pose`."""
        observed = mesh_xyz[self._landmarks] * torch.tensor([1.0, -1.0, -1.0])
        rotation = _nearest_rotation(observed.T @ self._weighted)
        cos_yaw = (rotation[0, 0] ** 2 + rotation[1, 0] ** 2).sqrt()
        yaw = torch.atan2(-rotation[2, 0], cos_yaw)
        pitch = -torch.atan2(rotation[2, 1], rotation[2, 2])
        roll = -torch.atan2(rotation[1, 0], rotation[0, 0])
        return torch.stack([yaw, pitch, roll]) * DEGREES


def _crop_similarity(bbox_xyxy: Tensor, eyes_xy: Tensor) -> Similarity:
    """Return the similarity of `mien.faces.mesh_network.mesh_crop_matrix`."""
    direction = eyes_xy[1] - eyes_xy[0]
    length = (direction * direction).sum().sqrt().clamp(min=1e-6)
    scale = CROP_SIZE / (CROP_SCALE * (bbox_xyxy[2:] - bbox_xyxy[:2]).amax().clamp(min=1))
    factor = scale * direction / length * torch.tensor([1.0, -1.0])
    center = (bbox_xyxy[:2] + bbox_xyxy[2:]) / 2
    return Similarity(factor, center, torch.full((2,), CROP_SIZE / 2))


def _angle_between(first_xy: Tensor, second_xy: Tensor) -> Tensor:
    """Return the angle in radians from one pair of eyes (2, 2) to another, clockwise in the image."""
    first, second = first_xy[1] - first_xy[0], second_xy[1] - second_xy[0]
    return torch.atan2(first[0] * second[1] - first[1] * second[0], (first * second).sum())


def _nearest_rotation(matrix: Tensor) -> Tensor:
    """Return the rotation (3, 3) nearest to a matrix with a positive determinant.

    Source:
        Higham (1986), "Computing the polar decomposition": Newton's iteration X = (X + X^-T) / 2.
    """
    rotation = matrix / (matrix * matrix).sum().sqrt()
    for _ in range(ROTATION_ITERATIONS):
        first, second, third = rotation.unbind()
        cofactors = torch.stack([_cross(second, third), _cross(third, first), _cross(first, second)])
        determinant = (first * cofactors[0]).sum()
        rotation = (rotation + cofactors / determinant) / 2
    return rotation


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
