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
"""Looks that differ by 1."""
NO_LOOKS = np.zeros((0, 8), np.float32)


def face_at(x: float, y: float = 200, size: float = 100, confidence: float = 0.9) -> Face:
    half = np.array([0.43, 0.57]) * size
    box = np.array([x - half[0], y - half[1], x + half[0], y + half[1]], np.float32)
    landmarks = (SHAPE * size + (x, y)).astype(np.float32)
    return Face(bbox_xyxy=box, landmarks_xy=landmarks, confidence=confidence)


def ids(faces: list[Face]) -> list[int | None]:
    return [face.track_id for face in faces]


def center_x(face: Face) -> float:
    return float(face.bbox_xyxy[[0, 2]].mean())


def one(tracker: FaceTracker, timestamp_s: float, x: float, person: int = 0, **more: float) -> int | None:
    """The number of a face that is alone in its frame; None while it has none."""
    found = tracker.update(timestamp_s, [face_at(x, **more)], PEOPLE[person : person + 1])
    return found[0].track_id if found else None


def test_no_face_is_an_empty_list():
    tracker = FaceTracker()
    assert tracker.advance(0.0) == []
    assert tracker.update(0.0, [], NO_LOOKS) == []
    assert tracker.update(0.1, [], np.zeros((0, 0), np.float32)) == []
    assert tracker.advance(0.2) == []


@pytest.mark.parametrize("memory_s", [0, -1, float("inf"), float("nan")])
def test_memory_out_of_range(memory_s: float):
    with pytest.raises(InputError, match="memory_s"):
        FaceTracker(memory_s=memory_s)


def test_looks_must_match_the_faces():
    with pytest.raises(InputError, match=r"descriptors \(1, D\)"):
        FaceTracker().update(0.0, [face_at(100)], PEOPLE)


def test_time_must_not_go_back():
    tracker = FaceTracker()
    one(tracker, 1.0, 100)
    one(tracker, 1.0, 100)  # twice the same time is allowed
    with pytest.raises(InputError, match="back"):
        one(tracker, 0.9, 100)
    with pytest.raises(InputError, match="back"):
        tracker.advance(float("nan"))


def test_faces_stay_as_they_were_detected_and_come_in_the_order_of_their_numbers():
    tracker = FaceTracker()
    left, right = face_at(100), face_at(400)
    assert ids(tracker.update(0.0, [left, right], PEOPLE[:2])) == [1, 2]
    moved = [face_at(405), face_at(104)]
    found = tracker.update(0.04, moved, PEOPLE[[1, 0]])
    assert ids(found) == [1, 2]
    assert found[0].bbox_xyxy is moved[1].bbox_xyxy
    assert found[1].landmarks_xy is moved[0].landmarks_xy


def test_a_scene_begins_with_numbers_at_once():
    tracker = FaceTracker()
    assert one(tracker, 0.0, 100, confidence=0.61) == 1


def test_an_unsure_face_gets_its_number_at_its_second_detection():
    tracker = FaceTracker()
    tracker.update(0.0, [], NO_LOOKS)
    assert one(tracker, 0.04, 100, confidence=0.65) is None
    assert tracker.advance(0.06) == []
    assert one(tracker, 0.08, 101, confidence=0.65) == 1


def test_errors_of_the_detector_make_no_person():
    rng = np.random.default_rng(0)
    looks = rng.normal(0, 1, (32, 64)).astype(np.float32)
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100)], looks[:1])
    for number in range(1, 30):
        wrong = face_at(rng.uniform(0, 640), rng.uniform(0, 480), rng.uniform(30, 120), confidence=0.65)
        found = tracker.update(number / 25, [face_at(100), wrong], looks[[0, number]])
        assert ids(found) == [1]
    assert ids(tracker.update(3.0, [face_at(900)], looks[30:31])) == [2]


def test_a_sure_face_gets_its_number_at_once():
    tracker = FaceTracker()
    tracker.update(0.0, [], NO_LOOKS)
    assert one(tracker, 0.04, 100, confidence=0.9) == 1


