from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import InputError
from mien.faces import FaceDetector
from mien.faces.tracking import FaceTracker, appearance_descriptor
from mien.geometry import bbox_iou
from mien.results import Face
from support.images import PORTRAITS, blurred, noisy, portrait, rotated, scaled_to_face
from support.video import back_pose, front_pose, moving_frames

SHAPE = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.25], [0.15, 0.25]])
PEOPLE = np.eye(8, dtype=np.float32)
"""Appearance descriptors with a distance of 1."""
NO_DESCRIPTORS = np.zeros((0, 8), np.float32)


def face_at(x: float, y: float = 200, size: float = 100, confidence: float = 0.9) -> Face:
    half = np.array([0.43, 0.57]) * size
    box = np.array([x - half[0], y - half[1], x + half[0], y + half[1]], np.float32)
    landmarks = (SHAPE * size + (x, y)).astype(np.float32)
    return Face(bbox_xyxy=box, landmarks_xy=landmarks, confidence=confidence)


def ids(faces: list[Face]) -> list[int | None]:
    return [face.track_id for face in faces]


def center_x(face: Face) -> float:
    return float(face.bbox_xyxy[[0, 2]].mean())


def track_one(tracker: FaceTracker, timestamp_s: float, x: float, person: int = 0, **options: float) -> int | None:
    """Update with a single face; return its track ID, or None while it has none."""
    tracked = tracker.update(timestamp_s, [face_at(x, **options)], PEOPLE[person : person + 1])
    return tracked[0].track_id if tracked else None


def test_no_faces_give_an_empty_list():
    tracker = FaceTracker()
    assert tracker.advance(0.0) == []
    assert tracker.update(0.0, [], NO_DESCRIPTORS) == []
    assert tracker.update(0.1, [], np.zeros((0, 0), np.float32)) == []
    assert tracker.advance(0.2) == []


@pytest.mark.parametrize("memory_s", [0, -1, float("inf"), float("nan")])
def test_rejects_memory_out_of_range(memory_s: float):
    with pytest.raises(InputError, match="memory_s"):
        FaceTracker(memory_s=memory_s)


def test_rejects_another_number_of_descriptors():
    with pytest.raises(InputError, match=r"descriptors \(1, D\)"):
        FaceTracker().update(0.0, [face_at(100)], PEOPLE)


def test_rejects_decreasing_timestamps():
    tracker = FaceTracker()
    track_one(tracker, 1.0, 100)
    track_one(tracker, 1.0, 100)  # equal timestamps are allowed
    with pytest.raises(InputError, match="back"):
        track_one(tracker, 0.9, 100)
    with pytest.raises(InputError, match="back"):
        tracker.advance(float("nan"))


def test_time_does_not_go_back_from_zero():
    tracker = FaceTracker()
    track_one(tracker, 0.0, 100)
    with pytest.raises(InputError, match="back"):
        track_one(tracker, -5.0, 100)


def test_update_keeps_detections_and_sorts_by_track_id():
    tracker = FaceTracker()
    left, right = face_at(100), face_at(400)
    assert ids(tracker.update(0.0, [left, right], PEOPLE[:2])) == [1, 2]
    moved = [face_at(405), face_at(104)]
    tracked = tracker.update(0.04, moved, PEOPLE[[1, 0]])
    assert ids(tracked) == [1, 2]
    assert tracked[0].bbox_xyxy is moved[1].bbox_xyxy
    assert tracked[1].landmarks_xy is moved[0].landmarks_xy


def test_first_frame_of_a_scene_confirms_every_face():
    tracker = FaceTracker()
    assert track_one(tracker, 0.0, 100, confidence=0.61) == 1


def test_uncertain_face_is_confirmed_at_its_second_detection():
    tracker = FaceTracker()
    tracker.update(0.0, [], NO_DESCRIPTORS)
    assert track_one(tracker, 0.04, 100, confidence=0.65) is None
    assert tracker.advance(0.06) == []
    assert track_one(tracker, 0.08, 101, confidence=0.65) == 1


