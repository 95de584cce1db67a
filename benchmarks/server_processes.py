"""Processes of benchmarks/server.py: `mien serve`, its clients, and `mien predict` on one core."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.server import ServerProcess

Record: TypeAlias = dict[str, Any]

TICKS = os.sysconf("SC_CLK_TCK")
OPEN = build_opener(ProxyHandler({})).open


class Server(ServerProcess):
    """`mien serve` in its own process, with its resource use and counters.

    Args:
        folder: folder for the log.
        options: command-line options.
        port: port to listen on; 0 chooses a free one.
    """

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        started_s = time.perf_counter()
        super().__init__(None, *options, log=folder / f"{time.time_ns()}.log", port=port)
        while not self.is_ready():
            time.sleep(0.005)
        self.ready_s = time.perf_counter() - started_s

    def is_ready(self) -> bool:
        try:
            return b"ready" in self.get("/readyz")
        except URLError:
            return False

    def get(self, path: str) -> bytes:
        with OPEN(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return response.read()

    def cpu_s(self) -> float:
        """Return the CPU time of all processes, in seconds."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids()]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS

    def response_counts(self) -> dict[str, int]:
        """Return the number of responses of /v1/analyze by status, from the server's metrics."""
        text = self.get("/metrics").decode()
        lines = re.findall(r'mien_requests_total\{.*path="/v1/analyze",status="(\d+)"\} (\d+)', text)
        return {status: int(count) for status, count in lines}

    def response_counts_since(self, before: dict[str, int]) -> dict[str, int]:
        """Return the responses since an earlier call of `response_counts`."""
        counts = {status: count - before.get(status, 0) for status, count in self.response_counts().items()}
        return {status: count for status, count in counts.items() if count}

    def logged_successes(self) -> int:
        """Return the number of responses with status 200 in the server's log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return sum(line.get("path") == "/v1/analyze" and line.get("status") == 200 for line in lines)


class Predict:
    """`mien predict --json` on one core, measured by the time that more copies of an image take.

    The difference of two runs excludes the time to start.

    Args:
        image: image file.
        model: name or path of the model.
        images: number of additional copies.
    """

    def __init__(self, image: Path, model: str, images: int) -> None:
        self._image = image
        self._model = model
        self._images = images

    def run(self) -> Record:
        """Return images per second, and CPU time per image in milliseconds."""
        few_s, few_cpu_s = self._run_copies(1)
        many_s, many_cpu_s = self._run_copies(1 + self._images)
        return {
            "images_per_s": self._images / (many_s - few_s),
            "cpu_ms": 1e3 * (many_cpu_s - few_cpu_s) / self._images,
        }

    def _run_copies(self, count: int) -> tuple[float, float]:
        """Return the duration and the CPU time of one run, in seconds."""
        with tempfile.TemporaryDirectory() as folder, pinned_to_cores(1):
            for index in range(count):
                Path(folder, f"{index}.jpg").write_bytes(self._image.read_bytes())
            options = ["--json", "--quiet", f"--model={self._model}", "--threads=1"]
            command = [sys.executable, "-m", "mien.cli.main", "predict", folder, *options]
            started_s = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            duration_s = time.perf_counter() - started_s
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"mien predict exited with {process.returncode}"
        return duration_s, usage.ru_utime + usage.ru_stime


@contextmanager
def pinned_to_cores(count: int) -> Iterator[None]:
    """Let this process, and those that it starts, run on the first `count` of its cores only."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def start_load(server: Server, image: Path, seconds: float, **options: float) -> subprocess.Popen[str]:
    """Start the clients."""
    values = {"image": image, "port": server.port, "seconds": seconds, **options}
    script = str(Path(__file__).with_name("server_load.py"))
    command = [sys.executable, script, *(f"--{name}={value}" for name, value in values.items())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish_load(run: subprocess.Popen[str]) -> Record:
    """Wait for the clients and return their results."""
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0, f"the clients exited with {run.returncode}"
    return json.loads(out)


def load(server: Server, image: Path, seconds: float, **options: float) -> Record:
    """Run one load, and add the lost responses and the CPU times to its results."""
    cpu_before_s = server.cpu_s()
    counts_before = server.response_counts()
    results = finish_load(start_load(server, image, seconds, **options))
    received = {status: len(times) for status, times in results["latencies_ms"].items()}
    # a client may have its response before the server has counted it
    deadline_s = time.perf_counter() + 2
    while (sent := server.response_counts_since(counts_before)) != received and time.perf_counter() < deadline_s:
        time.sleep(0.05)
    missing = sum(max(0, sent.get(status, 0) - count) for status, count in received.items())
    # the server runs during the whole load, so that it has to accept every connection
    results["lost"] = max(missing, results["unanswered"]) + results["refused"]
    cpu_s = server.cpu_s() - cpu_before_s
    successes = max(1, received.get("200", 0))
    results["cpu_ms"] = 1e3 * cpu_s / successes
    results["client_cpu_ms"] = 1e3 * results["client_cpu_s"] / successes
    results["busy_cores"] = (cpu_s + results["client_cpu_s"]) / results["seconds"]
    return results
