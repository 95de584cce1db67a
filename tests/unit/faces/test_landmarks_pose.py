from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import FaceDetector, FittedMesh, LandmarkMesh, head_pose
from mien.faces.landmarks import BATCH, mesh_crop_matrix
from mien.faces.pose import canonical_face, fit_rotation
from mien.geometry import transform_points
from mien.results import Face, HeadPose
from support.images import PORTRAITS, bust, crowd, mirrored, no_face, photo_wall, portrait, rotated, scaled


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(max_size=1280, threads=1)


@pytest.fixture(scope="module")
def mesh() -> LandmarkMesh:
    return LandmarkMesh(threads=1)


def fitted(detector: FaceDetector, mesh: LandmarkMesh, image: np.ndarray) -> FittedMesh:
    [face] = detector.detect(image)
    [found] = mesh.fit(image, [face])
    assert found is not None
    return found


# --- the mesh


def test_no_faces(mesh: LandmarkMesh):
    assert mesh.fit(no_face(), []) == []


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_mesh_agrees_with_the_detector(detector: FaceDetector, mesh: LandmarkMesh, name: str):
    [face] = detector.detect(portrait(name))
    [found] = mesh.fit(portrait(name), [face])
    assert found is not None
    assert found.mesh_xyz.shape == (478, 3)
    assert found.presence > 0.99
    irises, nose, mouth = found.mesh_xyz[[468, 473]], found.mesh_xyz[1], found.mesh_xyz[[61, 291]]
    five = np.vstack([irises, nose, mouth])[:, :2]
    height = face.bbox_xyxy[3] - face.bbox_xyxy[1]
    assert np.abs(five - face.landmarks_xy).max() < 0.1 * height
    assert np.abs(irises[:, :2] - face.landmarks_xy[:2]).max() < 0.05 * height


def test_the_nose_is_nearer_than_the_ears(detector: FaceDetector, mesh: LandmarkMesh):
    xyz = fitted(detector, mesh, portrait("obama")).mesh_xyz
    depth = xyz[[234, 454], 2] - xyz[1, 2]
    width = xyz[454, 0] - xyz[234, 0]
    assert (depth > 0.3 * width).all()  # in pixels of the same length as x and y
    assert (depth < 1.2 * width).all()


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_the_mesh_scales_with_the_image(detector: FaceDetector, mesh: LandmarkMesh, factor: float):
    image = portrait("obama")
    [face] = detector.detect(image)
    larger = replace(face, bbox_xyxy=face.bbox_xyxy * factor, landmarks_xy=face.landmarks_xy * factor)
    [found], [found_larger] = mesh.fit(image, [face]), mesh.fit(scaled(image, factor), [larger])
    assert found is not None
    assert found_larger is not None
    assert np.abs(found_larger.mesh_xyz / factor - found.mesh_xyz).max() < 0.03 * 289


def test_where_there_is_no_face_there_is_no_mesh(detector: FaceDetector, mesh: LandmarkMesh):
    image = portrait("astronaut")
    [face] = detector.detect(image)
    shift = np.array([-150, 250])
    elsewhere = replace(
        face, bbox_xyxy=face.bbox_xyxy + np.tile(shift, 2), landmarks_xy=face.landmarks_xy + shift
    )
    missing, found = mesh.fit(image, [elsewhere, face])
    assert missing is None
    assert found is not None


def test_a_box_outside_the_image_and_an_empty_box(mesh: LandmarkMesh):
    landmarks = np.array([[900, 900], [910, 900], [905, 905], [901, 910], [909, 910]], dtype=np.float32)
    outside = Face(bbox_xyxy=np.array([890, 890, 920, 920], np.float32), landmarks_xy=landmarks, confidence=1)
    empty = Face(
        bbox_xyxy=np.full(4, 60, np.float32), landmarks_xy=np.full((5, 2), 60, np.float32), confidence=1
    )
    assert mesh.fit(no_face((64, 64)), [outside, empty]) == [None, None]