def test_false_positives_get_no_track_id():
    rng = np.random.default_rng(0)
    descriptors = rng.normal(0, 1, (32, 64)).astype(np.float32)
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100)], descriptors[:1])
    for frame in range(1, 30):
        false_positive = face_at(rng.uniform(0, 640), rng.uniform(0, 480), rng.uniform(30, 120), confidence=0.65)
        tracked = tracker.update(frame / 25, [face_at(100), false_positive], descriptors[[0, frame]])
        assert ids(tracked) == [1]
    assert ids(tracker.update(3.0, [face_at(900)], descriptors[30:31])) == [2]


def test_confident_face_is_confirmed_at_once():
    tracker = FaceTracker()
    tracker.update(0.0, [], NO_DESCRIPTORS)
    assert track_one(tracker, 0.04, 100, confidence=0.9) == 1


def test_advance_extrapolates_motion_without_changing_the_state():
    tracker = FaceTracker()
    for frame in range(10):
        track_one(tracker, frame * 0.04, 100 + 8 * frame)
    state = tracker.state()
    [face] = tracker.advance(0.36 + 0.08)
    assert center_x(face) == pytest.approx(172 + 16, abs=1)
    assert (face.landmarks_xy[2] - face.bbox_xyxy.reshape(2, 2).mean(axis=0)).tolist() == pytest.approx(
        [0, 0], abs=1e-3
    )
    assert face.track_id == 1
    assert face.confidence == 0.9
    assert face.mesh_xyz is face.head_pose is face.quality is face.expression is face.smoothed is None
    assert tracker.state() == state


def test_advance_returns_faces_of_the_last_update():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(400)], PEOPLE[:2])
    tracker.update(0.2, [face_at(400)], PEOPLE[1:2])
    assert ids(tracker.advance(0.3)) == [2]
    assert ids(tracker.advance(9.2)) == [2]


@pytest.mark.parametrize(("away_s", "expected"), [(0.5, 1), (0.96, 1), (1.1, 2), (5.0, 2)])
def test_lost_face_keeps_its_track_id_for_the_memory(away_s: float, expected: int):
    tracker = FaceTracker()
    track_one(tracker, 3.0, 100)
    for since_s in np.arange(0.1, away_s, 0.1):
        tracker.update(3.0 + since_s, [], NO_DESCRIPTORS)
    assert track_one(tracker, 3.0 + away_s, 150) == expected


@pytest.mark.parametrize("step_s", [0.01, 0.2, 0.5, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("missing", [0, 1, 2, 3, 4])
def test_lost_face_keeps_its_track_id_for_some_updates_at_any_rate(step_s: float, missing: int):
    tracker = FaceTracker()
    track_one(tracker, 0.0, 100)
    for number in range(1, missing + 1):
        tracker.update(number * step_s, [], NO_DESCRIPTORS)
    away_s = (missing + 1) * step_s
    assert track_one(tracker, away_s, 110) == (1 if missing <= 2 or away_s <= 1 else 2)


@pytest.mark.parametrize("step_s", [0.04, 0.2, 0.5, 1.0, 5.0, 60.0])
def test_still_faces_keep_their_track_ids_at_any_rate(step_s: float):
    rng = np.random.default_rng(0)
    times = np.cumsum(np.where(np.arange(24) == 12, 7.5, step_s))  # and after a gap
    tracker = FaceTracker()
    for now in times:
        faces = [face_at(160 + rng.normal(0, 6)), face_at(460 + rng.normal(0, 6))]
        noisy_people = PEOPLE[:2] + rng.normal(0, 0.12, (2, 8)).astype(np.float32)
        assert ids(tracker.update(now, faces, noisy_people)) == [1, 2]


@pytest.mark.parametrize("step_s", [0.12, 0.5, 1.0, 5.0])
def test_track_ids_stay_with_people_who_change_seats(step_s: float):
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(160), face_at(320)], PEOPLE[:2])
    tracker.update(step_s, [face_at(160), face_at(320)], PEOPLE[:2])
    people = {track_id: face for face, track_id in enumerate((1, 2))}
    for face in tracker.update(2 * step_s, [face_at(160), face_at(320)], PEOPLE[[1, 0]]):
        is_same = people.get(face.track_id) == int(center_x(face) < 240)
        assert is_same or face.track_id not in people


@pytest.mark.parametrize("distance", [0.55, 0.7, 1.0])
@pytest.mark.parametrize("step_s", [0.02, 0.12])
def test_frontal_face_of_another_person_is_a_new_track_at_once(distance: float, step_s: float):
    tracker = FaceTracker()
    for frame in range(5):
        track_one(tracker, frame * step_s, 100)
    assert ids(tracker.update(5 * step_s, [face_at(101)], descriptor_at(distance))) == [2]


