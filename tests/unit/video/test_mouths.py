from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien import Analyzer
from mien.faces.landmarks import LandmarkMesh
from mien.results import VideoFrame
from mien.video.mouths import MARGIN_S, MouthMeter, mouth_opening
from support.meshes import UNIT_DEFORMATIONS


@pytest.fixture(scope="module")
def mesh():
    return LandmarkMesh(threads=1)


@pytest.fixture(scope="module")
def frame(tiny_model, portrait):
    result = Analyzer(tiny_model, threads=1).analyze(portrait)
    (face,) = result.faces
    return VideoFrame(index=0, timestamp_s=5.0, scene=1, image=portrait, faces=(replace(face, track_id=7),))


def test_opening_grows_with_the_distance_of_the_lips(frame):
    mesh_xyz = frame.faces[0].mesh_xyz
    opened = UNIT_DEFORMATIONS["AU25"](mesh_xyz)
    assert mouth_opening(opened) > mouth_opening(mesh_xyz) + 0.03
    assert mouth_opening(3 * opened) == pytest.approx(mouth_opening(opened), rel=1e-4)


def test_fits_a_mesh_where_the_face_has_none(mesh, frame):
    meter = MouthMeter(mesh, [(4.0, 6.0)])
    fitted = meter.measure(frame)
    bare = replace(frame, faces=(replace(frame.faces[0], mesh_xyz=None),))
    assert list(fitted) == [7]
    assert meter.measure(bare)[7] == pytest.approx(fitted[7], abs=0.01)


def test_measures_only_near_speech_and_in_frames_with_a_detection(mesh, frame):
    assert MouthMeter(mesh, [(4.0, 4.5), (5.0 + 0.9 * MARGIN_S, 9.0)]).measure(frame)
    for segments in ([], [(0.0, 4.9 - MARGIN_S)], [(5.1 + MARGIN_S, 9.0)]):
        assert MouthMeter(mesh, segments).measure(frame) == {}
    tracked = replace(frame, faces=(replace(frame.faces[0], expression=None),))
    assert MouthMeter(mesh, [(4.0, 6.0)]).measure(tracked) == {}


def test_image_without_the_face_has_no_mouth(mesh, frame):
    face = replace(frame.faces[0], mesh_xyz=None)
    empty = replace(frame, image=np.full_like(frame.image, 128), faces=(face,))
    assert MouthMeter(mesh, [(4.0, 6.0)]).measure(empty) == {}
