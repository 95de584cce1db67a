"""An hour of mixed work: is memory flat, are all files closed, is any row lost?

python benchmarks/mixed_soak.py [--minutes 60] [--json]

Three actors run side by side:

- one long-lived Python process analyzes images (paths, bytes, arrays, broken files) and short videos;
- `mien serve` answers four clients, some of which send broken images or hang up in the middle of a request;
- `mien predict --table` and `mien video` are interrupted at random moments (SIGINT, SIGTERM, SIGKILL) and resumed;
  their tables must equal those of a run without interruption, and no partial file may remain.

Memory and open files are those of /proc (Linux). Memory is flat if its maximum in the last quarter of the time exceeds
that of the second quarter by less than 10% or 20 MB, and files are closed if theirs exceeds it by at most the number of
clients. Every command must have resumed to an equal table at least once.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from soak import make_loop, memory_mb

from support.server import ServerProcess

EXAMPLES = Path(__file__).parents[1] / "examples"
SAMPLE_S = 5.0
CLIENTS = 4
IMAGES = 60
"""Number of images of an interrupted `mien predict`."""
JOBS = ("predict", "video")
"""Commands that are interrupted and resumed."""
MAX_FILE_INCREASE = CLIENTS
"""Maximum increase in open files; connections of clients come and go."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass
class Samples:
    """Memory and open files of a process and its children over time."""

    pids: Callable[[], Sequence[int]]
    memory_mb: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)

    def take(self) -> None:
        """Add a sample."""
        pids = self.pids()
        self.memory_mb.append(sum(map(memory_mb, pids)))
        self.open_files.append(sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids))

    def to_dict(self) -> dict[str, Any]:
        """Return the maxima of the second and of the last quarter of the time; nothing after an early end."""
        quarter = len(self.memory_mb) // 4
        if quarter == 0:
            return {"is_memory_flat": False, "are_files_closed": False}
        before, after = max(self.memory_mb[quarter : 2 * quarter]), max(self.memory_mb[-quarter:])
        files_before, files_after = max(self.open_files[quarter : 2 * quarter]), max(self.open_files[-quarter:])
        return {
            "memory_mb_second_quarter": round(before),
            "memory_mb_last_quarter": round(after),
            "is_memory_flat": after - before < max(20.0, 0.1 * before),
            "open_files_second_quarter": files_before,
            "open_files_last_quarter": files_after,
            "are_files_closed": files_after - files_before <= MAX_FILE_INCREASE,
        }


def analyze_forever(clip: Path) -> None:
    """Analyze images and short videos until the process is killed; print a line per round."""
    import numpy as np
    from PIL import Image

    import mien

    analyzer = mien.Analyzer()
    paths = sorted(EXAMPLES.glob("*.jpg"))
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    broken = [paths[0].read_bytes()[:1000], b"no image", images[0].astype(np.float32) * np.nan]
    for _ in itertools.count():
        results = list(analyzer.analyze_many([*paths, *(path.read_bytes() for path in paths), *images, *broken]))
        assert [result.error is not None for result in results] == [False] * 3 * len(paths) + [True] * len(broken)
        frames = sum(1 for _ in mien.analyze_video(clip, analyzer=analyzer))
        print(len(results), frames, flush=True)