def test_advance_goes_on_as_the_face_moved_and_changes_nothing():
    tracker = FaceTracker()
    for number in range(10):
        one(tracker, number * 0.04, 100 + 8 * number)
    before = tracker.state()
    [face] = tracker.advance(0.36 + 0.08)
    assert center_x(face) == pytest.approx(172 + 16, abs=1)
    assert (face.landmarks_xy[2] - face.bbox_xyxy.reshape(2, 2).mean(axis=0)).tolist() == pytest.approx(
        [0, 0], abs=1e-3
    )
    assert face.track_id == 1
    assert face.confidence == 0.9
    assert face.mesh_xyz is face.head_pose is face.quality is face.expression is face.smoothed is None
    assert tracker.state() == before


def test_advance_shows_only_faces_of_the_last_detection_and_not_for_ever():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(400)], PEOPLE[:2])
    tracker.update(0.2, [face_at(400)], PEOPLE[1:2])
    assert ids(tracker.advance(0.3)) == [2]
    assert ids(tracker.advance(1.2)) == [2]
    assert tracker.advance(1.3) == []


@pytest.mark.parametrize(("away_s", "expected"), [(0.5, 1), (0.96, 1), (1.1, 2), (5.0, 2)])
def test_a_face_keeps_its_number_for_a_second(away_s: float, expected: int):
    tracker = FaceTracker()
    one(tracker, 3.0, 100)
    tracker.update(3.2, [], NO_LOOKS)
    assert one(tracker, 3.0 + away_s, 150) == expected


def test_a_hidden_face_may_start_to_move():
    tracker = FaceTracker()
    one(tracker, 0.0, 100)
    tracker.update(0.1, [], NO_LOOKS)
    assert one(tracker, 0.8, 100 + 250) == 1  # two and a half faces on


def test_a_fast_face_is_looked_for_where_it_must_be():
    tracker = FaceTracker()
    for number in range(10):
        one(tracker, number / 25, 100 + 24 * number)  # six faces a second
    assert one(tracker, 9 / 25 + 0.8, 316 + 480) == 1


@pytest.mark.parametrize("every", [1, 3, 5])
def test_look_alikes_who_pass_each_other_keep_their_numbers(every: int):
    tracker = FaceTracker()
    for number in range(0, 60, every):
        faces = [face_at(120 + 5 * number, 200), face_at(420 - 5 * number, 230)]
        found = tracker.update(number / 25, faces, PEOPLE[[0, 0]])
        assert [face.bbox_xyxy[1] for face in found] == [face.bbox_xyxy[1] for face in faces]


def test_another_face_in_the_same_place_is_another_person():
    tracker = FaceTracker()
    assert one(tracker, 0.0, 100, 0) == 1
    assert one(tracker, 0.3, 100, 1) == 2


def test_a_change_of_looks_from_one_frame_to_the_next_is_the_same_person():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100)], PEOPLE[:1])
    turned_away = (0.35 * PEOPLE[:1] + np.sqrt(1 - 0.35**2) * PEOPLE[1:2]).astype(
        np.float32
    )  # differs by 0.65
    assert ids(tracker.update(0.04, [face_at(103)], turned_away)) == [1]


def test_a_face_of_another_size_is_another_person():
    tracker = FaceTracker()
    one(tracker, 0.0, 100, size=200)
    assert one(tracker, 0.1, 100, size=40) == 2


def test_look_alikes_far_apart_do_not_swap():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(600)], PEOPLE[[0, 0]])
    tracker.update(0.1, [], NO_LOOKS)
    assert [
        round(center_x(face)) for face in tracker.update(0.8, [face_at(640), face_at(60)], PEOPLE[[0, 0]])
    ] == [60, 640]


def test_of_look_alikes_the_one_in_sight_keeps_its_number():
    tracker = FaceTracker()
    tracker.update(0.0, [face_at(100), face_at(150)], PEOPLE[[0, 0]])
    tracker.update(0.1, [face_at(151)], PEOPLE[:1])
    assert one(tracker, 0.2, 152) == 2


