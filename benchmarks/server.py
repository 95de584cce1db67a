"""Throughput and latency of `mien serve`, overload, shutdown and restart.

python benchmarks/server.py [--seconds 8] [--rounds 3] [--model NAME|FILE] [--json]

The clients run in another process (benchmarks/server_load.py). They post one image repeatedly over kept connections of
the loopback interface: a 640x480 JPEG with one face, or a 160x160 JPEG that the face fills. Three servers run at the
same time and take turns, so that other load on the machine affects all of them:
  batched                   default settings
  unbatched                 --batch-images 1 --batch-window-ms 0: one image at a time, with all cores per network
  unbatched, worker/core    the same, with one image per core
`cpu ms` is the CPU time of the server per image, which other load hardly affects.
Then the batched server receives four times the requests that it can answer, and is stopped and killed under load. A
response is lost when the server counts it and no client received it, or when a client got no response.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from latency import example_photo

from mien.runtime import DEFAULT_MODEL
from mien.server.settings import ServerSettings
from support.images import bust, encoded, scaled
from support.server import ServerProcess

Record: TypeAlias = dict[str, Any]

CLIENTS = (1, 8, 64)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
UNBATCHED = ("--batch-images", "1")
ARMS: dict[str, tuple[str, ...]] = {
    "batched": (),
    "unbatched": UNBATCHED,
    "unbatched, worker/core": (*UNBATCHED, "--workers", str(CORES)),
}
WARM_UP_S = 1.0
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
        """Return the CPU time of all threads, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, key: str = "VmRSS") -> float:
        """Return the resident memory, or the peak with `VmHWM`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"{key}:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) / 1024

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


def face_photo() -> bytes:
    """Return a 160x160 JPEG that one face fills."""
    head = bust("astronaut", room=0.3)
    head = scaled(head, 160 / head.shape[1])
    top = (head.shape[0] - 160) // 2
    return encoded(head[top : top + 160, :160], "JPEG", quality=90)


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
    """Run one load, and add the lost responses and the CPU time per image to its results."""
    cpu_before_s = server.cpu_s()
    counts_before = server.response_counts()
    results = finish_load(start_load(server, image, seconds, **options))
    received = {status: len(times) for status, times in results["latencies_ms"].items()}
    # a client may have its response before the server has counted it
    deadline_s = time.perf_counter() + 2
    while (sent := server.response_counts_since(counts_before)) != received and time.perf_counter() < deadline_s:
        time.sleep(0.05)
    missing = sum(max(0, sent.get(status, 0) - count) for status, count in received.items())
    results["lost"] = max(missing, results["unanswered"])
    results["cpu_ms"] = 1e3 * (server.cpu_s() - cpu_before_s) / max(1, received.get("200", 0))
    return results


def quantile_ms(rounds: list[Record], status: str, share: float) -> float:
    times = [time_ms for results in rounds for time_ms in results["latencies_ms"].get(status, ())]
    return round(float(np.quantile(times, share)), 1) if times else float("nan")


def summary(rounds: list[Record]) -> Record:
    """Summarize all rounds of one server and one number of clients."""
    return {
        "images_per_s": round(statistics.median(results["images_per_s"] for results in rounds), 1),
        "p50_ms": quantile_ms(rounds, "200", 0.5),
        "p99_ms": quantile_ms(rounds, "200", 0.99),
        "cpu_ms": round(statistics.median(results["cpu_ms"] for results in rounds), 1),
        "answers": sum(len(times) for results in rounds for times in results["latencies_ms"].values()),
        "not_200": sum(
            len(times) for results in rounds for code, times in results["latencies_ms"].items() if code != "200"
        ),
        "lost": sum(results["lost"] for results in rounds),
    }


def measure_speed(folder: Path, images: dict[str, Path], options: argparse.Namespace) -> Record:
    """Measure every server, image and number of clients; the order of the servers is reversed in every other round."""
    result: Record = {}
    with ExitStack() as stack:
        model = ("--model", options.model)
        servers = {name: stack.enter_context(Server(folder, *arm, *model)) for name, arm in ARMS.items()}
        for kind, image in images.items():
            for server in servers.values():
                load(server, image, WARM_UP_S, clients=8)
            for clients in CLIENTS:
                rounds: dict[str, list[Record]] = {name: [] for name in ARMS}
                for turn in range(options.rounds):
                    for name in list(ARMS)[:: -1 if turn % 2 else 1]:
                        rounds[name].append(load(servers[name], image, options.seconds, clients=clients))
                arms = {name: summary(results) for name, results in rounds.items()}
                speedups = {
                    name: round(arms["batched"]["images_per_s"] / max(arms[name]["images_per_s"], 0.1), 2)
                    for name in list(ARMS)[1:]
                }
                result.setdefault(kind, {})[str(clients)] = {"arms": arms, "speedup": speedups}
    return result


def measure_overload(folder: Path, image: Path, options: argparse.Namespace) -> Record:
    """Measure an arrival rate of four times the capacity, and the throughput afterwards."""
    settings = ServerSettings()
    with Server(folder, "--model", options.model) as server:
        load(server, image, WARM_UP_S, clients=8)
        before = load(server, image, options.seconds, clients=64)
        warm_mb = server.memory_mb("VmHWM")
        rate = 4 * before["images_per_s"]
        over = load(server, image, 2 * options.seconds, rate=rate)
        peak_mb = server.memory_mb("VmHWM")
        after = load(server, image, options.seconds, clients=64)
    counts = {status: len(times) for status, times in over["latencies_ms"].items()}
    requests = sum(counts.values()) + over["unanswered"]
    return {
        "capacity_per_s": round(before["images_per_s"], 1),
        "requests_per_s": round(rate, 1),
        "requests": requests,
        "answers": counts,
        "share_429": round(counts.get("429", 0) / max(requests, 1), 3),
        "rejected_without_retry_after": over["without_retry_after"],
        "accepted_per_s": round(over["images_per_s"], 1),
        "accepted_p50_ms": quantile_ms([over], "200", 0.5),
        "accepted_p99_ms": quantile_ms([over], "200", 0.99),
        "rejected_p99_ms": quantile_ms([over], "429", 0.99),
        "unanswered": over["unanswered"],
        "lost": over["lost"],
        "not_sent": over["not_sent"],
        "memory_mb_before": round(warm_mb, 1),
        "peak_memory_mb": round(peak_mb, 1),
        "max_memory_mb": round(warm_mb + settings.max_waiting_bytes / 2**20, 1),
        "afterwards_per_s": round(after["images_per_s"], 1),
        "afterwards_relative": round(after["images_per_s"] / max(before["images_per_s"], 0.1), 2),
    }


def measure_stops(folder: Path, image: Path, options: argparse.Namespace) -> Record:
    """Measure SIGTERM under load, and the time to start, also after SIGKILL."""
    model = ("--model", options.model)
    with Server(folder, *model) as server:
        starts = [server.ready_s]
        run = start_load(server, image, options.seconds, clients=64)
        time.sleep(options.seconds / 2)
        server.process.send_signal(signal.SIGTERM)
        signaled_s = time.perf_counter()
        code = server.process.wait(timeout=90)
        stop_s = time.perf_counter() - signaled_s
        results = finish_load(run)
        counts = {status: len(times) for status, times in results["latencies_ms"].items()}
        term = {
            "exit_code": code,
            "seconds": round(stop_s, 2),
            "answers": counts,
            "lost": server.logged_successes() - counts.get("200", 0),
            "unanswered": results["unanswered"],
        }
    restarts = []
    port = 0
    for turn in range(4):
        with Server(folder, *model, port=port) as server:
            (restarts if turn else starts).append(server.ready_s)
            port = server.port
            run = start_load(server, image, WARM_UP_S, clients=8)
            time.sleep(WARM_UP_S / 2)
        # leaving the block killed the server
        finish_load(run)
    return {
        "ready_s": round(statistics.median(starts), 2),
        "ready_after_kill_s": round(statistics.median(restarts), 2),
        "ready_after_kill_s_max": round(max(restarts), 2),
        "sigterm": term,
    }


def show(results: Record) -> None:
    """Print the results as a table."""
    row = "{:10s} {:>7s}  {:28s} {:>9s} {:>8s} {:>8s} {:>7s} {:>6s} {:>8s}"
    print(row.format("image", "clients", "server", "images/s", "p50 ms", "p99 ms", "cpu ms", "lost", "batched"))
    for kind, by_clients in results["speed"].items():
        for clients, point in by_clients.items():
            for name, arm in point["arms"].items():
                speedup = point["speedup"].get(name)
                numbers = [f"{arm[key]:.1f}" for key in ("images_per_s", "p50_ms", "p99_ms", "cpu_ms")]
                ratio = "" if speedup is None else f"{speedup:.2f} x"
                print(row.format(kind, clients, name, *numbers, str(arm["lost"]), ratio))
    for part in ("overload", "stops"):
        print(part)
        for key, value in results[part].items():
            print(f"  {key:28s} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seconds", type=float, default=8.0, help="duration of every load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = {"640x480": folder / "photo.jpg", "160x160": folder / "face.jpg"}
        images["640x480"].write_bytes(example_photo())
        images["160x160"].write_bytes(face_photo())
        results = {
            "cores": CORES,
            "speed": measure_speed(folder, images, options),
            "overload": measure_overload(folder, images["640x480"], options),
            "stops": measure_stops(folder, images["640x480"], options),
        }
    if options.json:
        print(json.dumps(results))
    else:
        show(results)


if __name__ == "__main__":
    main()