def test_many_faces_go_in_batches_and_keep_their_order(detector: FaceDetector, mesh: LandmarkMesh):
    image, _ = crowd(3, 6, 64)
    faces = detector.detect(image)
    assert len(faces) > BATCH
    for face, found in zip(faces, mesh.fit(image, faces), strict=True):
        assert found is not None
        x, y = found.mesh_xyz[1, :2]
        assert face.bbox_xyxy[0] < x < face.bbox_xyxy[2]
        assert face.bbox_xyxy[1] < y < face.bbox_xyxy[3]


def test_every_face_of_the_group_gets_a_mesh(detector: FaceDetector, mesh: LandmarkMesh):
    image = photo_wall()
    assert None not in mesh.fit(image, detector.detect(image))


@pytest.mark.parametrize("name", ["astronaut", "obama"])
@pytest.mark.parametrize("rotation_deg", [-150, -60, 45, 135, 180])
def test_faces_on_their_side_and_upside_down(
    detector: FaceDetector, mesh: LandmarkMesh, name: str, rotation_deg: int
):
    """YuNet calls them faces, and gives them the landmarks of an upright or hardly tilted one."""
    upright = head_pose(fitted(detector, mesh, bust(name)).mesh_xyz)
    image = rotated(bust(name), rotation_deg)
    [face] = detector.detect(image)
    [found] = mesh.fit(image, [face])
    assert found is not None
    pose = head_pose(found.mesh_xyz)
    assert math.remainder(pose.roll_deg - upright.roll_deg - rotation_deg, 360) == pytest.approx(0, abs=8)
    right_eye, left_eye, _, *mouth = found.landmarks_xy
    across, down = left_eye - right_eye, np.mean(mouth, axis=0) - (right_eye + left_eye) / 2
    assert across[0] * down[1] - across[1] * down[0] > 0  # the mouth lies below the eyes, as the face sees it
    stated = face.landmarks_xy[1] - face.landmarks_xy[0]
    turn = math.degrees(math.atan2(across[1], across[0]) - math.atan2(stated[1], stated[0]))
    assert math.remainder(turn - found.rotation_deg, 360) == pytest.approx(0, abs=8)


def test_in_moving_images_no_turn_is_tried(detector: FaceDetector, mesh: LandmarkMesh):
    image = rotated(bust("astronaut"), 180)
    [face] = detector.detect(image)
    assert mesh.fit(image, [face], rotated=False) == [None]


def test_the_crop_is_centered_level_and_one_and_a_half_boxes_wide():
    landmarks = np.array([[40, 50], [60, 70], [45, 65], [35, 70], [50, 85]], dtype=np.float32)
    matrix = mesh_crop_matrix(np.array([20, 30, 80, 110], np.float32), landmarks[:2], 256)
    np.testing.assert_allclose(transform_points(matrix, np.array([50, 70])), [128, 128])
    eyes = transform_points(matrix, landmarks[:2])
    assert eyes[1, 1] == pytest.approx(eyes[0, 1])
    assert eyes[1, 0] > eyes[0, 0]
    assert math.sqrt(np.linalg.det(matrix[:, :2])) == pytest.approx(256 / 120)


# --- the pose


