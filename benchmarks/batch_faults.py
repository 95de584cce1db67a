"""`mien batch` on Ray with a worker and the driver killed: nothing lost, nothing twice; time against local workers.

python benchmarks/batch_faults.py [--images 20000] [--workers 2] [--shard-size 256] [--rounds 1] [--folder DIR]

The images are random crops of examples/, 160 pixels wide, analyzed without head pose, so that there is little work per
image. Local and Ray runs take turns, each in new processes, and their times include the start. Then a run on Ray has
one of its workers killed after a quarter of the shards and its driver after half of them, and is continued. Its files
have to be equal to those of the other runs. Needs the extra ray.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.dataset
from PIL import Image

from mien.batch.run import MANIFEST

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("astronaut", "biden", "obama")
SIDE = 160
MIN_CROP = 0.8
"""Share of the short side of an example that a crop has at least."""
ACTOR = b"ray::_Worker"
"""Start of the name that Ray gives to the process of an actor."""
POLL_S = 0.05


def write_images(folder: Path, count: int) -> None:
    """Write crops of the examples, and one file that is not an image."""
    generator = random.Random(0)
    examples = [Image.open(EXAMPLES / f"{name}.jpg").convert("RGB") for name in NAMES]
    for number in range(count - 1):
        example = examples[number % len(examples)]
        side = round(generator.uniform(MIN_CROP, 1) * min(example.size))
        left = generator.randrange(example.width - side + 1)
        top = generator.randrange(max(1, (example.height - side) // 2 + 1))
        crop = example.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, left + side, top + side), 3.0)
        crop.save(folder / f"{number:06}.jpg", quality=90)
    (folder / f"{count - 1:06}.jpg").write_bytes(b"not an image")


def start(source: Path, output: Path, cluster: str, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start `mien batch` in a process group of its own."""
    options = ["--cluster", cluster, "--workers", str(arguments.workers), "--shard-size", str(arguments.shard_size)]
    command = [sys.executable, "-m", "mien", "batch", str(source), "-o", str(output), "--quiet", "--no-pose", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def run(source: Path, output: Path, cluster: str, arguments: argparse.Namespace) -> float:
    """Return the seconds of a whole run."""
    started_s = time.perf_counter()
    finish(start(source, output, cluster, arguments))
    return time.perf_counter() - started_s


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run; its exit code is 1, because one file is not an image."""
    if process.wait() != 1:
        raise SystemExit(f"mien batch ended with {process.returncode}")


def run_with_faults(source: Path, output: Path, shards: int, arguments: argparse.Namespace) -> None:
    """Kill a worker after a quarter of the shards and the driver after half of them, then continue the run."""
    driver = start(source, output, "ray", arguments)
    wait_for_shards(driver, output, max(1, shards // 4))
    (actor, *_) = [process for process in descendants(driver.pid) if read_name(process).startswith(ACTOR)]
    os.kill(actor, signal.SIGKILL)
    print(f"killed worker {actor} after {finished_shards(output)} of {shards} shards")
    wait_for_shards(driver, output, max(2, shards // 2))
    driver.kill()
    driver.wait()
    print(f"killed the driver after {finished_shards(output)} of {shards} shards")
    finish(start(source, output, "ray", arguments))


def wait_for_shards(driver: subprocess.Popen[bytes], output: Path, count: int) -> None:
    while finished_shards(output) < count:
        if driver.poll() is not None:
            raise SystemExit(f"mien batch ended early with {driver.returncode}")
        time.sleep(POLL_S)


def finished_shards(output: Path) -> int:
    manifest = output / MANIFEST
    return max(0, manifest.read_bytes().count(b"\n") - 1) if manifest.is_file() else 0


def descendants(process: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    parents = {int(path.name): read_parent(path) for path in Path("/proc").glob("[0-9]*")}
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def read_parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


def read_name(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def check_equal(first: Path, second: Path, source: Path) -> None:
    """Exit unless both runs have the same files and each image is in exactly one of them."""
    tables = sorted(path.relative_to(first) for path in first.rglob("*.parquet"))
    if tables != sorted(path.relative_to(second) for path in second.rglob("*.parquet")):
        raise SystemExit(f"{first} and {second} have other files")
    if different := [str(table) for table in tables if (first / table).read_bytes() != (second / table).read_bytes()]:
        raise SystemExit(f"different after the faults: {', '.join(different)}")
    rows = pyarrow.dataset.dataset(second / "images").to_table(columns=["image", "face"]).to_pylist()
    counts = Counter((row["image"], row["face"]) for row in rows)
    images = {str(path) for path in source.iterdir()}
    lost, repeated = images - {name for name, _ in counts}, [row for row, times in counts.items() if times > 1]
    if lost or repeated:
        raise SystemExit(f"{len(lost)} images lost, {len(repeated)} rows repeated")
    print(f"{len(tables)} files are equal; {len(images)} images in {len(rows)} rows: 0 lost, 0 repeated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1, help="pairs of a local and a Ray run")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        place = Path(folder)
        source = place / "images"
        source.mkdir()
        write_images(source, arguments.images)
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for number in range(arguments.rounds):
            for cluster, values in seconds.items():
                values.append(run(source, place / f"{cluster}{number}", cluster, arguments))
                print(f"{cluster}: {values[-1]:.1f} s, {arguments.images / values[-1]:.1f} images/s", flush=True)
        shards = -(-arguments.images // arguments.shard_size)
        run_with_faults(source, place / "faults", shards, arguments)
        for other in ("ray0", "faults"):
            check_equal(place / "local0", place / other, source)
        ratio = statistics.median(seconds["ray"]) / statistics.median(seconds["local"])
        print(f"Ray took {ratio:.3f} times as long as local workers ({ratio - 1:+.1%})")


if __name__ == "__main__":
    main()