def test_gradual_change_as_by_an_occlusion_keeps_the_track():
    tracker = FaceTracker()
    for number, distance in enumerate([0, 0, 0.2, 0.4, 0.52, 0.52, 0.2, 0]):
        assert ids(tracker.update(0.5 * number, [face_at(100)], descriptor_at(distance))) == [1]


def test_face_that_enters_the_image_keeps_its_track():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(600)], PEOPLE[:1], (480, 640))
    assert ids(tracker.update(0.12, [face_at(560)], descriptor_at(0.55), (480, 640))) == [1]


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.0])
def test_dissolve_to_another_person_ends_the_track(seconds: float):
    tracker = FaceTracker()
    times = np.arange(0, seconds + 2, 0.12)
    results = [ids(tracker.update(now, [face_at(100)], descriptor_at(min(now / seconds, 1.0)))) for now in times]
    assert results[0] == [1]
    assert results[-1] != [1]


def descriptor_at(distance: float) -> np.ndarray:
    """Return a descriptor (1, 8) at a distance from the first person, towards the second."""
    return ((1 - distance) * PEOPLE[:1] + np.sqrt(1 - (1 - distance) ** 2) * PEOPLE[1:2]).astype(np.float32)


def test_uncertain_face_is_confirmed_at_once_where_updates_are_far_apart():
    tracker = FaceTracker()
    tracker.update(0.0, [], NO_DESCRIPTORS)
    assert track_one(tracker, 1.0, 100, confidence=0.65) == 1


def test_changed_appearance_of_a_predicted_face_asks_for_detection():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(400)], PEOPLE[:2])
    faces = tracker.advance(0.04)
    assert not tracker.has_changed(faces, PEOPLE[:2])
    assert tracker.has_changed(faces, PEOPLE[[0, 2]])


def test_lost_face_may_start_to_move():
    tracker = FaceTracker()
    track_one(tracker, 0.0, 100)
    tracker.update(0.1, [], NO_DESCRIPTORS)
    assert track_one(tracker, 0.8, 100 + 250) == 1  # 2.5 face sizes away


def test_fast_lost_face_is_matched_at_its_predicted_position():
    tracker = FaceTracker()
    for frame in range(10):
        track_one(tracker, frame / 25, 100 + 24 * frame)  # six face sizes per second
    assert track_one(tracker, 9 / 25 + 0.8, 316 + 480) == 1


@pytest.mark.parametrize("detect_every", [1, 3, 5])
def test_crossing_faces_of_equal_appearance_keep_their_track_ids(detect_every: int):
    tracker = FaceTracker()
    for frame in range(0, 60, detect_every):
        faces = [face_at(120 + 5 * frame, 200), face_at(420 - 5 * frame, 230)]
        tracked = tracker.update(frame / 25, faces, PEOPLE[[0, 0]])
        assert [face.bbox_xyxy[1] for face in tracked] == [face.bbox_xyxy[1] for face in faces]


def test_other_appearance_at_the_same_position_is_a_new_track():
    tracker = FaceTracker()
    assert track_one(tracker, 0.0, 100, 0) == 1
    assert track_one(tracker, 0.3, 100, 1) == 2


def test_appearance_change_between_frames_keeps_the_track():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100)], PEOPLE[:1])
    # A distance of 0.65, as for a head that turns away.
    face = face_at(103)
    face.landmarks_xy[2] += (25, 0)
    assert ids(tracker.update(0.04, [face], descriptor_at(0.65))) == [1]


def test_face_of_another_size_is_a_new_track():
    tracker = FaceTracker()
    track_one(tracker, 0.0, 100, size=200)
    assert track_one(tracker, 0.1, 100, size=40) == 2


def test_distant_faces_of_equal_appearance_do_not_swap():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(600)], PEOPLE[[0, 0]])
    tracker.update(0.1, [], NO_DESCRIPTORS)
    tracked = tracker.update(0.8, [face_at(640), face_at(60)], PEOPLE[[0, 0]])
    assert [round(center_x(face)) for face in tracked] == [60, 640]


