"""Faces followed through frames: when they are read, what holds in between, cuts, and going on elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from mien.errors import InputError, ModelError
from mien.faces.alignment import TEMPLATES
from mien.results import Expression, Face, HeadPose, Quality
from mien.video.follower import POSE_S, FaceFollower
from mien.video.io.sources import DecodedFrame

LABELS = ("calm", "glad")
FPS = 25


def face_at(x, y=40.0, size=60.0):
    landmarks = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    return Face(
        bbox_xyxy=np.array([x, y, x + size, y + size], dtype=np.float32),
        landmarks_xy=(landmarks * size + (x, y)).astype(np.float32),
        confidence=0.95,
    )


class Reader:
    """Stands for an `Analyzer`: faces where `places` says, read as it is told; notes in which frames."""

    def __init__(self, places):
        self.places, self.read_in = places, []
        self.manifest = SimpleNamespace(labels=LABELS, abstain_below=0.0)

    def detect(self, image, *, rotated):
        self.read_in.append(int(image[0, 0, 0]))
        return [face if isinstance(face, Face) else face_at(face) for face in self.places(self.read_in[-1])]

    def predict_faces(self, image, faces, **options):
        index = int(image[0, 0, 0])
        glad = 0.5 + 0.4 * np.sin(index)
        return [
            replace(
                face,
                head_pose=face.head_pose or HeadPose(yaw_deg=float(index), pitch_deg=1.5, roll_deg=-2.25),
                quality=Quality(
                    size_px=60.0, sharpness=0.5, frontality=0.9 if index % 2 else None, visible=1.0
                ),
                expression=Expression(
                    labels=LABELS,
                    probabilities=np.array([1 - glad, glad], dtype=np.float32),
                    label=LABELS[int(glad > 0.5)],
                    confidence=max(glad, 1 - glad),
                ),
            )
            for face in faces
        ]


def image(index, scene=0):
    """An image that carries its number in its first pixel; another place and other colors in another scene."""
    rng = np.random.default_rng(scene)
    cells = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8) // (1 if scene % 2 else 2) + (
        0 if scene % 2 else 90
    )
    image = np.kron(cells, np.ones((40, 40, 1))).astype(np.uint8)
    image[0, 0] = index
    return image


def frames(count, scene_of=lambda index: 0):
    return [DecodedFrame(index, index / FPS, image(index, scene_of(index))) for index in range(count)]


def follow(count, *, places=lambda index: [50 + index], scene_of=lambda index: 0, detect_every=3):
    reader = Reader(places)
    follower = FaceFollower(reader, detect_every=detect_every)
    return [follower.step(frame) for frame in frames(count, scene_of)], reader.read_in


@pytest.mark.parametrize("detect_every", [1, 3, 5])
def test_one_frame_of_so_many_is_read_and_the_others_are_followed(detect_every):
    found, read_in = follow(16, detect_every=detect_every)
    assert read_in == list(range(0, 16, detect_every))
    for index, frame in enumerate(found):
        assert (frame.index, frame.timestamp_s, frame.scene) == (index, index / FPS, 1)
        (face,) = frame.faces
        assert face.track_id == 1
        assert (face.expression is not None) == (index % detect_every == 0)
        assert face.smoothed is not None
        assert face.bbox_xyxy[0] == pytest.approx(50 + index, abs=detect_every)


def test_head_quality_and_the_steady_expression_hold_between_readings():
    found, _ = follow(12)
    for index, frame in enumerate(found):
        face, read = frame.faces[0], found[index - index % 3].faces[0]
        assert (face.head_pose, face.quality) == (read.head_pose, read.quality)
        assert face.smoothed.to_dict() == read.smoothed.to_dict()
    assert len({frame.faces[0].smoothed.confidence for frame in found}) == 4


def test_a_pose_is_fitted_anew_when_it_is_old_or_the_head_has_turned():
    still, _ = follow(60, places=lambda index: [50])
    fitted_in = sorted({frame.faces[0].head_pose.yaw_deg for frame in still})
    assert fitted_in[0] == 0
    assert [later - sooner for sooner, later in pairwise(fitted_in)] == [
        pytest.approx(POSE_S * FPS, abs=3)
    ] * (len(fitted_in) - 1)
    assert len(fitted_in) > 1

    def tilting(index):
        face, angle = face_at(50), np.radians(10 if index >= 9 else 0)
        middle = face.landmarks_xy.mean(axis=0)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return [replace(face, landmarks_xy=((face.landmarks_xy - middle) @ turn + middle).astype(np.float32))]

    tilted, _ = follow(15, places=tilting)
    assert [frame.faces[0].head_pose.yaw_deg for frame in tilted] == [0] * 9 + [9] * 6


def test_no_faces_at_all():
    found, read_in = follow(7, places=lambda index: [])
    assert [frame.faces for frame in found] == [()] * 7
    assert read_in == [0, 3, 6]


def test_the_pixels_are_those_of_the_frame():
    reader = Reader(lambda index: [50])
    (frame,) = frames(1)
    assert FaceFollower(reader).step(frame).image is frame.image


def test_faces_come_in_the_order_of_their_numbers_and_a_new_one_gets_the_next():
    found, _ = follow(12, places=lambda index: [50, 200] if index < 6 else [130, 200, 50])
    assert [[face.track_id for face in frame.faces] for frame in found] == [[1, 2]] * 6 + [[1, 2, 3]] * 6
    assert found[-1].faces[2].bbox_xyxy[0] == pytest.approx(130, abs=2)


@pytest.mark.parametrize("at", [4, 6, 8])
def test_a_cut_begins_a_scene_with_new_numbers_and_a_reading_at_once(at):
    found, read_in = follow(12, places=lambda index: [50], scene_of=lambda index: int(index >= at))
    assert [frame.scene for frame in found] == [1] * at + [2] * (12 - at)
    assert [frame.faces[0].track_id for frame in found] == [1] * at + [2] * (12 - at)
    assert read_in == [*range(0, at, 3), *range(at, 12, 3)]
    face = found[at].faces[0]
    np.testing.assert_array_equal(face.smoothed.probabilities, face.expression.probabilities)


def test_a_face_that_is_gone_for_long_is_forgotten():
    away = range(6, 60)
    reader = Reader(lambda index: [] if index in away else [50])
    follower = FaceFollower(reader)
    found = [follower.step(frame) for frame in frames(66)]
    assert [face.track_id for face in found[5].faces] == [1]
    assert all(frame.faces == () for frame in found[6:60])
    assert list(follower.smoother.state()) == ["2"]
    assert list(follower.state()["heads"]) == ["2"]
    assert [face.track_id for face in found[-1].faces] == [2]


@pytest.mark.parametrize("stop", range(1, 14))
def test_another_process_goes_on_exactly(stop):
    def places(index):
        return [50 + 2 * index, 240 - index] if index not in range(5, 8) else [50 + 2 * index]

    def scene_of(index):
        return int(index >= 9)

    expected = [frame.to_dict() for frame in follow(15, places=places, scene_of=scene_of)[0]]
    first, second = FaceFollower(Reader(places)), FaceFollower(Reader(places))
    images = frames(15, scene_of)
    found = [first.step(frame).to_dict() for frame in images[:stop]]
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    second.restore(state)
    assert second.state() == first.state()
    found += [second.step(frame).to_dict() for frame in images[stop:]]
    assert found == expected


def test_landmarks_that_are_no_face_leave_it_out_and_the_run_goes_on():
    """Mirrored and squeezed so that no turn and scale brings them nearer to a face than nothing."""
    middle = TEMPLATES["ferplus"] - TEMPLATES["ferplus"].mean(axis=0)
    squeeze = (middle[:, 1] ** 2).sum() / (middle[:, 0] ** 2).sum()
    mirrored = middle * [-squeeze, 1] * 60 + [230, 70]
    for landmarks_xy in (mirrored, np.full((5, 2), np.nan)):
        broken = replace(face_at(200), landmarks_xy=landmarks_xy)
        found, _ = follow(7, places=lambda index, broken=broken: [broken, 50])
        assert [[face.track_id for face in frame.faces] for frame in found] == [[1]] * 7
        assert found[0].faces[0].bbox_xyxy[0] == 50


def test_landmarks_in_one_point_do_not_end_the_run():
    broken = replace(face_at(200), landmarks_xy=np.full((5, 2), 60.0))
    found, _ = follow(7, places=lambda index: [50, broken])
    assert all(frame.faces[0].bbox_xyxy[0] == 50 for frame in found)


def test_a_network_that_fails_does():
    class Failing(Reader):
        def predict_faces(self, image, faces, **options):
            raise ModelError("no memory")

    with pytest.raises(ModelError, match="no memory"):
        FaceFollower(Failing(lambda index: [50])).step(frames(1)[0])


def test_a_true_analyzer_gives_what_a_image_alone_gives(tiny_model, portrait):
    from mien.inference.analyzer import Analyzer

    analyzer = Analyzer(tiny_model, threads=1)
    frame = FaceFollower(analyzer, smoothing_s=0).step(DecodedFrame(7, 0.0, portrait))
    (face,), (alone,) = frame.faces, analyzer.analyze(portrait)
    record = face.to_dict()
    assert (record.pop("track_id"), record.pop("smoothed")["label"]) == (1, alone.expression.label)
    assert record == alone.to_dict()


@pytest.mark.parametrize("options", [{"detect_every": 0}, {"detect_every": -3}, {"smoothing_s": -1.0}])
def test_options_out_of_range_are_errors(options):
    with pytest.raises(InputError):
        FaceFollower(Reader(lambda index: []), **options)
