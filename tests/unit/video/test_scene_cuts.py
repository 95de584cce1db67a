from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mien.imaging import read_image, resize
from mien.video.scene_cuts import CutDetector
from support.video import crossing_frames, grain_over, room, switching_frames

SIZE_HW = (240, 320)
NAMES = ("astronaut", "biden", "group", "obama")


@pytest.fixture(scope="module")
def images(examples: Path) -> dict[str, np.ndarray]:
    shown = {name: resize(read_image(examples / f"{name}.jpg"), SIZE_HW) for name in NAMES}
    return {**shown, "room": room((320, 240))}


def cuts(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def plain(level: int) -> np.ndarray:
    return np.full((*SIZE_HW, 3), level, np.uint8)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (7, 9), (480, 640)])
def test_any_size_and_the_first_frame_is_no_cut(size_hw: tuple[int, int]):
    noise = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    assert cuts([noise, noise, plain(0)]) == []


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations((*NAMES, "room"), 2)))
def test_another_image_is_a_cut(images: dict[str, np.ndarray], first: str, second: str):
    before, after = images[first], images[second]
    frames = [grain_over(before, 0), grain_over(before, 1), grain_over(after, 2), grain_over(after, 3)]
    assert cuts(frames) == [2]


@pytest.mark.parametrize("name", [*NAMES, "room"])
@pytest.mark.parametrize("light", [0.4, 1.5, 2.0, 1000.0])
def test_a_flash_is_no_cut(images: dict[str, np.ndarray], name: str, light: float):
    quiet = images[name]
    flash = (quiet * light).clip(0, 255).astype(np.uint8)
    assert cuts([quiet, quiet, flash, quiet, quiet]) == []


@pytest.mark.parametrize("level", [0, 255])
def test_what_follows_a_plain_frame_is_compared_with_what_came_before(
    images: dict[str, np.ndarray], level: int
):
    obama, astronaut = images["obama"], images["astronaut"]
    assert cuts([obama, plain(level), plain(level), obama]) == []
    assert cuts([obama, plain(level), plain(level), astronaut]) == [3]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [16, 64])  # a twentieth and a fifth of the width in one frame
def test_a_pan_is_no_cut(examples: Path, name: str, step: int):
    wide = resize(read_image(examples / f"{name}.jpg"), (480, 640))
    frames = [wide[120:360, x : x + 320] for x in range(0, 321, step)]
    assert cuts(frames) == []


def test_people_who_move_are_no_cut(examples: Path):
    frames = [frame for frame, _ in crossing_frames(examples, fps=5, size_wh=(320, 240))]
    assert cuts(frames) == []


def test_another_face_in_the_same_room_is_no_cut(examples: Path):
    faces = [
        read_image(examples / "obama.jpg")[79:368, 326:537],
        read_image(examples / "biden.jpg")[115:384, 291:480],
    ]
    frames = list(switching_frames(faces, 0.2, size_wh=(320, 240)))
    assert len(frames) == 10
    assert cuts(frames) == []


def test_a_restored_detector_goes_on_exactly(images: dict[str, np.ndarray]):
    detector, other = CutDetector(), CutDetector()
    other.restore(json.loads(json.dumps(detector.state())))
    assert not other.is_cut(images["obama"])
    detector.is_cut(images["obama"])
    other = CutDetector()
    other.restore(json.loads(json.dumps(detector.state())))
    assert other.state() == detector.state()
    assert [d.is_cut(images["biden"]) for d in (detector, other)] == [True, True]
    assert other.state() == detector.state()
