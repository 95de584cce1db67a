"""How long one 640x480 image with one face takes, stage by stage, and how long the command takes to start.

python benchmarks/latency.py [--model NAME|FILE] [--threads 1] [--repeats 40] [--json]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.faces import FaceDetector, LandmarkMesh, face_quality, head_pose
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.runtime import DEFAULT_MODEL

EXAMPLE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
WIDTH, HEIGHT = 640, 480


def example_photo() -> bytes:
    """A 640x480 JPEG with one face, cut from an example."""
    with Image.open(EXAMPLE) as opened:
        scale = WIDTH / opened.width
        enlarged = opened.convert("RGB").resize((WIDTH, round(opened.height * scale)))
    buffer = io.BytesIO()
    enlarged.crop((0, 0, WIDTH, HEIGHT)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def stages_ms(model: str, threads: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of every stage; the stages take turns, so that a busy moment hits all alike."""
    data = example_photo()
    image = read_image(data)
    detector, mesh = FaceDetector(threads=threads), LandmarkMesh(threads=threads)
    classifier = ExpressionClassifier(model, threads=threads)
    faces = detector.detect(image)
    assert len(faces) == 1, f"the benchmark wants one face, found {len(faces)}"
    fit = mesh.fit(image, faces)[0]
    assert fit is not None, "no mesh on the example"
    face = replace(faces[0], mesh_xyz=fit.mesh_xyz, head_pose=head_pose(fit.mesh_xyz))
    stages: dict[str, Callable[[], object]] = {
        "decode": lambda: read_image(data),
        "detect": lambda: detector.detect(image),
        "mesh + pose": lambda: [head_pose(fit.mesh_xyz) for fit in mesh.fit(image, faces) if fit],
        "quality": lambda: face_quality(image, face),
        "align + expression": lambda: classifier.classify(np.stack([classifier.crop(image, face)])),
    }
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for turn in range(repeats + 3):
        for name, stage in stages.items():
            start = time.perf_counter()
            stage()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def whole_ms(model: str, threads: int, repeats: int) -> float:
    """Median milliseconds of `Analyzer.analyze` on the encoded image."""
    data = example_photo()
    analyzer = Analyzer(model, threads=threads)
    seconds = []
    for turn in range(repeats + 3):
        start = time.perf_counter()
        analyzer.analyze(data)
        if turn >= 3:
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def process_s(arguments: list[str], repeats: int) -> float:
    """Median seconds of a Python process from start to end."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def startup_s(model: str, repeats: int) -> dict[str, float]:
    """Median seconds of processes: Python alone, `import mien`, and `mien predict` on one photograph."""
    run_main = "import sys; from mien.cli.main import main; sys.exit(main())"
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        photo.write_bytes(example_photo())
        predict = ["-c", run_main, "predict", str(photo), "--model", model]
        bare, imported = process_s(["-c", "pass"], repeats), process_s(["-c", "import mien"], repeats)
        return {
            "python": bare,
            "import mien": imported,
            "import mien, without Python's own": imported - bare,
            "mien predict": process_s(predict, repeats),
            "mien predict --json": process_s([*predict, "--json"], repeats),
        }


def measure(model: str, threads: int, repeats: int) -> dict[str, Any]:
    """Everything, as one plain record."""
    stages, whole = stages_ms(model, threads, repeats), whole_ms(model, threads, repeats)
    total = sum(stages.values())
    return {
        "image": f"{WIDTH}x{HEIGHT}, one face",
        "model": model,
        "threads": threads,
        "repeats": repeats,
        "stages_ms": {name: round(value, 2) for name, value in stages.items()},
        "shares": {name: round(value / total, 3) for name, value in stages.items()},
        "whole_ms": round(whole, 2),
        "images_per_s": round(1000 / whole, 1),
        "images_per_s_without_decode": round(1000 / (total - stages["decode"]), 1),
        "startup_s": {name: round(value, 3) for name, value in startup_s(model, max(3, repeats // 4)).items()},
    }


def show(record: dict[str, Any]) -> None:
    print(f"{record['image']}, {record['threads']} thread(s), medians of {record['repeats']}")
    for name, value in record["stages_ms"].items():
        print(f"  {name:<20} {value:8.2f} ms  {record['shares'][name]:5.0%}")
    print(f"  {'whole image':<20} {record['whole_ms']:8.2f} ms  {record['images_per_s']:.1f} images/s")
    print("processes, start to end")
    for name, value in record["startup_s"].items():
        print(f"  {name:<34} {value:6.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    record = measure(arguments.model, arguments.threads, arguments.repeats)
    if arguments.json:
        print(json.dumps(record, indent=2))
    else:
        show(record)


if __name__ == "__main__":
    main()
