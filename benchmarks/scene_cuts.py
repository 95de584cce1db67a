"""Errors of the scene cut detector in bright and dark footage: missed cuts and false cuts.

python benchmarks/scene_cuts.py [--noise 3] [--json]

The scenes are the images of `examples/`, a drawn room, and four cameras in that room with two people. Light 0.06 means
that white is 15 of 255; every frame has sensor noise of its own. A cut is any change from one scene to another. Not
cuts are flashes and switched lights (0.3 to 4 times as bright), a warm light, light from one side, fades to black and
back, a shaken, panned or zoomed camera, and people who cross or come close.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mien.imaging import read_image, resize
from mien.video.scene_cuts import CutDetector
from support.images import EXAMPLES
from support.video import Pose, crossing_frames, moving_frames, room

SIZE_WH = 320, 240
LIGHTS = (1.0, 0.5, 0.25, 0.12, 0.06)
NAMES = ("astronaut", "biden", "group", "obama")


def read_scenes() -> dict[str, np.ndarray]:
    """Return images (240, 320, 3) uint8 that differ as scenes do."""
    scenes = {name: resize(read_image(EXAMPLES / f"{name}.jpg"), SIZE_WH[::-1]) for name in NAMES}
    paths = {"biden": lambda _: Pose(0.3, 0.45, 0.28), "obama": lambda _: Pose(0.68, 0.45, 0.3)}
    (wide, _), *_ = moving_frames(EXAMPLES, paths, [0.0], size_wh=(640, 480))
    views = {"wide": wide, "left": wide[60:360, 30:430], "right": wide[60:360, 240:640], "near": wide[90:330, 300:620]}
    return scenes | {name: resize(np.ascontiguousarray(view), SIZE_WH[::-1]) for name, view in views.items()}


def shots_without_cut(scenes: dict[str, np.ndarray]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the kind and the frames, as light, of shots without a cut."""
    for image in [*scenes.values(), room(SIZE_WH)]:
        scene = image.astype(np.float64)
        for factor in (0.3, 0.5, 1.5, 2.0, 4.0):
            yield "flash or switched light", [scene, scene, factor * scene, factor * scene, scene]
        yield "warm light", [scene, scene * [1.2, 1, 0.7]]
        yield "light from one side", [scene, scene * np.linspace(0.3, 1.2, SIZE_WH[0])[None, :, None]]
        yield "fade", [scene * share for share in (*np.linspace(1, 0, 9), *np.linspace(0, 1, 9))]
        shakes = [(int(6 * np.sin(2.1 * step)), int(9 * np.cos(1.7 * step))) for step in range(10)]
        yield "shake", [np.roll(scene, shake, (0, 1)) for shake in shakes]
    for name in NAMES:
        large = resize(read_image(EXAMPLES / f"{name}.jpg"), (480, 640))
        for step in (16, 32, 64):
            yield "pan", [large[120:360, x : x + 320].astype(np.float64) for x in range(0, 321, step)]
        zoomed = [
            np.ascontiguousarray(large[6 * step : 480 - 6 * step, 8 * step : 640 - 8 * step]) for step in range(16)
        ]
        yield "zoom", [resize(image, SIZE_WH[::-1]).astype(np.float64) for image in zoomed]
    for fps in (2, 5):
        yield "people", [frame.astype(np.float64) for frame, _ in crossing_frames(fps=fps, size_wh=SIZE_WH)]
    near = moving_frames(EXAMPLES, {"obama": lambda s: Pose(0.5 + 0.25 * np.sin(9 * s), 0.5, 0.8)},
                         np.linspace(0, 1, 25).tolist(), size_wh=SIZE_WH)  # fmt: skip
    yield "people", [frame.astype(np.float64) for frame, _ in near]


def expose(frames: list[np.ndarray], light: float, noise: float, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 of a dim exposure with sensor noise."""
    rng = np.random.default_rng(seed)
    for frame in frames:
        yield (frame * light + rng.normal(0, noise, frame.shape)).clip(0, 255).round().astype(np.uint8)


def measure(light: float, noise: float) -> dict[str, object]:
    """Count missed cuts and the kinds of shots with a false one."""
    scenes = read_scenes()
    missed = 0
    pairs = list(itertools.permutations(scenes, 2))
    for number, (first, second) in enumerate(pairs):
        detector = CutDetector()
        shots = [scenes[first].astype(np.float64)] * 2 + [scenes[second].astype(np.float64)]
        missed += [detector.is_cut(frame) for frame in expose(shots, light, noise, number)] != [False, False, True]
    false: dict[str, int] = {}
    count = 0
    for number, (kind, frames) in enumerate(shots_without_cut(scenes)):
        detector = CutDetector()
        count += 1
        if sum(detector.is_cut(frame) for frame in expose(frames, light, noise, number)):
            false[kind] = false.get(kind, 0) + 1
    return {"light": light, "cuts": len(pairs), "missed": missed, "shots": count, "false": false}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", type=float, default=3.0, help="standard deviation of the noise, of 255")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [measure(light, options.noise) for light in LIGHTS]
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'light':>6s} {'missed':>10s} {'false':>10s}")
    for row in results:
        false = row["false"]
        assert isinstance(false, dict)
        kinds = ", ".join(f"{kind} {count}" for kind, count in false.items())
        missed = f"{row['missed']} / {row['cuts']}"
        print(f"{row['light']:6.2f} {missed:>10s} {sum(false.values()):4d} / {row['shots']:3d}  {kinds}")


if __name__ == "__main__":
    main()
