from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import FaceDetector, FittedMesh, LandmarkMesh, MeshOptions, head_pose
from mien.faces.mesh_network import BATCH, mesh_crop_matrix
from mien.faces.pose import canonical_face, fit_rotation
from mien.geometry import transform_points
from mien.results import Face, HeadPose
from support.images import PORTRAITS, bust, crowd, mirrored, no_face, photo_wall, portrait, rotated, scaled


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(max_side=1280, threads=1)


@pytest.fixture(scope="module")
def mesh() -> LandmarkMesh:
    return LandmarkMesh(threads=1)


def fitted(detector: FaceDetector, mesh: LandmarkMesh, image: np.ndarray) -> FittedMesh:
    [face] = detector.detect(image)
    [fit] = mesh.fit(image, [face])
    assert fit is not None
    return fit


# --- mesh


def test_no_faces_give_no_meshes(mesh: LandmarkMesh):
    assert mesh.fit(no_face(), []) == []


@pytest.mark.parametrize("name", PORTRAITS)
def test_mesh_agrees_with_the_detector(detector: FaceDetector, mesh: LandmarkMesh, name: str):
    [face] = detector.detect(portrait(name))
    [fit] = mesh.fit(portrait(name), [face])
    assert fit is not None
    assert fit.mesh_xyz.shape == (478, 3)
    assert fit.presence > 0.99
    irises, nose, mouth = fit.mesh_xyz[[468, 473]], fit.mesh_xyz[1], fit.mesh_xyz[[61, 291]]
    landmarks_xy = np.vstack([irises, nose, mouth])[:, :2]
    height = face.bbox_xyxy[3] - face.bbox_xyxy[1]
    assert np.abs(landmarks_xy - face.landmarks_xy).max() < 0.1 * height
    assert np.abs(irises[:, :2] - face.landmarks_xy[:2]).max() < 0.05 * height


def test_nose_is_closer_to_the_camera_than_ears(detector: FaceDetector, mesh: LandmarkMesh):
    xyz = fitted(detector, mesh, portrait("obama")).mesh_xyz
    depth = xyz[[234, 454], 2] - xyz[1, 2]
    width = xyz[454, 0] - xyz[234, 0]
    assert (depth > 0.3 * width).all()  # in pixels of the same length as x and y
    assert (depth < 1.2 * width).all()


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_mesh_scales_with_the_image(detector: FaceDetector, mesh: LandmarkMesh, factor: float):
    image = portrait("obama")
    [face] = detector.detect(image)
    scaled_face = replace(face, bbox_xyxy=face.bbox_xyxy * factor, landmarks_xy=face.landmarks_xy * factor)
    [fit] = mesh.fit(image, [face])
    [scaled_fit] = mesh.fit(scaled(image, factor), [scaled_face])
    assert fit is not None
    assert scaled_fit is not None
    assert np.abs(scaled_fit.mesh_xyz / factor - fit.mesh_xyz).max() < 0.03 * 289


def test_mesh_is_none_without_a_face(detector: FaceDetector, mesh: LandmarkMesh):
    image = portrait("astronaut")
    [face] = detector.detect(image)
    shift = np.array([-150, 250])
    elsewhere = replace(face, bbox_xyxy=face.bbox_xyxy + np.tile(shift, 2), landmarks_xy=face.landmarks_xy + shift)
    missing, fit = mesh.fit(image, [elsewhere, face])
    assert missing is None
    assert fit is not None


def test_mesh_is_none_for_boxes_outside_the_image_and_empty_boxes(mesh: LandmarkMesh):
    landmarks = np.array([[900, 900], [910, 900], [905, 905], [901, 910], [909, 910]], dtype=np.float32)
    outside = Face(bbox_xyxy=np.array([890, 890, 920, 920], np.float32), landmarks_xy=landmarks, confidence=1)
    empty = Face(bbox_xyxy=np.full(4, 60, np.float32), landmarks_xy=np.full((5, 2), 60, np.float32), confidence=1)
    assert mesh.fit(no_face((64, 64)), [outside, empty]) == [None, None]


def test_batches_keep_the_order_of_faces(detector: FaceDetector, mesh: LandmarkMesh):
    image, _ = crowd(3, 6, 64)
    faces = detector.detect(image)
    assert len(faces) > BATCH
    for face, fit in zip(faces, mesh.fit(image, faces), strict=True):
        assert fit is not None
        x, y = fit.mesh_xyz[1, :2]
        assert face.bbox_xyxy[0] < x < face.bbox_xyxy[2]
        assert face.bbox_xyxy[1] < y < face.bbox_xyxy[3]


def test_fits_every_face_of_the_group(detector: FaceDetector, mesh: LandmarkMesh):
    image = photo_wall()
    assert None not in mesh.fit(image, detector.detect(image))


