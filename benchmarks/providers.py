"""Images a second of the expression network and of whole analyses, by device, precision and batch size.

python benchmarks/providers.py [--devices cpu,cuda,openvino] [--model NAME|FILE] [--threads 1] [--repeats 20] [--json]

Devices and batch sizes take turns; results are medians of wall time, so run it on an idle machine. On the CPU they are
CPU time as well. For CUDA, "bound" keeps input and output on the GPU (IO binding), which shows the cost of the copies.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mien.devices import available_devices
from mien.errors import MienError
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.runtime import DEFAULT_MODEL

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCHES = (1, 2, 8, 32, 128)
CUDA_KINDS = ("cuda", "tensorrt")


def crops_of(analyzer: Analyzer, count: int) -> np.ndarray:
    image = read_image(EXAMPLES / "group.jpg")
    _, crops = analyzer.crop_faces(image, analyzer.detect(image))
    return np.stack([crops[index % len(crops)] for index in range(count)])


def bound_run(classifier: ExpressionClassifier, images: np.ndarray, index: int) -> Callable[[], object]:
    """Return a run with input and output on the GPU."""
    import onnxruntime as ort

    session = classifier.network.session
    binding = session.io_binding()
    binding.bind_ortvalue_input("images", ort.OrtValue.ortvalue_from_numpy(images, "cuda", index))
    binding.bind_output("logits", "cuda", index)
    return lambda: session.run_with_iobinding(binding)


def network_runs(device: str, precision: Any, options: argparse.Namespace) -> dict[tuple[str, str, int], Callable]:
    """Return the runs of the network by (device, kind, batch)."""
    classifier = ExpressionClassifier(options.model, options.threads, device=device, precision=precision)
    crops = crops_of(Analyzer(threads=1, device="cpu"), max(BATCHES))
    images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
    session, name = classifier.network.session, f"{classifier.network.device} {classifier.network.precision}"
    kind, _, index = device.partition(":")
    runs: dict[tuple[str, str, int], Callable] = {}
    for count in BATCHES:
        part = images[:count]
        runs[name, "network", count] = lambda part=part: session.run(["logits"], {"images": part})
        if kind in CUDA_KINDS:
            runs[name, "bound", count] = bound_run(classifier, part, int(index or 0))
    return runs


def analysis_runs(device: str, precision: Any, options: argparse.Namespace) -> dict[tuple[str, str, int], Callable]:
    analyzer = Analyzer(options.model, threads=options.threads, device=device, precision=precision)
    image = read_image(EXAMPLES / "astronaut.jpg")
    name = f"{analyzer.classifier.network.device} {analyzer.classifier.network.precision}"
    return {(name, "analyze", 1): lambda: analyzer.analyze(image)}


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    runs: dict[tuple[str, str, int], Callable] = {}
    notes: list[str] = []
    opened: dict[tuple[str, str, int], float] = {}
    for device in options.devices.split(","):
        for precision in ("float32", "int8") if device in ("cpu", "openvino") else ("float32",):
            started = time.perf_counter()
            try:
                added = network_runs(device, precision, options) | analysis_runs(device, precision, options)
            except MienError as error:
                notes.append(str(error))
                continue
            opened |= dict.fromkeys(added, time.perf_counter() - started)
            runs |= added
    first: dict[tuple[str, str, int], float] = {}
    for key, run in runs.items():
        started = time.perf_counter()
        run()
        first[key] = time.perf_counter() - started
    walls: dict[tuple[str, str, int], list[float]] = {key: [] for key in runs}
    cpus: dict[tuple[str, str, int], list[float]] = {key: [] for key in runs}
    for _ in range(options.repeats):
        for key, run in runs.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            run()
            cpus[key].append(time.process_time() - started_cpu)
            walls[key].append(time.perf_counter() - started)
    rows = [
        {
            "device": key[0],
            "what": key[1],
            "batch": key[2],
            "images_per_s": round(key[2] / statistics.median(walls[key]), 1),
            "ms": round(1000 * statistics.median(walls[key]), 2),
            "cpu_ms": round(1000 * statistics.median(cpus[key]), 2),
            "first_ms": round(1000 * first[key], 1),
            "open_s": round(opened[key], 2),
        }
        for key in runs
    ]
    return rows, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default=",".join(available_devices()))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows, notes = measure(options)
    if options.json:
        print(json.dumps({"rows": rows, "notes": notes}))
        return
    print("| device | what | batch | images/s | ms | CPU ms | first ms | open s |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    for note in notes:
        print(note)


if __name__ == "__main__":
    main()
