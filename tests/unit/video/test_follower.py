"""Face follower: detection interval, attributes in between, scene cuts, degenerate faces, restored state."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from mien.errors import InputError, ModelError
from mien.faces.alignment import TEMPLATES
from mien.faces.landmarks import VIDEO_FRAME
from mien.inference.options import AnalysisOptions
from mien.results import Expression, Face, Gaze, HeadPose, Quality
from mien.video.follower import FIRST_SEARCHES, POSE_S, FaceFollower
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


class FakeAnalyzer:
    """An `Analyzer` with faces at given positions per frame; records the frames with detection."""

    def __init__(self, positions):
        self.positions, self.detected_in = positions, []
        self.manifest = SimpleNamespace(labels=LABELS, abstain_below=0.0)
        self.options = AnalysisOptions()

    def detect(self, image, *, rotated):
        self.detected_in.append(int(image[0, 0, 0]))
        return [face if isinstance(face, Face) else face_at(face) for face in self.positions(self.detected_in[-1])]

    def predict_faces(self, image, faces, mesh_options):
        index = int(image[0, 0, 0])
        glad = 0.5 + 0.4 * np.sin(index)
        return [
            replace(
                face,
                head_pose=face.head_pose or HeadPose(yaw_deg=float(index), pitch_deg=1.5, roll_deg=-2.25),
                quality=Quality(size_px=60.0, sharpness=0.5, frontality=0.9 if index % 2 else None, visible=1.0),
                action_units={"AU12": float(glad), "AU43": 0.1},
                gaze=Gaze(yaw_deg=10 * float(glad), pitch_deg=0.0),
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
    """An image with its index in the first pixel; layout and colors differ between scenes."""
    rng = np.random.default_rng(scene)
    cells = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8) // (1 if scene % 2 else 2) + (0 if scene % 2 else 90)
    details = np.kron(rng.integers(-12, 13, (24, 32, 1)), np.ones((10, 10, 1)))
    image = (np.kron(cells, np.ones((40, 40, 1))) + details).clip(0, 255).astype(np.uint8)
    image[0, 0] = index
    return image


def frames(count, scene_of=lambda index: 0):
    return [DecodedFrame(index, index / FPS, image(index, scene_of(index))) for index in range(count)]


def follow(count, *, positions=lambda index: [50 + index], scene_of=lambda index: 0, detect_every=3):
    analyzer = FakeAnalyzer(positions)
    follower = FaceFollower(analyzer, detect_every=detect_every)
    return [follower.step(frame) for frame in frames(count, scene_of)], analyzer.detected_in


@pytest.mark.parametrize("detect_every", [1, 3, 5])
def test_detects_every_nth_frame_and_tracks_in_between(detect_every):
    results, detected_in = follow(16, detect_every=detect_every)
    assert detected_in == list(range(0, 16, detect_every))
    for index, frame in enumerate(results):
        assert (frame.index, frame.timestamp_s, frame.scene) == (index, index / FPS, 1)
        (face,) = frame.faces
        assert face.track_id == 1
        assert (face.expression is not None) == (index % detect_every == 0)
        assert face.smoothed is not None
        assert face.bbox_xyxy[0] == pytest.approx(50 + index, abs=detect_every)


def test_holds_smoothed_action_units_between_detections():
    results, _ = follow(12)
    for index, frame in enumerate(results):
        face, detected = frame.faces[0], results[index - index % 3].faces[0]
        assert (face.action_units is None) == (index % 3 > 0)
        assert face.smoothed_action_units == detected.smoothed_action_units
        assert face.smoothed_gaze == detected.smoothed_gaze
    raw = [frame.faces[0].action_units["AU12"] for frame in results[::3]]
    smoothed = [frame.faces[0].smoothed_action_units["AU12"] for frame in results[::3]]
    assert np.ptp(smoothed) < np.ptp(raw)


def test_keeps_pose_quality_and_smoothed_expression_between_detections():
    results, _ = follow(12)
    for index, frame in enumerate(results):
        face, detected = frame.faces[0], results[index - index % 3].faces[0]
        assert (face.head_pose, face.quality) == (detected.head_pose, detected.quality)
        assert face.smoothed.to_dict() == detected.smoothed.to_dict()
    assert len({frame.faces[0].smoothed.confidence for frame in results}) == 4


def test_fits_pose_again_when_old_or_head_tilted():
    still, _ = follow(60, positions=lambda index: [50])
    fitted_in = sorted({frame.faces[0].head_pose.yaw_deg for frame in still})
    assert fitted_in[:FIRST_SEARCHES] == [0, 3, 6]
    fitted_in = fitted_in[FIRST_SEARCHES - 1 :]
    assert [later - sooner for sooner, later in pairwise(fitted_in)] == [pytest.approx(POSE_S * FPS, abs=3)] * (
        len(fitted_in) - 1
    )
    assert len(fitted_in) > 1

    def tilting(index):
        face, angle = face_at(50), np.radians(10 if index >= 9 else 0)
        middle = face.landmarks_xy.mean(axis=0)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return [replace(face, landmarks_xy=((face.landmarks_xy - middle) @ turn + middle).astype(np.float32))]

    tilted, _ = follow(15, positions=tilting)
    assert [frame.faces[0].head_pose.yaw_deg for frame in tilted] == [0] * 3 + [3] * 3 + [6] * 3 + [9] * 6


class UpsideDownAnalyzer(FakeAnalyzer):
    """An analyzer of a head whose mesh is found upside down in the given frames, and glad only then."""

    def __init__(self, found_in):
        super().__init__(lambda index: [50])
        self.found_in, self.searched_in = found_in, []

    def predict_faces(self, image, faces, mesh_options):
        index = int(image[0, 0, 0])
        self.searched_in += [index] * mesh_options.try_rotations
        is_found = mesh_options.try_rotations and index in self.found_in
        glad = 0.9 if is_found else 0.1
        expression = Expression(labels=LABELS, probabilities=np.array([1 - glad, glad]), label=None, confidence=0.9)
        landmarks = faces[0].landmarks_xy[::-1].copy() if is_found else faces[0].landmarks_xy
        pose = HeadPose(yaw_deg=0.0, pitch_deg=0.0, roll_deg=180.0)
        return [replace(faces[0], landmarks_xy=landmarks, head_pose=faces[0].head_pose or pose, expression=expression)]


def labels_of(analyzer, count):
    follower = FaceFollower(analyzer, detect_every=3)
    return [follower.step(frame).faces[0].smoothed.label for frame in frames(count)]


def test_meshes_are_fitted_with_the_options_of_video_frames():
    class Recording(FakeAnalyzer):
        options_of_fits = ()

        def predict_faces(self, image, faces, mesh_options):
            self.options_of_fits += (mesh_options,)
            return super().predict_faces(image, faces, mesh_options)

    analyzer = Recording(lambda index: [50])
    follower = FaceFollower(analyzer, detect_every=1)
    for frame in frames(8):
        follower.step(frame)
    searched = [options.try_rotations for options in analyzer.options_of_fits]
    assert searched == [True] * FIRST_SEARCHES + [False] * (8 - FIRST_SEARCHES)
    assert {replace(options, try_rotations=False) for options in analyzer.options_of_fits} == {VIDEO_FRAME}


@pytest.mark.parametrize("step_s", [0.9, 1.0, 2.0])
def test_upside_down_head_keeps_its_label_at_low_frame_rates(step_s):
    follower = FaceFollower(UpsideDownAnalyzer(range(20)), smoothing_s=0)
    images = [DecodedFrame(index, index * step_s, image(index)) for index in range(20)]
    assert {follower.step(frame).faces[0].smoothed.label for frame in images} == {"glad"}


def test_upside_down_head_is_searched_in_every_prediction_and_others_every_three_seconds():
    upside_down = UpsideDownAnalyzer(set(range(0, 60)) - {9, 12})
    assert labels_of(upside_down, 60) == ["glad"] * 60
    assert upside_down.searched_in == upside_down.detected_in
    upright = UpsideDownAnalyzer(set())
    assert labels_of(upright, 90) == ["calm"] * 90
    assert upright.searched_in == [0, 3, 6, 81]


def test_turned_head_that_straightens_counts_again():
    labels = labels_of(UpsideDownAnalyzer(set(range(20))), 70)
    assert (labels[0], labels[-1]) == ("glad", "calm")


def test_frames_without_faces():
    results, detected_in = follow(7, positions=lambda index: [])
    assert [frame.faces for frame in results] == [()] * 7
    assert detected_in == [0, 3, 6]


def test_returns_the_image_of_the_frame():
    (frame,) = frames(1)
    assert FaceFollower(FakeAnalyzer(lambda index: [50])).step(frame).image is frame.image


def test_faces_are_in_order_of_track_id():
    results, _ = follow(12, positions=lambda index: [50, 200] if index < 6 else [130, 200, 50])
    assert [[face.track_id for face in frame.faces] for frame in results] == [[1, 2]] * 6 + [[1, 2, 3]] * 6
    assert results[-1].faces[2].bbox_xyxy[0] == pytest.approx(130, abs=2)


@pytest.mark.parametrize("at", [4, 6, 8])
def test_cut_begins_a_scene_with_new_track_ids_and_a_detection(at):
    results, detected_in = follow(12, positions=lambda index: [50], scene_of=lambda index: int(index >= at))
    assert [frame.scene for frame in results] == [1] * at + [2] * (12 - at)
    assert [frame.faces[0].track_id for frame in results] == [1] * at + [2] * (12 - at)
    assert detected_in == [*range(0, at, 3), *range(at, 12, 3)]
    face = results[at].faces[0]
    np.testing.assert_array_equal(face.smoothed.probabilities, face.expression.probabilities)


def test_face_out_of_view_for_long_is_dropped():
    away = range(6, 60)
    follower = FaceFollower(FakeAnalyzer(lambda index: [] if index in away else [50]))
    results = [follower.step(frame) for frame in frames(66)]
    assert [face.track_id for face in results[5].faces] == [1]
    assert all(frame.faces == () for frame in results[6:60])
    assert list(follower.smoother.state()) == ["2"]
    assert list(follower.state()["heads"]) == ["2"]
    assert [face.track_id for face in results[-1].faces] == [2]


@pytest.mark.parametrize("stop", range(1, 14))
def test_restored_follower_continues_exactly(stop):
    def positions(index):
        return [50 + 2 * index, 240 - index] if index not in range(5, 8) else [50 + 2 * index]

    def scene_of(index):
        return int(index >= 9)

    expected = [frame.to_dict() for frame in follow(15, positions=positions, scene_of=scene_of)[0]]
    first, second = FaceFollower(FakeAnalyzer(positions)), FaceFollower(FakeAnalyzer(positions))
    images = frames(15, scene_of)
    results = [first.step(frame).to_dict() for frame in images[:stop]]
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    second.restore(state)
    assert second.state() == first.state()
    results += [second.step(frame).to_dict() for frame in images[stop:]]
    assert results == expected


def test_leaves_out_face_with_degenerate_landmarks():
    """Landmarks mirrored and squeezed so that no similarity transform aligns them with a face."""
    middle = TEMPLATES["ferplus"] - TEMPLATES["ferplus"].mean(axis=0)
    squeeze = (middle[:, 1] ** 2).sum() / (middle[:, 0] ** 2).sum()
    mirrored = middle * [-squeeze, 1] * 60 + [230, 70]
    for landmarks_xy in (mirrored, np.full((5, 2), np.nan)):
        broken = replace(face_at(200), landmarks_xy=landmarks_xy)
        results, _ = follow(7, positions=lambda index, broken=broken: [broken, 50])
        assert [[face.track_id for face in frame.faces] for frame in results] == [[1]] * 7
        assert results[0].faces[0].bbox_xyxy[0] == 50


def test_accepts_landmarks_in_one_point():
    broken = replace(face_at(200), landmarks_xy=np.full((5, 2), 60.0))
    results, _ = follow(7, positions=lambda index: [50, broken])
    assert all(frame.faces[0].bbox_xyxy[0] == 50 for frame in results)


def test_failing_network_raises():
    class Failing(FakeAnalyzer):
        def predict_faces(self, image, faces, mesh_options):
            raise ModelError("no memory")

    with pytest.raises(ModelError, match="no memory"):
        FaceFollower(Failing(lambda index: [50])).step(frames(1)[0])


def test_first_frame_equals_analysis_of_the_image(tiny_model, portrait):
    from mien.inference.analyzer import Analyzer

    analyzer = Analyzer(tiny_model, threads=1)
    frame = FaceFollower(analyzer, smoothing_s=0).step(DecodedFrame(7, 0.0, portrait))
    (face,), (expected,) = frame.faces, analyzer.analyze(portrait)
    record = face.to_dict()
    assert (record.pop("track_id"), record.pop("smoothed")["label"]) == (1, expected.expression.label)
    assert record == expected.to_dict()


@pytest.mark.parametrize(
    "options",
    [
        *({"detect_every": value} for value in (0, -3, "2", 1.5)),
        *({"smoothing_s": value} for value in (-1.0, "1", None, float("nan"))),
    ],
)
def test_rejects_options_out_of_range(options):
    with pytest.raises(InputError):
        FaceFollower(FakeAnalyzer(lambda index: []), **options)


@pytest.mark.parametrize("fps", [0.2, 1, 2, 5, 60, 120])
def test_detects_by_time_and_keeps_faces_at_any_frame_rate(fps):
    analyzer = FakeAnalyzer(lambda index: [50, 200])
    follower = FaceFollower(analyzer)
    images = [DecodedFrame(index, index / fps, image(index)) for index in range(40)]
    results = [follower.step(frame) for frame in images]
    assert {tuple(face.track_id for face in frame.faces) for frame in results} == {(1, 2)}
    assert {face.smoothed is not None for frame in results for face in frame.faces} == {True}
    times_s = np.array(analyzer.detected_in) / fps
    assert np.diff(times_s).max() == pytest.approx(max(1 / fps, 0.09), abs=0.011)


@pytest.mark.parametrize("detect_every", [None, 5])
def test_changed_appearance_between_detections_is_detected_at_once(detect_every):
    """Another face appears at the position of a tracked one, within a scene."""

    def other(frame):
        pixels = frame.image.copy()
        pixels[40:100, 50:110] = np.random.default_rng(5).integers(0, 255, (6, 6, 3)).repeat(10, 0).repeat(10, 1)
        return frame._replace(image=pixels)

    images = [frame if frame.index < 4 else other(frame) for frame in frames(8)]
    analyzer = FakeAnalyzer(lambda index: [50])
    follower = FaceFollower(analyzer, detect_every=detect_every)
    results = [follower.step(frame) for frame in images]
    assert [frame.scene for frame in results] == [1] * 8
    assert [frame.faces[0].track_id for frame in results] == [1] * 4 + [2] * 4
    assert 4 in analyzer.detected_in


class DoubtfulAnalyzer(FakeAnalyzer):
    """Every face is doubtful, without a pose, in some frames."""

    def __init__(self, is_doubtful):
        super().__init__(lambda index: [80])
        self.is_doubtful = is_doubtful

    def predict_faces(self, image, faces, mesh_options):
        predicted = super().predict_faces(image, faces, mesh_options)
        if not self.is_doubtful(int(image[0, 0, 0])):
            return predicted
        return [replace(face, is_face_doubtful=True, head_pose=None) for face in predicted]


def smoothed_labels(is_doubtful):
    follower = FaceFollower(DoubtfulAnalyzer(is_doubtful), detect_every=3)
    faces = [follower.step(frame).faces[0] for frame in frames(9)]
    return [(face.is_face_doubtful, face.smoothed.label is None) for face in faces]


def test_a_doubtful_face_has_no_label_in_any_frame():
    assert smoothed_labels(lambda index: True) == [(True, True)] * 9


def test_a_track_with_a_pose_keeps_its_label_where_a_detection_is_doubtful():
    assert smoothed_labels(lambda index: index == 3) == [(index in (3, 4, 5), False) for index in range(9)]


def test_a_track_gets_its_label_with_its_first_pose():
    assert smoothed_labels(lambda index: index < 6) == [(index < 6, index < 6) for index in range(9)]