@pytest.mark.parametrize("name", ["astronaut", "obama"])
@pytest.mark.parametrize("rotation_deg", [-150, -60, 45, 135, 180])
def test_fits_rotated_and_upside_down_faces(detector: FaceDetector, mesh: LandmarkMesh, name: str, rotation_deg: int):
    """YuNet reports landmarks of an upright or slightly tilted face."""
    upright = head_pose(fitted(detector, mesh, bust(name)).mesh_xyz)
    image = rotated(bust(name), rotation_deg)
    [face] = detector.detect(image)
    [fit] = mesh.fit(image, [face])
    assert fit is not None
    pose = head_pose(fit.mesh_xyz)
    assert math.remainder(pose.roll_deg - upright.roll_deg - rotation_deg, 360) == pytest.approx(0, abs=8)
    right_eye, left_eye, _, *mouth = fit.landmarks_xy
    across, down = left_eye - right_eye, np.mean(mouth, axis=0) - (right_eye + left_eye) / 2
    # The mouth is below the eyes in the face's own frame.
    assert across[0] * down[1] - across[1] * down[0] > 0
    detected = face.landmarks_xy[1] - face.landmarks_xy[0]
    angle = math.degrees(math.atan2(across[1], across[0]) - math.atan2(detected[1], detected[0]))
    assert math.remainder(angle - fit.rotation_deg, 360) == pytest.approx(0, abs=8)


def test_rotated_fits_can_be_disabled(detector: FaceDetector, mesh: LandmarkMesh):
    image = rotated(bust("astronaut"), 180)
    [face] = detector.detect(image)
    assert mesh.fit(image, [face], MeshOptions(try_rotations=False)) == [None]


@pytest.mark.parametrize("name", PORTRAITS)
def test_small_network_suffices_for_the_pose_of_a_clear_face(detector: FaceDetector, mesh: LandmarkMesh, name: str):
    image = portrait(name)
    faces = detector.detect(image)
    only_small = LandmarkMesh(threads=1)
    [fit] = only_small.fit(image, faces, detailed=False)
    [detailed] = mesh.fit(image, faces)
    assert list(only_small.loaded) == ["small mesh"]
    assert fit is not None
    assert detailed is not None
    assert fit.presence > 0.99
    pose, expected = head_pose(fit.mesh_xyz), head_pose(detailed.mesh_xyz)
    assert pose.yaw_deg == pytest.approx(expected.yaw_deg, abs=4)
    assert pose.pitch_deg == pytest.approx(expected.pitch_deg, abs=4)
    assert pose.roll_deg == pytest.approx(expected.roll_deg, abs=2)
    size = np.ptp(detailed.mesh_xyz[:, 1])
    assert np.abs(fit.mesh_xyz - detailed.mesh_xyz)[:, :2].mean() < 0.02 * size


def test_unclear_faces_are_fitted_by_the_detailed_network(detector: FaceDetector, mesh: LandmarkMesh):
    image = rotated(bust("astronaut"), 180)
    faces = detector.detect(image)
    [fit], [detailed] = (mesh.search(image, faces, detailed=detailed) for detailed in (False, True))
    assert fit.mesh is not None
    assert detailed.mesh is not None
    np.testing.assert_array_equal(fit.mesh.mesh_xyz, detailed.mesh.mesh_xyz)
    assert (fit.best_logit, fit.mesh.rotation_deg) == (detailed.best_logit, detailed.mesh.rotation_deg)


def test_mesh_crop_is_centered_level_and_1_5_boxes_wide():
    landmarks = np.array([[40, 50], [60, 70], [45, 65], [35, 70], [50, 85]], dtype=np.float32)
    matrix = mesh_crop_matrix(np.array([20, 30, 80, 110], np.float32), landmarks[:2], 256)
    np.testing.assert_allclose(transform_points(matrix, np.array([50, 70])), [128, 128])
    eyes = transform_points(matrix, landmarks[:2])
    assert eyes[1, 1] == pytest.approx(eyes[0, 1])
    assert eyes[1, 0] > eyes[0, 0]
    assert math.sqrt(np.linalg.det(matrix[:, :2])) == pytest.approx(256 / 120)


# --- pose


