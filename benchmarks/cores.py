"""Images a second of `mien predict` on one core and on two, and for photographs of 16 megapixels; peak memory.

python benchmarks/cores.py [--images 400] [--large 40] [--rounds 3] [--model NAME|FILE] [--json]

The photographs are made in a temporary folder from examples/: enlarged to 1280 pixels or to 16 megapixels, with noise
like that of a camera, as JPEGs of quality 90. Each run is a process of its own; the numbers of workers take turns, so
that other load on the machine affects both. The time of a run includes the start of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.runtime import DEFAULT_MODEL

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("astronaut", "biden", "obama", "group")
PHOTO_SIDE = 1280
LARGE_SIZE = (4608, 3456)
NOISE = 3.0
WORKERS = (1, 2)
RUN_MAIN = "import sys; from mien.cli.main import main; sys.exit(main())"


def write_photos(folder: Path, count: int, *, is_large: bool) -> None:
    """Write different photographs of the examples: each has its own noise."""
    generator = np.random.default_rng(0)
    for number in range(count):
        with Image.open(EXAMPLES / f"{NAMES[number % len(NAMES)]}.jpg") as opened:
            image = opened.convert("RGB")
        fill = max(LARGE_SIZE[0] / image.width, LARGE_SIZE[1] / image.height)
        scale = fill if is_large else PHOTO_SIDE / max(image.size)
        enlarged = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        if is_large:
            enlarged = enlarged.crop((0, 0, *LARGE_SIZE))
        pixels = np.asarray(enlarged).astype(np.float32)
        pixels += generator.normal(0, NOISE, (*pixels.shape[:2], 1)).astype(np.float32)
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        photo.save(folder / f"{number:04}.jpg", quality=90)


def run(folder: Path, workers: int, model: str) -> tuple[float, float]:
    """Return the seconds and the peak memory in MB of `mien predict` on a folder with a number of workers."""
    arguments = [str(folder), "--json", "--quiet", "--model", model, "--workers", str(workers), "--threads", "1"]
    started_s = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", RUN_MAIN, "predict", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mien predict ended with {process.returncode}")
    return time.perf_counter() - started_s, usage.ru_maxrss / 1024


def measure(folder: Path, count: int, rounds: int, model: str) -> dict[str, Any]:
    """Return images a second and peak memory for every number of workers, and their ratio."""
    seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    memory_mb = dict.fromkeys(WORKERS, 0.0)
    for _ in range(rounds):
        for workers in WORKERS:
            elapsed_s, peak_mb = run(folder, workers, model)
            seconds[workers].append(elapsed_s)
            memory_mb[workers] = max(memory_mb[workers], peak_mb)
    rates = {workers: count / statistics.median(values) for workers, values in seconds.items()}
    return {
        "images": count,
        "images_per_s": {str(workers): round(rate, 2) for workers, rate in rates.items()},
        "ratio": round(rates[WORKERS[1]] / rates[WORKERS[0]], 2),
        "peak_mb": {str(workers): round(peak) for workers, peak in memory_mb.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="photographs of 1280 pixels")
    parser.add_argument("--large", type=int, default=40, help="photographs of 16 megapixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    record = {}
    for name, count in (("1280 px", arguments.images), ("16 megapixels", arguments.large)):
        with tempfile.TemporaryDirectory() as folder:
            # in a process, because the peak memory of a child includes what its parent has at its start
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                pool.submit(write_photos, Path(folder), count, is_large=name != "1280 px").result()
            record[name] = measure(Path(folder), count, arguments.rounds, arguments.model)
    if arguments.json:
        print(json.dumps(record, indent=2))
        return
    for name, result in record.items():
        for workers in map(str, WORKERS):
            rate, peak = result["images_per_s"][workers], result["peak_mb"][workers]
            print(f"{name}, {workers} worker(s): {rate:.1f} images/s, peak memory {peak} MB")
        print(f"{name}: {result['ratio']:.2f} times the images a second with {WORKERS[1]} workers")


if __name__ == "__main__":
    main()
