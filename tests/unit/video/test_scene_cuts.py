"""Scene cut detection: cuts, flashes, blank frames, pans and motion."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mien.imaging import read_image, resize
from mien.video.scene_cuts import CutDetector
from support.video import Pose, crossing_frames, grain_over, moving_frames, room, switching_frames

SIZE_HW = (240, 320)
NAMES = ("astronaut", "biden", "group", "obama")


@pytest.fixture(scope="module")
def images(examples: Path) -> dict[str, np.ndarray]:
    portraits = {name: resize(read_image(examples / f"{name}.jpg"), SIZE_HW) for name in NAMES}
    return {**portraits, "room": room((320, 240))}


def cuts(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def plain(level: int) -> np.ndarray:
    return np.full((*SIZE_HW, 3), level, np.uint8)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (7, 9), (480, 640)])
def test_first_and_blank_frames_of_any_size_are_not_cuts(size_hw: tuple[int, int]):
    noise = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    assert cuts([noise, noise, plain(0)]) == []


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations((*NAMES, "room"), 2)))
def test_different_image_is_a_cut(images: dict[str, np.ndarray], first: str, second: str):
    before, after = images[first], images[second]
    frames = [grain_over(before, 0), grain_over(before, 1), grain_over(after, 2), grain_over(after, 3)]
    assert cuts(frames) == [2]


@pytest.mark.parametrize("name", [*NAMES, "room"])
@pytest.mark.parametrize("light", [0.4, 1.5, 2.0, 1000.0])
def test_flash_is_not_a_cut(images: dict[str, np.ndarray], name: str, light: float):
    frame = images[name]
    flash = (frame * light).clip(0, 255).astype(np.uint8)
    assert cuts([frame, frame, flash, frame, frame]) == []


@pytest.mark.parametrize("level", [0, 255])
def test_blank_frames_are_ignored(images: dict[str, np.ndarray], level: int):
    obama, astronaut = images["obama"], images["astronaut"]
    assert cuts([obama, plain(level), plain(level), obama]) == []
    assert cuts([obama, plain(level), plain(level), astronaut]) == [3]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [16, 64])  # 1/20 and 1/5 of the width per frame
def test_pan_is_not_a_cut(examples: Path, name: str, step: int):
    wide = resize(read_image(examples / f"{name}.jpg"), (480, 640))
    frames = [wide[120:360, x : x + 320] for x in range(0, 321, step)]
    assert cuts(frames) == []


def test_moving_people_are_not_a_cut(examples: Path):
    frames = [frame for frame, _ in crossing_frames(examples, fps=5, size_wh=(320, 240))]
    assert cuts(frames) == []


def test_different_face_in_same_room_is_not_a_cut(examples: Path):
    faces = [read_image(examples / "obama.jpg")[79:368, 326:537], read_image(examples / "biden.jpg")[115:384, 291:480]]
    frames = list(switching_frames(faces, 0.2, size_wh=(320, 240)))
    assert len(frames) == 10
    assert cuts(frames) == []


def exposed(image: np.ndarray, light: float, noise: float, seed: int) -> np.ndarray:
    """Return an image (H, W, 3) uint8 of a dim exposure with sensor noise of a standard deviation."""
    rng = np.random.default_rng(seed)
    return (image * light + rng.normal(0, noise, image.shape)).clip(0, 255).round().astype(np.uint8)


DIM = [(0.5, 2.0), (0.25, 3.0), (0.12, 3.0), (0.06, 1.0), (0.03, 0.0)]


@pytest.mark.parametrize(("light", "noise"), DIM)
def test_dark_footage_has_cuts(images: dict[str, np.ndarray], light: float, noise: float):
    for first, second in itertools.permutations((*NAMES, "room"), 2):
        frames = [exposed(images[name], light, noise, seed) for seed, name in enumerate([first] * 3 + [second] * 3)]
        assert cuts(frames) == [3], (first, second)


@pytest.mark.parametrize(("light", "noise"), DIM)
def test_dark_footage_without_cuts(images: dict[str, np.ndarray], light: float, noise: float):
    """Flashes, a light that is switched, a warm light, fades to black and back, and a pan."""
    for name in (*NAMES, "room"):
        image = images[name].astype(np.float64)
        wide = resize(images[name], (480, 640))
        lights = [1, 1, 2, 1, 1, 0.5, 0.5, 1, 1, *np.linspace(1, 0, 8), 0, *np.linspace(0, 1, 8)]
        frames = [exposed(image * factor, light, noise, seed) for seed, factor in enumerate(lights)]
        assert cuts(frames) == [], name
        warm = [exposed(image * color, light, noise, 1) for color in ([1, 1, 1], [1.2, 1, 0.7])]
        assert cuts(warm) == [], name
        pan = [exposed(wide[120:360, x : x + 320], light, noise, x) for x in range(0, 321, 32)]
        assert name == "room" or cuts(pan) == [], name  # a part of the room is a plain wall


@pytest.mark.parametrize("light", [1.0, 0.25, 0.06])
def test_cut_between_cameras_in_one_room(examples: Path, light: float):
    paths = {"biden": lambda share: Pose(0.3, 0.45, 0.28), "obama": lambda share: Pose(0.68, 0.45, 0.3)}
    (room_with_two, _), *_ = moving_frames(examples, paths, [0.0], size_wh=(640, 480))
    views = [
        room_with_two,
        room_with_two[60:360, 30:430],
        room_with_two[60:360, 240:640],
        room_with_two[90:330, 300:620],
    ]
    for first, second in itertools.permutations(views, 2):
        frames = [exposed(resize(np.ascontiguousarray(view), SIZE_HW), light, 1, 0) for view in (first, second)]
        assert cuts(frames) == [1]


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_blank_frames_with_noise_are_ignored(images: dict[str, np.ndarray], level: int):
    blank = [exposed(plain(level), 1, 2, seed) for seed in range(6)]
    assert cuts([images["obama"], *blank, images["obama"]]) == []
    assert cuts([images["obama"], *blank, images["biden"]]) == [7]


def test_restored_detector_continues_exactly(images: dict[str, np.ndarray]):
    detector, other = CutDetector(), CutDetector()
    other.restore(json.loads(json.dumps(detector.state())))
    assert not other.is_cut(images["obama"])
    detector.is_cut(images["obama"])
    other = CutDetector()
    other.restore(json.loads(json.dumps(detector.state())))
    assert other.state() == detector.state()
    assert [d.is_cut(images["biden"]) for d in (detector, other)] == [True, True]
    assert other.state() == detector.state()
