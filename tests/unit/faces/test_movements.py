"""Blendshapes, action units and gaze: a mesh deformed unit by unit, mirrored and rotated faces."""

import numpy as np
import pytest

from mien.action_units import ACTION_UNIT_NAMES
from mien.faces import FaceDetector, LandmarkMesh
from mien.faces.blendshapes import BlendshapeModel, level
from mien.faces.gaze import eye_gaze
from mien.faces.movements import estimate_action_units, lips_part
from mien.imaging import read_image
from support.meshes import IRISES, UNIT_DEFORMATIONS, shift

MIN_RISE = 0.04
"""Minimum rise of a unit when the mesh is deformed."""


@pytest.fixture(scope="module")
def model() -> BlendshapeModel:
    return BlendshapeModel(threads=1)


@pytest.fixture(scope="module")
def meshes(examples) -> dict[str, np.ndarray]:
    """Leveled meshes (478, 3) of the largest face in each example, and of its mirror image."""
    detector, network = FaceDetector(threads=1), LandmarkMesh(threads=1)
    meshes = {}
    for name in ("astronaut", "biden", "obama"):
        image = read_image(examples / f"{name}.jpg")
        for suffix, pixels in (("", image), (" mirrored", np.ascontiguousarray(image[:, ::-1]))):
            (fit,) = network.fit(pixels, detector.detect(pixels)[:1])
            assert fit is not None
            meshes[name + suffix] = np.column_stack([level(fit.mesh_xyz), fit.mesh_xyz[:, 2]])
    return meshes


def estimate(model: BlendshapeModel, mesh_xyz: np.ndarray) -> dict[str, float]:
    blendshapes = dict(zip(model.names, model.predict([mesh_xyz])[0].tolist(), strict=True))
    return estimate_action_units(blendshapes, mesh_xyz)


def other_side(name: str) -> str:
    return name.translate(str.maketrans("LR", "RL")) if name.endswith(("_L", "_R")) else name


def test_no_faces_have_no_blendshapes(model):
    assert model.predict([]).shape == (0, 46)


def test_every_unit_is_estimated_within_0_and_1(model, meshes):
    intensities = estimate(model, meshes["obama"])
    assert tuple(intensities) == ACTION_UNIT_NAMES
    assert all(0 <= intensity <= 1 for intensity in intensities.values())


@pytest.mark.parametrize("name", UNIT_DEFORMATIONS)
def test_a_deformed_mesh_moves_its_unit(model, meshes, name):
    before = estimate(model, meshes["biden"])
    after = estimate(model, UNIT_DEFORMATIONS[name](meshes["biden"]))
    assert after[name] - before[name] > MIN_RISE
    if other_side(name) != name:
        other = other_side(name)
        assert after[name] - before[name] > 1.5 * (after[other] - before[other])


def test_a_batch_equals_single_faces(model, meshes):
    batch = list(meshes.values()) * 4
    expected = np.concatenate([model.predict([mesh]) for mesh in batch])
    np.testing.assert_allclose(model.predict(batch), expected, atol=1e-4)


def test_a_rotated_face_has_the_same_blendshapes(model, meshes):
    angle = np.radians(70)
    rotated = meshes["obama"].copy()
    rotated[:, :2] @= np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(model.predict([rotated]), model.predict([meshes["obama"]]), atol=1e-3)


@pytest.mark.parametrize("name", ["astronaut", "biden", "obama"])
def test_a_mirrored_face_has_mirrored_units(model, meshes, name):
    original, mirrored = (estimate(model, meshes[key]) for key in (name, f"{name} mirrored"))
    differences = [abs(original[unit] - mirrored[other_side(unit)]) for unit in original]
    assert np.mean(differences) < 0.06
    assert max(differences) < 0.3


def test_smiling_portraits_pull_lip_corners_and_a_neutral_one_does_not(model, meshes):
    smiles = {name: estimate(model, meshes[name])["AU12"] for name in ("astronaut", "obama", "biden")}
    assert min(smiles["astronaut"], smiles["obama"]) > 0.7
    assert smiles["biden"] < 0.2


def test_closed_lips_have_no_distance(meshes):
    closed = meshes["biden"].copy()
    closed[14] = closed[13]
    assert lips_part(closed) == 0


@pytest.mark.parametrize(("x", "y", "yaw_sign", "pitch_sign"), [(0.03, 0, 1, 0), (-0.03, 0, -1, 0), (0, -0.02, 0, 1)])
def test_gaze_follows_the_irises(meshes, x, y, yaw_sign, pitch_sign):
    before, after = eye_gaze(meshes["biden"]), eye_gaze(shift(IRISES, x, y)(meshes["biden"]))
    yaw_deg, pitch_deg = after.yaw_deg - before.yaw_deg, after.pitch_deg - before.pitch_deg
    assert yaw_deg * yaw_sign > 20 if yaw_sign else abs(yaw_deg) < 2
    assert pitch_deg * pitch_sign > 12 if pitch_sign else abs(pitch_deg) < 2


def test_gaze_of_a_mirrored_face_is_mirrored(meshes):
    for name in ("astronaut", "biden", "obama"):
        original, mirrored = eye_gaze(meshes[name]), eye_gaze(meshes[f"{name} mirrored"])
        assert abs(original.yaw_deg + mirrored.yaw_deg) < 8
        assert abs(original.pitch_deg - mirrored.pitch_deg) < 8