def request_forever(port: int, stop: threading.Event, answers: Counter[str]) -> None:
    """Send images to the server, a tenth of them broken and a tenth cut off; count the answers."""
    image = (EXAMPLES / "group.jpg").read_bytes()
    chance = random.Random(threading.get_ident())
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        body = image[:1000] if (kind := chance.random()) < 0.1 else image
        try:
            if 0.1 <= kind < 0.2:
                connection.putrequest("POST", "/v1/analyze")
                connection.putheader("Content-Type", "image/jpeg")
                connection.putheader("Content-Length", str(len(image)))
                connection.endheaders(image[: len(image) // 2])
                answers["hung up"] += 1
                continue
            connection.request("POST", "/v1/analyze", body, {"Content-Type": "image/jpeg"})
            answers[str(connection.getresponse().status)] += 1
        finally:
            connection.close()


def mien_command(*options: str | Path) -> subprocess.Popen[bytes]:
    """Start mien in its own process."""
    command = [sys.executable, "-m", "mien", *map(str, options), "--threads", "1", "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def interrupt_and_resume(options: list[str | Path], table: Path, expected: bytes, seconds: float) -> str:
    """Interrupt a run at a random moment, resume it, and return "equal", or what is wrong with its table."""
    run = mien_command(*options)
    time.sleep(random.uniform(0.2, 0.9) * seconds)
    run.send_signal(random.choice(SIGNALS))
    run.wait()
    if run.returncode == 0:
        return "finished before the signal"
    partial = [path.name for path in table.parent.rglob("*partial*")] if run.returncode != -signal.SIGKILL else []
    resumed = mien_command(*options, "--resume")
    if resumed.wait() != 0:
        return f"exit code {resumed.returncode}"
    partial += [path.name for path in table.parent.rglob("*partial*")]
    if partial:
        return f"left {partial[0]}"
    return "equal" if table.read_bytes() == expected else "different table"


def interrupt_forever(folder: Path, clip: Path, stop: threading.Event, outcomes: Counter[str]) -> None:
    """Interrupt and resume `mien predict` and `mien video` in turn; count the outcomes."""
    photos = folder / "photos"
    photos.mkdir()
    for index in range(IMAGES):
        shutil.copy(EXAMPLES / "group.jpg", photos / f"{index:03d}.jpg")
    output = folder / "output"
    table = output / "faces.csv"
    arguments: dict[str, list[str | Path]] = {
        "predict": ["predict", photos, "--table", table],
        "video": ["video", clip, "--output", output],
    }
    expected: dict[str, tuple[bytes, float]] = {}
    for name in itertools.cycle(JOBS):
        options = arguments[name]
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        if stop.is_set():
            return
        if name not in expected:
            started = time.perf_counter()
            assert mien_command(*options).wait() == 0
            expected[name] = table.read_bytes(), time.perf_counter() - started
        else:
            outcomes[f"{name}: {interrupt_and_resume(options, table, *expected[name])}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--analyze", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.analyze is not None:
        analyze_forever(options.analyze)
    with tempfile.TemporaryDirectory() as name:
        report = run(Path(name), options.minutes)
    print(json.dumps(report, indent=None if options.json else 2))
    sys.exit(0 if report["is_passed"] else 1)


def run(folder: Path, minutes: float) -> dict[str, Any]:
    """Run all actors and return what was measured."""
    clip = make_loop(folder / "clip.mp4", 0.4, 25)
    stop = threading.Event()
    answers: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    errors: list[str] = []

    def start(function: Callable[..., None], *arguments: object) -> threading.Thread:
        def target() -> None:
            try:
                function(*arguments)
            except Exception as error:
                errors.append(f"{function.__name__}: {error!r}")

        thread = threading.Thread(target=target)
        thread.start()
        return thread

    server = ServerProcess(None, "--model=expression", log=folder / "server.log")
    with (folder / "rounds.txt").open("wb") as rounds, (folder / "errors.txt").open("wb") as library_errors:
        library = subprocess.Popen(
            [sys.executable, __file__, "--analyze", str(clip)], stdout=rounds, stderr=library_errors
        )
        threads = [start(request_forever, server.port, stop, answers) for _ in range(CLIENTS)]
        threads.append(start(interrupt_forever, folder, clip, stop, outcomes))
        samples = {"library": Samples(lambda: [library.pid]), "server": Samples(server.pids)}
        try:
            end = time.perf_counter() + 60 * minutes
            while time.perf_counter() < end and library.poll() is None and server.process.poll() is None and not errors:
                for process in samples.values():
                    process.take()
                time.sleep(SAMPLE_S)
            is_running = library.poll() is None and server.process.poll() is None
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            library.kill()
            library.wait()
            server.stop()
    lines = [line.split() for line in (folder / "rounds.txt").read_text().splitlines()]
    measured = {name: process.to_dict() for name, process in samples.items()}
    is_equal = all(outcome.endswith((": equal", "before the signal")) for outcome in outcomes)
    is_equal = is_equal and all(outcomes[f"{job}: equal"] for job in JOBS)
    return {
        "minutes": minutes,
        "library": measured["library"]
        | {"images": sum(int(line[0]) for line in lines), "video_frames": sum(int(line[1]) for line in lines)},
        "server": measured["server"] | {"answers": dict(answers)},
        "interrupted_runs": dict(outcomes),
        "errors": [*errors, (folder / "errors.txt").read_text()[-500:]],
        "is_passed": is_running
        and is_equal
        and not errors
        and all(part["is_memory_flat"] and part["are_files_closed"] for part in measured.values()),
    }


if __name__ == "__main__":
    main()