def test_a_cut_ends_all_and_goes_on_counting():
    tracker = FaceTracker()
    one(tracker, 0.0, 100)
    tracker.cut()
    assert tracker.advance(0.04) == []
    assert one(tracker, 0.08, 100, confidence=0.61) == 2


FRAME_TIMES = {
    "25 fps": np.arange(75) / 25,
    "every 3rd": np.arange(0, 75, 3) / 25,
    "every 5th": np.arange(0, 75, 5) / 25,
    "variable": np.cumsum(np.random.default_rng(5).uniform(0.01, 0.15, 36)),
}


def crossing(times: np.ndarray, hidden_s: float, walk: str, seed: int = 0) -> list[dict[int | None, str]]:
    """Two faces that cross after 1.5 s, one unseen meanwhile; whose number is which, frame by frame."""
    rng = np.random.default_rng(seed)
    tracker = FaceTracker()
    found: list[dict[int | None, str]] = []
    for now in times:
        since = now - 1.5
        behind = {"on": -150 * since, "back": 150 * abs(since), "stops": max(0.0, -150 * since)}[walk]
        places = {"front": 320 + 200 * since, "behind": 330 + behind}
        if abs(since) < hidden_s / 2:
            del places["behind"]
        names = sorted(places, reverse=bool(rng.integers(2)))
        faces = [face_at(places[name] + rng.normal(0, 1.5), 200 + rng.normal(0, 1.5)) for name in names]
        mean = {"front": PEOPLE[0], "behind": 0.6 * PEOPLE[0] + 0.8 * PEOPLE[1]}  # these differ by 0.4
        looks = np.array([mean[name] + rng.normal(0, 0.12, 8) for name in names], np.float32)
        by_box = {id(face.bbox_xyxy): name for face, name in zip(faces, names, strict=True)}
        found.append(
            {face.track_id: by_box[id(face.bbox_xyxy)] for face in tracker.update(now, faces, looks)}
        )
    return found


@pytest.mark.parametrize("times", list(FRAME_TIMES.values()), ids=FRAME_TIMES)
@pytest.mark.parametrize("walk", ["on", "back", "stops"])
@pytest.mark.parametrize("hidden_s", [0.3, 0.8])
def test_two_who_cross_keep_their_numbers(times: np.ndarray, walk: str, hidden_s: float):
    found = crossing(times, hidden_s, walk)
    whose = found[0]
    assert sorted(whose.values()) == ["behind", "front"]
    assert len(found[-1]) == 2
    assert all(whose.get(number) == name for frame in found for number, name in frame.items())


def test_a_crowd_keeps_its_numbers():
    rng = np.random.default_rng(0)
    looks = rng.normal(0, 1, (50, 32)).astype(np.float32)
    centers = np.stack(np.meshgrid(np.arange(10), np.arange(5)), axis=-1).reshape(-1, 2) * 120
    tracker = FaceTracker()
    for number in range(12):
        places = centers + rng.normal(0, 2, (50, 2)) + 40 * np.sin(number / 4 + np.arange(50))[:, None]
        order = rng.permutation(50) if number else np.arange(50)
        faces = [face_at(*places[place], size=80) for place in order]
        found = tracker.update(
            number / 10, faces, looks[order] + rng.normal(0, 0.2, (50, 32)).astype(np.float32)
        )
        assert ids(found) == list(range(1, 51))
        assert np.allclose([center_x(face) for face in found], places[:, 0], atol=0.1)


MOMENTS = st.lists(
    st.tuples(
        st.sampled_from([0.02, 0.04, 0.1, 0.4, 1.2]),
        st.lists(
            st.tuples(st.floats(0, 640), st.floats(20, 200), st.floats(0.6, 1), st.integers(0, 7)), max_size=4
        ),
        st.booleans(),
    ),
    max_size=8,
)


