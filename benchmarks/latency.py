"""CPU time of one 640x480 image with one face, stage by stage, the networks' share, and the start of the command.

python benchmarks/latency.py [--model NAME|FILE] [--no-pose] [--threads 1] [--repeats 40] [--json]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from mien.faces import face_quality
from mien.faces.attributes import pose_faces
from mien.faces.quality import SHARPNESS_CROP
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.runtime import DEFAULT_MODEL, LoadedModel

EXAMPLE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
WIDTH, HEIGHT = 640, 480
WHOLE = "whole image"


def example_photo() -> bytes:
    """A 640x480 JPEG with one face, cut from an example."""
    with Image.open(EXAMPLE) as opened:
        scale = WIDTH / opened.width
        enlarged = opened.convert("RGB").resize((WIDTH, round(opened.height * scale)))
    buffer = io.BytesIO()
    enlarged.crop((0, 0, WIDTH, HEIGHT)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class NetworkClock:
    """CPU time inside networks: it replaces the `run` of their ONNX Runtime sessions."""

    def __init__(self, networks: Iterable[LoadedModel]) -> None:
        self.seconds = 0.0
        for network in networks:
            network.session.run = self._timed(network.session.run)

    def _timed(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.process_time()
            outputs = run(*arguments)
            self.seconds += time.process_time() - start
            return outputs

        return timed


def stages_ms(model: str, threads: int, repeats: int, *, pose: bool) -> dict[str, tuple[float, float]]:
    """Median CPU milliseconds of every stage, and those inside its networks.

    The stages take turns, so that a busy moment hits all alike.
    """
    data = example_photo()
    image = read_image(data)
    analyzer = Analyzer(model, threads=threads, pose=pose)
    mesh, classifier = analyzer.mesh, analyzer.classifier
    clock = NetworkClock(analyzer.networks.values())
    faces = analyzer.detect(image)
    assert len(faces) == 1, f"the benchmark needs one face, found {len(faces)}"
    [face] = pose_faces(image, faces, mesh)
    crop = classifier.crop(image, face)
    aligned = crop if classifier.framing == SHARPNESS_CROP else None
    stages: dict[str, Callable[[], object]] = {
        "decode JPEG": lambda: read_image(data),
        "detect": lambda: analyzer.detect(image),
        "mesh + pose": lambda: pose_faces(image, faces, mesh),
        "align": lambda: classifier.crop(image, face),
        "quality": lambda: face_quality(image, face, crop=aligned),
        "expression": lambda: classifier.classify(crop[None]),
        WHOLE: lambda: analyzer.analyze(image),
    }
    if not pose:
        del stages["mesh + pose"]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in stages}
    for turn in range(repeats + 3):
        for name, stage in stages.items():
            clock.seconds = 0.0
            start = time.process_time()
            stage()
            if turn >= 3:
                seconds[name].append((time.process_time() - start, clock.seconds))
    return {
        name: (1000 * statistics.median(all_s), 1000 * statistics.median(network_s))
        for name, values in seconds.items()
        for all_s, network_s in [zip(*values, strict=True)]
    }


def process_s(arguments: list[str], repeats: int, environment: dict[str, str]) -> float:
    """Median seconds of a Python process from start to end, after a run that compiles the modules."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def startup_s(model: str, repeats: int) -> dict[str, float]:
    """Median seconds of processes: Python alone, `import mien`, and `mien predict` on one photograph."""
    run_main = "import sys; from mien.cli.main import main; sys.exit(main())"
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        photo.write_bytes(example_photo())
        predict = ["-c", run_main, "predict", str(photo), "--model", model]
        # with compiled modules, as pip installs them, also where Python must not write beside the sources
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        bare = process_s(["-c", "pass"], repeats, environment)
        imported = process_s(["-c", "import mien"], repeats, environment)
        return {
            "python": bare,
            "import mien": imported,
            "import mien, without Python's own": imported - bare,
            "mien predict": process_s(predict, repeats, environment),
            "mien predict --json": process_s([*predict, "--json"], repeats, environment),
        }


def measure(model: str, threads: int, repeats: int, *, pose: bool) -> dict[str, Any]:
    """Everything, as one plain record."""
    stages = stages_ms(model, threads, repeats, pose=pose)
    whole, networks = stages[WHOLE]
    return {
        "image": f"{WIDTH}x{HEIGHT}, one face",
        "model": model,
        "pose": pose,
        "threads": threads,
        "repeats": repeats,
        "stages_ms": {name: round(all_ms, 2) for name, (all_ms, _) in stages.items()},
        "networks_ms": {name: round(network_ms, 2) for name, (_, network_ms) in stages.items()},
        "networks_share": round(networks / whole, 3),
        "images_per_s": round(1000 / whole, 1),
        "images_per_s_from_jpeg": round(1000 / (whole + stages["decode JPEG"][0]), 1),
        "startup_s": {name: round(value, 3) for name, value in startup_s(model, max(3, repeats // 4)).items()},
    }


def show(record: dict[str, Any]) -> None:
    kind = "with" if record["pose"] else "without"
    print(f"{record['image']}, {record['model']} {kind} pose, {record['threads']} thread(s)")
    print(f"medians of {record['repeats']}; the whole image is an array    CPU ms   in networks")
    for name, value in record["stages_ms"].items():
        print(f"  {name:<40} {value:16.2f} {record['networks_ms'][name]:12.2f}")
    print(f"networks: {record['networks_share']:.0%} of the whole; {record['images_per_s']} arrays per second")
    print("processes, start to end")
    for name, value in record["startup_s"].items():
        print(f"  {name:<34} {value:6.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--no-pose", action="store_true", help="without mesh and head pose")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    record = measure(arguments.model, arguments.threads, arguments.repeats, pose=not arguments.no_pose)
    if arguments.json:
        print(json.dumps(record, indent=2))
    else:
        show(record)


if __name__ == "__main__":
    main()
