"""Images a second of `mien batch` with 1, 2 and 4 worker processes, and a simulation of many nodes from them.

python benchmarks/scale.py [--images 200] [--shard-size 10] [--rounds 3] [--nodes 1,10,100] [--workers-per-node 16]
    [--million 100] [--storage-gb-per-s 10] [--simulated-shard-size 256]
    [--images-per-s R [--image-kb 300]] [--price-per-core-hour P]

The photographs are those of benchmarks/cores.py, 1280 pixels wide. Each run is a process of its own; the numbers of
workers take turns. The start of a run is the time of a run over one image. The simulation takes from the measurement:
the images per CPU second of one worker, which other load on the machine changes least, the start, the bytes of an
image, and the time in which the driver writes a shard. It assumes shards that differ like log-normal numbers, workers
that are lost at random, and a storage that delivers at most a number of gigabytes per second to all nodes.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cores import write_photos

from mien.batch.analysis import ShardOutput
from mien.batch.run import BatchRun
from mien.batch.shards import SHARD_SIZE, Shard

WORKERS = (1, 2, 4)
SPREAD = 0.15
"""Standard deviation of the logarithm of the time of a shard: its images show more or fewer faces."""
LOSSES_PER_HOUR = 0.02
"""Workers lost per hour and worker: one in two days, as on preemptible machines."""
DRIVER_SHARDS = 200
ROW_BYTES = 400
"""Bytes of a face in a Parquet file."""
START_S = 10.0
"""Seconds of a start where none is measured."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Measured: images per CPU second, seconds of a start and of the driver per shard, bytes of an image."""

    images_per_s: float
    start_s: float
    driver_s: float
    image_bytes: float


@dataclass(frozen=True)
class Duration:
    """Seconds of a run, and CPU seconds of its processes."""

    wall_s: float
    cpu_s: float


def run(source: Path, output: Path, workers: int, shard_size: int) -> Duration:
    """Measure a whole run."""
    options = ["--workers", str(workers), "--shard-size", str(shard_size), "--quiet"]
    started_s, cpu_before_s = time.perf_counter(), cpu_seconds()
    subprocess.run([sys.executable, "-m", "mien", "batch", str(source), "-o", str(output), *options], check=True)
    return Duration(time.perf_counter() - started_s, cpu_seconds() - cpu_before_s)