def play(tracker: FaceTracker, moments: list, now: float) -> tuple[list, float]:
    """What the tracker gives for made moments, as plain values."""
    found: list = []
    for step_s, people, is_cut in moments:
        now += step_s
        found += [face.to_dict() for face in tracker.advance(now - step_s / 2)]
        if is_cut:
            tracker.cut()
        faces = [face_at(x, size=size, confidence=confidence) for x, size, confidence, _ in people]
        looks = PEOPLE[[person for *_, person in people]] if people else NO_LOOKS
        found.append([face.to_dict() for face in tracker.update(now, faces, looks)])
    return found, now


@given(MOMENTS, MOMENTS)
@settings(max_examples=25)
def test_a_restored_tracker_goes_on_exactly(before: list, after: list):
    tracker, other = FaceTracker(), FaceTracker()
    _, now = play(tracker, before, 0.0)
    other.restore(json.loads(json.dumps(tracker.state())))
    assert play(tracker, after, now) == play(other, after, now)
    assert json.dumps(tracker.state()) == json.dumps(other.state())


@given(MOMENTS)
@settings(max_examples=25)
def test_numbers_are_unique_in_a_frame_and_new_ones_follow_each_other(moments: list):
    found, _ = play(FaceTracker(), moments, 0.0)
    seen: list[int] = []
    for frame in found:
        if isinstance(frame, list):
            numbers = [face["track_id"] for face in frame]
            assert numbers == sorted(set(numbers))
            seen += [number for number in numbers if number not in seen]
    assert seen == list(range(1, len(seen) + 1))


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(threads=1)


def look_of(detector: FaceDetector, image: np.ndarray) -> np.ndarray:
    return appearance_descriptor(image, detector.detect(image)[0])


def test_a_look_has_length_1_and_needs_no_light():
    face = face_at(60, 60, 50)
    look = appearance_descriptor(portrait("obama"), face)
    assert look.dtype == np.float32
    assert look.shape == (256,)
    assert np.linalg.norm(look) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(appearance_descriptor(np.zeros((90, 90, 3), np.uint8), face)).all()


def test_looks_tell_people_apart_and_moments_together(detector: FaceDetector):
    looks: dict[str, list[np.ndarray]] = {}
    for name in PORTRAITS:
        image = scaled_to_face(name, 130)
        side = np.linspace(0.5, 1.3, image.shape[1])[None, :, None]
        changed = [
            image,
            (image * 0.5),
            (image * 1.4),
            image * side,
            rotated(image, 12),
            blurred(image, 2),
            noisy(image, 12),
        ]
        looks[name] = [look_of(detector, each.clip(0, 255).astype(np.uint8)) for each in changed]
    same = [1 - float(a @ b) for own in looks.values() for a, b in itertools.combinations(own, 2)]
    other = [
        1 - float(a @ b) for one, two in itertools.combinations(looks.values(), 2) for a in one for b in two
    ]
    assert max(same) < 0.35
    assert np.median(same) < 0.15
    assert min(other) > 0.4


def test_the_real_detector_on_a_crossing(examples: Path, detector: FaceDetector):
    shares = np.linspace(0.1, 0.42, 33)  # 3.2 of 10 seconds, every 0.1 s
    tracker = FaceTracker()
    numbers: dict[str, set[int | None]] = {"biden": set(), "obama": set()}
    hidden = seen = 0
    frames = moving_frames(
        examples, {"biden": back_pose, "obama": front_pose}, shares.tolist(), size_wh=(320, 240)
    )
    for share, (image, boxes) in zip(shares, frames, strict=True):
        faces = detector.detect(image)
        looks = np.array([appearance_descriptor(image, face) for face in faces]).reshape(len(faces), 256)
        found = tracker.update(float(10 * share), faces, looks)
        for name, box in boxes.items():
            hidden += box is None
            overlaps = [
                float(bbox_iou(np.array([box]), face.bbox_xyxy[None])[0, 0]) if box else 0.0 for face in found
            ]
            if max(overlaps, default=0.0) > 0.5:
                numbers[name].add(found[int(np.argmax(overlaps))].track_id)
                seen += 1
    assert hidden >= 3
    assert seen >= 2 * len(shares) - hidden - 2
    assert sorted(number for own in numbers.values() for number in own if number) == [1, 2]