def posed_mesh(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """The canonical face turned by hand, in the axes of `mesh_xyz`: right, down, away from the camera.

    Built without Euler formulas: each turn moves the tip of one axis towards another.
    """
    axes = np.eye(
        3
    )  # columns: the subject's left, up, out of the face; x right in the image, y up, z to the camera
    for degrees, source, target in ((pitch_deg, 2, 1), (yaw_deg, 2, 0), (roll_deg, 1, 0)):
        turn = np.eye(3)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn[source, source], turn[target, source] = cos, sin
        turn[target, target], turn[source, target] = cos, -sin
        axes = turn @ axes
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
def test_the_angles_put_in_come_out(expected: tuple[float, float, float]):
    assert angles(head_pose(posed_mesh(*expected))) == pytest.approx(expected, abs=1e-6)


def test_the_signs_mean_what_the_words_say():
    nose, left_eye, right_eye, forehead, cheek = 4, 263, 33, 10, 205
    left = posed_mesh(30, 0, 0)  # to the subject's left is to the right in the image
    assert left[nose, 0] > left[[33, 263], 0].mean()
    up = posed_mesh(0, 30, 0)
    assert up[nose, 1] - up[cheek, 1] < posed_mesh(0, 0, 0)[nose, 1] - posed_mesh(0, 0, 0)[cheek, 1]
    tilted = posed_mesh(
        0, 0, 30
    )  # towards the subject's left shoulder: the left eye sinks, the forehead goes right
    assert tilted[left_eye, 1] > tilted[right_eye, 1]
    assert tilted[forehead, 0] > tilted[nose, 0]


def test_a_full_profile_has_a_pose():
    assert head_pose(posed_mesh(90, 0, 0)).yaw_deg == pytest.approx(90, abs=1e-4)


@pytest.mark.parametrize("expected", [(20, 10, 5), (-35, -15, 30)])
def test_a_mirrored_mesh_negates_yaw_and_roll(expected: tuple[float, float, float]):
    face = canonical_face()
    opposite = [
        int(np.abs(face.points_xyz - point * (-1, 1, 1)).sum(axis=1).argmin()) for point in face.points_xyz
    ]
    assert sorted(opposite) == list(range(33))
    xyz = posed_mesh(*expected)
    flipped = xyz.copy()
    flipped[face.landmarks] = xyz[face.landmarks[opposite]] * (-1, 1, 1)
    yaw, pitch, roll = expected
    assert angles(head_pose(flipped)) == pytest.approx((-yaw, pitch, -roll), abs=1e-4)


def test_size_and_place_do_not_change_the_pose():
    xyz = posed_mesh(20, 10, -5)
    assert angles(head_pose((xyz * 0.01 - 70).astype(np.float32))) == pytest.approx((20, 10, -5), abs=0.05)


def test_a_fitted_rotation_is_never_a_reflection():
    points = np.random.default_rng(1).normal(size=(20, 3))
    rotation = fit_rotation(points, points * (-1, 1, 1), np.ones(20))
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_mesh_of_another_shape():
    with pytest.raises(InputError, match="478"):
        head_pose(np.zeros((68, 2)))


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_mirrored_image_negates_yaw_and_roll(detector: FaceDetector, mesh: LandmarkMesh, name: str):
    image = rotated(portrait(name), 10)  # so that there is a roll to negate
    pose, flipped = (head_pose(fitted(detector, mesh, one).mesh_xyz) for one in (image, mirrored(image)))
    assert abs(pose.roll_deg) > 5
    assert flipped.yaw_deg == pytest.approx(-pose.yaw_deg, abs=2.5)
    assert flipped.pitch_deg == pytest.approx(pose.pitch_deg, abs=2.5)
    assert flipped.roll_deg == pytest.approx(-pose.roll_deg, abs=2)


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("clockwise_deg", [-30, 30])
def test_a_turned_image_changes_the_roll_alone(
    detector: FaceDetector, mesh: LandmarkMesh, name: str, clockwise_deg: float
):
    upright = head_pose(fitted(detector, mesh, portrait(name)).mesh_xyz)
    pose = head_pose(fitted(detector, mesh, rotated(portrait(name), clockwise_deg)).mesh_xyz)
    assert pose.roll_deg - upright.roll_deg == pytest.approx(clockwise_deg, abs=2)
    assert pose.yaw_deg == pytest.approx(upright.yaw_deg, abs=3)
    assert pose.pitch_deg == pytest.approx(upright.pitch_deg, abs=3)