def posed_mesh(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """Rotate the canonical face, in the axes of `mesh_xyz`: right, down, away from the camera.

    Built without Euler formulas: each rotation moves one axis towards another.
    """
    # Columns: the subject's left, up, out of the face. Rows: x right in the image, y up, z towards the camera.
    axes = np.eye(3)
    for degrees, source, target in ((pitch_deg, 2, 1), (yaw_deg, 2, 0), (roll_deg, 1, 0)):
        rotation = np.eye(3)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        rotation[source, source], rotation[target, source] = cos, sin
        rotation[target, target], rotation[source, target] = cos, -sin
        axes = rotation @ axes
    face = canonical_face()
    xyz = np.zeros((478, 3))
    xyz[face.landmarks] = (face.points_xyz @ axes.T) * (1, -1, -1) * 11 + (300, 200, -5)
    return xyz


def angles(pose: HeadPose) -> tuple[float, float, float]:
    return pose.yaw_deg, pose.pitch_deg, pose.roll_deg


@pytest.mark.parametrize(
    "expected",
    [
        *[(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 25, 0), (0, -25, 0), (0, 0, 40), (0, 0, -40), (0, 0, 150)],
        *[(35, -20, 15), (-50, 30, -60), (80, 10, 5), (-80, -40, 100), (1, 80, 0)],
    ],
)
def test_head_pose_recovers_the_angles(expected: tuple[float, float, float]):
    assert angles(head_pose(posed_mesh(*expected))) == pytest.approx(expected, abs=1e-6)


def test_head_pose_signs_follow_the_subject():
    nose, left_eye, right_eye, forehead, cheek = 4, 263, 33, 10, 205
    left = posed_mesh(30, 0, 0)  # the subject's left is right in the image
    assert left[nose, 0] > left[[33, 263], 0].mean()
    up = posed_mesh(0, 30, 0)
    assert up[nose, 1] - up[cheek, 1] < posed_mesh(0, 0, 0)[nose, 1] - posed_mesh(0, 0, 0)[cheek, 1]
    # Towards the subject's left shoulder: the left eye is lower, the forehead further right.
    tilted = posed_mesh(0, 0, 30)
    assert tilted[left_eye, 1] > tilted[right_eye, 1]
    assert tilted[forehead, 0] > tilted[nose, 0]


def test_full_profile_has_a_yaw_of_90_degrees():
    assert head_pose(posed_mesh(90, 0, 0)).yaw_deg == pytest.approx(90, abs=1e-4)


@pytest.mark.parametrize("expected", [(20, 10, 5), (-35, -15, 30)])
def test_mirrored_mesh_negates_yaw_and_roll(expected: tuple[float, float, float]):
    face = canonical_face()
    opposite = [int(np.abs(face.points_xyz - point * (-1, 1, 1)).sum(axis=1).argmin()) for point in face.points_xyz]
    assert sorted(opposite) == list(range(33))
    xyz = posed_mesh(*expected)
    mirrored_mesh = xyz.copy()
    mirrored_mesh[face.landmarks] = xyz[face.landmarks[opposite]] * (-1, 1, 1)
    yaw, pitch, roll = expected
    assert angles(head_pose(mirrored_mesh)) == pytest.approx((-yaw, pitch, -roll), abs=1e-4)


def test_head_pose_is_invariant_to_scale_and_translation():
    xyz = posed_mesh(20, 10, -5)
    assert angles(head_pose((xyz * 0.01 - 70).astype(np.float32))) == pytest.approx((20, 10, -5), abs=0.05)


def test_fitted_rotation_is_never_a_reflection():
    points = np.random.default_rng(1).normal(size=(20, 3))
    rotation = fit_rotation(points, points * (-1, 1, 1), np.ones(20))
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_head_pose_rejects_meshes_of_another_shape():
    with pytest.raises(InputError, match="478"):
        head_pose(np.zeros((68, 2)))


@pytest.mark.parametrize("name", PORTRAITS)
def test_mirrored_image_negates_yaw_and_roll(detector: FaceDetector, mesh: LandmarkMesh, name: str):
    image = rotated(portrait(name), 10)  # a roll to negate
    pose = head_pose(fitted(detector, mesh, image).mesh_xyz)
    mirrored_pose = head_pose(fitted(detector, mesh, mirrored(image)).mesh_xyz)
    assert abs(pose.roll_deg) > 5
    assert mirrored_pose.yaw_deg == pytest.approx(-pose.yaw_deg, abs=2.5)
    assert mirrored_pose.pitch_deg == pytest.approx(pose.pitch_deg, abs=2.5)
    assert mirrored_pose.roll_deg == pytest.approx(-pose.roll_deg, abs=2)


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("clockwise_deg", [-30, 30])
def test_rotated_image_changes_only_the_roll(
    detector: FaceDetector, mesh: LandmarkMesh, name: str, clockwise_deg: float
):
    upright = head_pose(fitted(detector, mesh, portrait(name)).mesh_xyz)
    pose = head_pose(fitted(detector, mesh, rotated(portrait(name), clockwise_deg)).mesh_xyz)
    assert pose.roll_deg - upright.roll_deg == pytest.approx(clockwise_deg, abs=2)
    assert pose.yaw_deg == pytest.approx(upright.yaw_deg, abs=3)
    assert pose.pitch_deg == pytest.approx(upright.pitch_deg, abs=3)