def cpu_seconds() -> float:
    """Return the CPU time of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(place: Path, arguments: argparse.Namespace) -> tuple[dict[int, float], Rates]:
    """Return images a second, without the start, by number of workers, and the other rates."""
    photos = place / "photos"
    photos.mkdir()
    write_photos(photos, arguments.images, is_large=False)
    starts: list[Duration] = []
    runs: dict[int, list[Duration]] = {workers: [] for workers in WORKERS}
    for number in range(arguments.rounds):
        starts.append(run(photos / "0000.jpg", place / f"start{number}", 1, 1))
        for workers, values in runs.items():
            values.append(run(photos, place / f"out{workers}-{number}", workers, arguments.shard_size))
    start_s = statistics.median(start.wall_s for start in starts)
    by_workers = {
        workers: arguments.images / (statistics.median(one.wall_s for one in values) - start_s)
        for workers, values in runs.items()
    }
    work_s = statistics.median(one.cpu_s for one in runs[1]) - statistics.median(start.cpu_s for start in starts)
    return by_workers, Rates(
        images_per_s=arguments.images / work_s,
        start_s=start_s,
        driver_s=measure_driver(place / "driver", arguments.simulated_shard_size),
        image_bytes=statistics.mean(path.stat().st_size for path in photos.iterdir()),
    )


def measure_driver(folder: Path, shard_size: int) -> float:
    """Return the seconds in which the driver writes a shard."""
    shards = [
        Shard(name=f"images/{number:06}", kind="images", source="/", paths=("a.jpg",), size=1)
        for number in range(DRIVER_SHARDS)
    ]
    output = ShardOutput(table=bytes(ROW_BYTES * shard_size), items=shard_size, faces=shard_size, failures=())
    with BatchRun(folder, {}, shards) as batch:
        started_s = time.perf_counter()
        for shard in shards:
            batch.add(shard, output)
        return (time.perf_counter() - started_s) / DRIVER_SHARDS


def simulate(
    rates: Rates, images: float, shard_size: int, workers: int, storage_bytes_per_s: float
) -> tuple[float, float, float]:
    """Return the hours of a run, the share of the time in which workers are busy, and the driver's share.

    The driver takes and writes one shard after the other, then gives the worker the next one. A lost worker starts
    again, and its shard is repeated.
    """
    generator = random.Random(0)
    reading = max(1.0, workers * rates.images_per_s * rates.image_bytes / storage_bytes_per_s)
    shards = math.ceil(images / shard_size)
    busy_s = driver_s = 0.0

    def analyze(begin_s: float) -> float:
        """Return the time at which a shard is finished."""
        nonlocal busy_s
        needed_s = shard_size / rates.images_per_s * generator.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        busy_s += needed_s
        while generator.random() < needed_s * reading * LOSSES_PER_HOUR / 3600:
            begin_s += generator.random() * needed_s * reading + rates.start_s
        return begin_s + needed_s * reading

    ends_s = [analyze(rates.start_s) for _ in range(min(workers, shards))]
    heapq.heapify(ends_s)
    remaining = shards - len(ends_s)
    while ends_s:
        driver_s = max(driver_s, heapq.heappop(ends_s)) + rates.driver_s
        if remaining:
            heapq.heappush(ends_s, analyze(driver_s))
            remaining -= 1
    return driver_s / 3600, busy_s / (driver_s * workers), shards * rates.driver_s / driver_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--shard-size", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images-per-s", type=float, help="simulate this rate of one worker without measuring")
    parser.add_argument("--image-kb", type=float, default=300, help="size of an image, with --images-per-s")
    parser.add_argument("--simulated-shard-size", type=int, default=SHARD_SIZE)
    parser.add_argument("--nodes", default="1,10,100,1000")
    parser.add_argument("--workers-per-node", type=int, default=16)
    parser.add_argument("--million", type=float, default=100, help="million images of the simulated run")
    parser.add_argument("--storage-gb-per-s", type=float, default=10)
    parser.add_argument("--price-per-core-hour", type=float, help="prints the cost of a million images")
    arguments = parser.parse_args()
    shard_size = arguments.simulated_shard_size
    by_workers = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.images_per_s is None:
            by_workers, rates = measure(Path(folder), arguments)
        else:
            rates = Rates(
                images_per_s=arguments.images_per_s,
                start_s=START_S,
                driver_s=measure_driver(Path(folder), shard_size),
                image_bytes=arguments.image_kb * 1e3,
            )
    for workers, rate in by_workers.items():
        print(f"{workers} worker(s): {rate:.1f} images/s, {rate / by_workers[1]:.2f} times one worker")
    core_hours = 1e6 / rates.images_per_s / 3600
    print(f"one worker: {rates.images_per_s:.1f} images per CPU second; start {rates.start_s:.1f} s")
    print(f"an image: {rates.image_bytes / 1e3:.0f} kB; driver: {rates.driver_s * 1e3:.1f} ms a shard")
    print(f"a million images: {core_hours:.1f} core hours")
    if arguments.price_per_core_hour is not None:
        print(f"  at {arguments.price_per_core_hour:g} per core hour: {core_hours * arguments.price_per_core_hour:.2f}")
    for nodes in map(int, arguments.nodes.split(",")):
        workers = nodes * arguments.workers_per_node
        hours, busy, driver = simulate(
            rates, arguments.million * 1e6, shard_size, workers, arguments.storage_gb_per_s * 1e9
        )
        demand = workers * rates.images_per_s * rates.image_bytes / 1e9
        print(
            f"{nodes} node(s), {workers} workers: {hours:.2f} h, busy {busy:.1%}, driver {driver:.1%}, "
            f"reading {demand:.2f} GB/s"
        )


if __name__ == "__main__":
    main()