def test_visible_face_wins_against_a_lost_one_of_equal_appearance():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(150)], PEOPLE[[0, 0]])
    tracker.update(0.1, [face_at(151)], PEOPLE[:1])
    assert track_one(tracker, 0.2, 152) == 2


def test_cut_drops_all_tracks_and_continues_counting():
    tracker = FaceTracker()
    track_one(tracker, 0.0, 100)
    tracker.cut()
    assert tracker.advance(0.04) == []
    assert track_one(tracker, 0.08, 100, confidence=0.61) == 2


FRAME_TIMES = {
    "25 fps": np.arange(75) / 25,
    "every 3rd": np.arange(0, 75, 3) / 25,
    "every 5th": np.arange(0, 75, 5) / 25,
    "variable": np.cumsum(np.random.default_rng(5).uniform(0.01, 0.15, 36)),
}


def crossing(times: np.ndarray, hidden_s: float, walk: str, seed: int = 0) -> list[dict[int | None, str]]:
    """Track two faces that cross after 1.5 s, one hidden meanwhile; return the person of each ID by frame."""
    rng = np.random.default_rng(seed)
    tracker = FaceTracker()
    frames: list[dict[int | None, str]] = []
    for now in times:
        since = now - 1.5
        behind = {"continues": -150 * since, "returns": 150 * abs(since), "stops": max(0.0, -150 * since)}[walk]
        centers = {"front": 320 + 200 * since, "behind": 330 + behind}
        if abs(since) < hidden_s / 2:
            del centers["behind"]
        names = sorted(centers, reverse=bool(rng.integers(2)))
        faces = [face_at(centers[name] + rng.normal(0, 1.5), 200 + rng.normal(0, 1.5)) for name in names]
        mean = {"front": PEOPLE[0], "behind": 0.6 * PEOPLE[0] + 0.8 * PEOPLE[1]}  # a distance of 0.4
        descriptors = np.array([mean[name] + rng.normal(0, 0.12, 8) for name in names], np.float32)
        names_by_box = {id(face.bbox_xyxy): name for face, name in zip(faces, names, strict=True)}
        tracked = tracker.update(now, faces, descriptors)
        frames.append({face.track_id: names_by_box[id(face.bbox_xyxy)] for face in tracked})
    return frames


@pytest.mark.parametrize("times", list(FRAME_TIMES.values()), ids=FRAME_TIMES)
@pytest.mark.parametrize("walk", ["continues", "returns", "stops"])
@pytest.mark.parametrize("hidden_s", [0.3, 0.8])
def test_crossing_faces_keep_their_track_ids(times: np.ndarray, walk: str, hidden_s: float):
    frames = crossing(times, hidden_s, walk)
    names = frames[0]
    assert sorted(names.values()) == ["behind", "front"]
    assert len(frames[-1]) == 2
    assert all(names.get(track_id) == name for frame in frames for track_id, name in frame.items())


def test_crowd_keeps_its_track_ids():
    rng = np.random.default_rng(0)
    descriptors = rng.normal(0, 1, (50, 32)).astype(np.float32)
    centers = np.stack(np.meshgrid(np.arange(10), np.arange(5)), axis=-1).reshape(-1, 2) * 120
    tracker = FaceTracker()
    for frame in range(12):
        moved = centers + rng.normal(0, 2, (50, 2)) + 40 * np.sin(frame / 4 + np.arange(50))[:, None]
        order = rng.permutation(50) if frame else np.arange(50)
        faces = [face_at(*moved[index], size=80) for index in order]
        noise = rng.normal(0, 0.2, (50, 32)).astype(np.float32)
        tracked = tracker.update(frame / 10, faces, descriptors[order] + noise)
        assert ids(tracked) == list(range(1, 51))
        assert np.allclose([center_x(face) for face in tracked], moved[:, 0], atol=0.1)


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0.02, 0.04, 0.1, 0.4, 1.2]),
        st.lists(st.tuples(st.floats(0, 640), st.floats(20, 200), st.floats(0.6, 1), st.integers(0, 7)), max_size=4),
        st.booleans(),
    ),
    max_size=8,
)


