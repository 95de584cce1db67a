"""How fast a video is read on one core, and how much labels flicker: mien against the loop that a user would write.

python benchmarks/video.py [--clip FILE] [--detect-every N] [--json]

Four ways through the same frames, in turns, every network on one thread:
  haar    OpenCV's Haar cascade in every frame, the same classifier on the box as it is (OpenCV below 5, or left out)
  yunet   the same detector in every frame, the same alignment and classifier in every frame, no tracking
  mien    `mien.analyze_video`: detection every 0.09 s, tracking, pose, quality, smoothing
  mobile  the same with the model `mobile`
Flicker is changes of label a second and face. For the first two a face is the one nearest to it in the frame before.
Without --clip the clip of the tests is made: 640 x 480, 25 frames a second, two faces that move, cross, leave and turn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mien import Analyzer, analyze_video
from mien.faces import FaceDetector
from mien.imaging import resize
from mien.inference.classifier import ExpressionClassifier
from mien.video.io.reader import VideoReader
from support.video import crossing_frames, write_clip

Labels = list[tuple[int, str | None]]
"""The faces of a frame: their numbers and labels."""


def read_haar(clip: Path) -> Iterator[Labels] | None:
    """Haar boxes, stretched to the classifier's input; None without OpenCV or its cascades."""
    try:
        import cv2
    except ImportError:
        return None
    if not hasattr(cv2, "CascadeClassifier"):
        return None
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    classifier = ExpressionClassifier(threads=1)
    size = classifier.manifest.input.size

    def frames() -> Iterator[Labels]:
        follow = _Nearest()
        with VideoReader(clip, threads=1) as reader:
            for frame in reader:
                boxes = cascade.detectMultiScale(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), 1.1, 5)
                crops = [resize(frame.image[y : y + h, x : x + w], (size, size)) for x, y, w, h in boxes]
                labels = [seen.label for seen in classifier.classify(np.stack(crops))] if crops else []
                yield follow([(x + w / 2, y + h / 2) for x, y, w, h in boxes], labels)

    return frames()


def read_yunet(clip: Path) -> Iterator[Labels]:
    """Detection, alignment and classification in every frame, nothing remembered."""
    detector, classifier = FaceDetector(threads=1), ExpressionClassifier(threads=1)
    follow = _Nearest()
    with VideoReader(clip, threads=1) as reader:
        for frame in reader:
            faces = detector.detect(frame.image)
            crops = [classifier.crop(frame.image, face) for face in faces]
            labels = [seen.label for seen in classifier.classify(np.stack(crops))] if crops else []
            middles = [tuple(face.bbox_xyxy.reshape(2, 2).mean(axis=0)) for face in faces]
            yield follow(middles, labels)


def read_mien(
    clip: Path, detect_every: int | None, *, model: str = "expression", pose: bool = True
) -> Iterator[Labels]:
    """The package's own way."""
    for frame in analyze_video(clip, analyzer=Analyzer(model, threads=1, pose=pose), detect_every=detect_every):
        yield [(face.track_id or 0, face.smoothed.label) for face in frame.faces if face.smoothed]


class _Nearest:
    """Numbers faces by the nearest one of the frame before."""

    def __init__(self) -> None:
        self._before: list[tuple[float, ...]] = []
        self._numbers: list[int] = []
        self._last = 0

    def __call__(self, middles: list[tuple[float, ...]], labels: list[str | None]) -> Labels:
        numbers = []
        for middle in middles:
            away = [np.hypot(*np.subtract(middle, other)) for other in self._before]
            if away and min(away) < 60:
                numbers.append(self._numbers[int(np.argmin(away))])
            else:
                self._last += 1
                numbers.append(self._last)
        self._before, self._numbers = middles, numbers
        return list(zip(numbers, labels, strict=True))


def measure(way: Callable[[], Iterator[Labels] | None], fps: float) -> dict[str, float] | None:
    """Frames a second after the first, changes of label a second and face, and how many faces there seem to be."""
    frames = way()
    if frames is None:
        return None
    count = changes = seen = 0
    last: dict[int, str | None] = {}
    started = 0.0
    for labels in frames:
        started = started or time.perf_counter()  # models and file are open now
        count += 1
        for number, label in labels:
            seen += 1
            changes += number in last and last[number] != label
            last[number] = label
    seconds = time.perf_counter() - started
    return {
        "frames_per_s": round((count - 1) / seconds, 1),
        "changes_per_s": round(changes / (seen / fps), 3) if seen else 0.0,
        "faces": len(last),
        "faces_per_frame": round(seen / max(count, 1), 2),
    }


def median_run(runs: list[dict[str, float]]) -> dict[str, float] | None:
    """Return the run with the median rate, the lower one of two; None without runs."""
    return sorted(runs, key=lambda run: run["frames_per_s"])[(len(runs) - 1) // 2] if runs else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--detect-every", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=1, help="cores that the whole process may use (Linux)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[: options.cores]))
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or write_clip(Path(folder) / "clip.mp4", (frame for frame, _ in crossing_frames()))
        with VideoReader(clip) as reader:
            fps = reader.info.fps or 25.0
        ways: dict[str, Callable[[], Iterator[Labels] | None]] = {
            "haar": lambda: read_haar(clip),
            "yunet": lambda: read_yunet(clip),
            f"mien, every {options.detect_every or '0.09 s'}": lambda: read_mien(clip, options.detect_every),
            "mien without pose": lambda: read_mien(clip, options.detect_every, pose=False),
            "mobile": lambda: read_mien(clip, options.detect_every, model="mobile"),
            "mobile without pose": lambda: read_mien(clip, options.detect_every, model="mobile", pose=False),
            "mien, every 1": lambda: read_mien(clip, 1),
        }
        runs: dict[str, list[dict[str, float] | None]] = {name: [] for name in ways}
        for _ in range(options.repeats):  # in turns, so that a busy moment hits all alike
            for name, way in ways.items():
                runs[name].append(measure(way, fps))
        found = {name: median_run([run for run in results if run]) for name, results in runs.items()}
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'':20s} {'frames/s':>9s} {'changes/s':>10s} {'faces':>6s} {'a frame':>8s}")
    for name, result in found.items():
        if result is None:
            print(f"{name:20s} left out: it needs OpenCV below version 5")
            continue
        print(
            f"{name:20s} {result['frames_per_s']:9.1f} {result['changes_per_s']:10.3f} {result['faces']:6d}"
            f" {result['faces_per_frame']:8.2f}"
        )


if __name__ == "__main__":
    main()