def play(tracker: FaceTracker, frames: list, now: float) -> tuple[list, float]:
    """Track generated frames; return the results as plain values, and the time of the last frame."""
    results: list = []
    for step_s, people, is_cut in frames:
        now += step_s
        results += [face.to_dict() for face in tracker.advance(now - step_s / 2)]
        if is_cut:
            tracker.cut()
        faces = [face_at(x, size=size, confidence=confidence) for x, size, confidence, _ in people]
        descriptors = PEOPLE[[person for *_, person in people]] if people else NO_DESCRIPTORS
        results.append([face.to_dict() for face in tracker.update(now, faces, descriptors)])
    return results, now


@given(FRAMES, FRAMES)
@settings(max_examples=25)
def test_restored_tracker_continues_identically(before: list, after: list):
    tracker, other = FaceTracker(), FaceTracker()
    _, now = play(tracker, before, 0.0)
    other.restore(json.loads(json.dumps(tracker.state())))
    assert play(tracker, after, now) == play(other, after, now)
    assert json.dumps(tracker.state()) == json.dumps(other.state())


@given(FRAMES)
@settings(max_examples=25)
def test_track_ids_are_unique_in_a_frame_and_consecutive(frames: list):
    results, _ = play(FaceTracker(), frames, 0.0)
    track_ids: list[int] = []
    for result in results:
        if isinstance(result, list):
            frame_ids = [face["track_id"] for face in result]
            assert frame_ids == sorted(set(frame_ids))
            track_ids += [track_id for track_id in frame_ids if track_id not in track_ids]
    assert track_ids == list(range(1, len(track_ids) + 1))


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(threads=1)


def describe_largest_face(detector: FaceDetector, image: np.ndarray) -> np.ndarray:
    return appearance_descriptor(image, detector.detect(image)[0])


def test_descriptor_has_unit_length_and_is_finite_for_black_images():
    face = face_at(60, 60, 50)
    descriptor = appearance_descriptor(portrait("obama"), face)
    assert descriptor.dtype == np.float32
    assert descriptor.shape == (256,)
    assert np.linalg.norm(descriptor) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(appearance_descriptor(np.zeros((90, 90, 3), np.uint8), face)).all()


def test_descriptors_separate_people_and_tolerate_degradation(detector: FaceDetector):
    descriptors: dict[str, list[np.ndarray]] = {}
    for name in PORTRAITS:
        image = scaled_to_face(name, 130)
        side_light = np.linspace(0.5, 1.3, image.shape[1])[None, :, None]
        variants = [
            image,
            (image * 0.5),
            (image * 1.4),
            image * side_light,
            rotated(image, 12),
            blurred(image, 2),
            noisy(image, 12),
        ]
        descriptors[name] = [
            describe_largest_face(detector, variant.clip(0, 255).astype(np.uint8)) for variant in variants
        ]
    same = [1 - float(a @ b) for person in descriptors.values() for a, b in itertools.combinations(person, 2)]
    other = [
        1 - float(a @ b)
        for first, second in itertools.combinations(descriptors.values(), 2)
        for a in first
        for b in second
    ]
    assert max(same) < 0.35
    assert np.median(same) < 0.15
    assert min(other) > 0.4


def test_detected_faces_that_cross_keep_their_track_ids(examples: Path, detector: FaceDetector):
    shares = np.linspace(0.1, 0.42, 33)  # 3.2 of 10 seconds, every 0.1 s
    tracker = FaceTracker()
    track_ids: dict[str, set[int | None]] = {"biden": set(), "obama": set()}
    hidden = visible = 0
    frames = moving_frames(examples, {"biden": back_pose, "obama": front_pose}, shares.tolist(), size_wh=(320, 240))
    for share, (image, boxes) in zip(shares, frames, strict=True):
        faces = detector.detect(image)
        descriptors = np.array([appearance_descriptor(image, face) for face in faces]).reshape(len(faces), 256)
        tracked = tracker.update(float(10 * share), faces, descriptors)
        for name, box in boxes.items():
            hidden += box is None
            overlaps = [
                float(bbox_iou(np.array([box]), face.bbox_xyxy[None])[0, 0]) if box else 0.0 for face in tracked
            ]
            if max(overlaps, default=0.0) > 0.5:
                track_ids[name].add(tracked[int(np.argmax(overlaps))].track_id)
                visible += 1
    assert hidden >= 3
    assert visible >= 2 * len(shares) - hidden - 2
    assert sorted(track_id for person in track_ids.values() for track_id in person if track_id) == [1, 2]
