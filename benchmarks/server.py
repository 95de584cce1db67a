"""What `mien serve` can take: images a second and waiting times, too many clients, its beginning and its end.

python benchmarks/server.py [--seconds 8] [--rounds 3] [--model NAME|FILE] [--json]

Clients are another process (benchmarks/server_load.py) that posts one image again and again over kept connections of
loopback: a 640x480 JPEG with one face, or a 160x160 one that the face fills. Three servers run side by side and take
turns in being asked, so that a busy moment of the machine hits all of them:
  batched        as it comes
  one by one     --batch-images 1 --batch-window-ms 0: a single image at a time, its networks on all cores
  one by one, a worker a core   the same, an image on every core
`cpu ms` is what the server's process used for an image, which a busy machine changes little.
Then the batched one is asked for four times of what it can read; it is told to end, and killed, under load. An
image is lost when the server says that it answered it and no client has seen that, or a client was left unanswered.
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

Found: TypeAlias = dict[str, Any]

CLIENTS = (1, 8, 64)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
ALONE = ("--batch-images", "1", "--batch-window-ms", "0")
ARMS: dict[str, tuple[str, ...]] = {
    "batched": (),
    "one by one": ALONE,
    "one by one, a worker a core": (*ALONE, "--workers", str(CORES)),
}
WARM_UP_S = 1.0
TICKS = os.sysconf("SC_CLK_TCK")
OPEN = build_opener(ProxyHandler({})).open


class Server(ServerProcess):
    """`mien serve` in a process of its own, and what it takes and tells.

    Args:
        folder: for the log.
        words: of its command line.
        port: to listen on; 0 takes a free one.
    """

    def __init__(self, folder: Path, *words: str, port: int = 0) -> None:
        began = time.perf_counter()
        super().__init__(None, *words, log=folder / f"{time.time_ns()}.log", port=port)
        while not self.is_ready():
            time.sleep(0.005)
        self.ready_s = time.perf_counter() - began

    def is_ready(self) -> bool:
        try:
            return b"ready" in self.get("/readyz")
        except URLError:
            return False

    def get(self, path: str) -> bytes:
        with OPEN(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return answer.read()

    def cpu_s(self) -> float:
        """Seconds of processor that it used by now, all threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, what: str = "VmRSS") -> float:
        """Resident memory: now, or `VmHWM`, the most that it ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def answered(self) -> dict[str, int]:
        """Requests for /v1/analyze that it answered, by status, as its own counters say."""
        text = self.get("/metrics").decode()
        lines = re.findall(r'mien_requests_total\{.*path="/v1/analyze",status="(\d+)"\} (\d+)', text)
        return {status: int(count) for status, count in lines}

    def answered_since(self, before: dict[str, int]) -> dict[str, int]:
        """What came on top of an earlier `answered`."""
        more = {status: count - before.get(status, 0) for status, count in self.answered().items()}
        return {status: count for status, count in more.items() if count}

    def logged(self) -> int:
        """Images that were answered 200, as its log says."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return sum(line.get("path") == "/v1/analyze" and line.get("status") == 200 for line in lines)


def face_photo() -> bytes:
    """A 160x160 JPEG that one face fills."""
    head = bust("astronaut", room=0.3)
    head = scaled(head, 160 / head.shape[1])
    top = (head.shape[0] - 160) // 2
    return encoded(head[top : top + 160, :160], "JPEG", quality=90)


def begin_load(server: Server, image: Path, seconds: float, **options: float) -> subprocess.Popen[str]:
    words = [
        f"--{name}={value}" for name, value in {"port": server.port, "seconds": seconds, **options}.items()
    ]
    command = [
        sys.executable,
        str(Path(__file__).with_name("server_load.py")),
        "--image",
        str(image),
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish_load(run: subprocess.Popen[str]) -> Found:
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0, f"the clients ended with {run.returncode}"
    return json.loads(out)


def load(server: Server, image: Path, seconds: float, **options: float) -> Found:
    """One load from begin to end, with what the server used for it."""
    before_s, before = server.cpu_s(), server.answered()
    found = finish_load(begin_load(server, image, seconds, **options))
    seen = {status: len(times) for status, times in found["latencies_ms"].items()}
    deadline = time.perf_counter() + 2  # a client may have its answer before the server has counted it
    while (told := server.answered_since(before)) != seen and time.perf_counter() < deadline:
        time.sleep(0.05)
    missing = sum(max(0, told.get(status, 0) - count) for status, count in seen.items())
    found["lost"] = max(missing, found["unanswered"])
    found["cpu_ms"] = 1e3 * (server.cpu_s() - before_s) / max(1, seen.get("200", 0))
    return found


def quantile_ms(found: list[Found], status: str, share: float) -> float:
    times = [time_ms for one in found for time_ms in one["latencies_ms"].get(status, ())]
    return round(float(np.quantile(times, share)), 1) if times else float("nan")


def summary(found: list[Found]) -> Found:
    """All rounds of one arm and one number of clients."""
    return {
        "read_per_s": round(statistics.median(one["read_per_s"] for one in found), 1),
        "p50_ms": quantile_ms(found, "200", 0.5),
        "p99_ms": quantile_ms(found, "200", 0.99),
        "cpu_ms": round(statistics.median(one["cpu_ms"] for one in found), 1),
        "answers": sum(len(times) for one in found for times in one["latencies_ms"].values()),
        "not_200": sum(
            len(times) for one in found for code, times in one["latencies_ms"].items() if code != "200"
        ),
        "lost": sum(one["lost"] for one in found),
    }


def measure_speed(folder: Path, images: dict[str, Path], options: argparse.Namespace) -> Found:
    """Every arm, image and number of clients; the arms take turns, and every other round goes backwards."""
    result: Found = {}
    with ExitStack() as stack:
        words = ("--model", options.model)
        servers = {name: stack.enter_context(Server(folder, *arm, *words)) for name, arm in ARMS.items()}
        for kind, image in images.items():
            for server in servers.values():
                load(server, image, WARM_UP_S, clients=8)
            for clients in CLIENTS:
                rounds: dict[str, list[Found]] = {name: [] for name in ARMS}
                for turn in range(options.rounds):
                    for name in list(ARMS)[:: -1 if turn % 2 else 1]:
                        rounds[name].append(load(servers[name], image, options.seconds, clients=clients))
                arms = {name: summary(found) for name, found in rounds.items()}
                ratios = {
                    name: round(arms["batched"]["read_per_s"] / max(arms[name]["read_per_s"], 0.1), 2)
                    for name in list(ARMS)[1:]
                }
                result.setdefault(kind, {})[str(clients)] = {"arms": arms, "batched_against": ratios}
    return result


def measure_overload(folder: Path, image: Path, options: argparse.Namespace) -> Found:
    """Four times the capacity, at fixed times, and how it is afterwards."""
    settings = ServerSettings()
    with Server(folder, "--model", options.model) as server:
        load(server, image, WARM_UP_S, clients=8)
        before = load(server, image, options.seconds, clients=64)
        warm_mb = server.memory_mb("VmHWM")
        rate = 4 * before["read_per_s"]
        over = load(server, image, 2 * options.seconds, rate=rate)
        peak_mb = server.memory_mb("VmHWM")
        after = load(server, image, options.seconds, clients=64)
    counts = {status: len(times) for status, times in over["latencies_ms"].items()}
    asked = sum(counts.values()) + over["unanswered"]
    return {
        "capacity_per_s": round(before["read_per_s"], 1),
        "asked_per_s": round(rate, 1),
        "asked": asked,
        "answers": counts,
        "share_429": round(counts.get("429", 0) / max(asked, 1), 3),
        "refused_without_retry_after": over["without_retry_after"],
        "accepted_per_s": round(over["read_per_s"], 1),
        "accepted_p50_ms": quantile_ms([over], "200", 0.5),
        "accepted_p99_ms": quantile_ms([over], "200", 0.99),
        "refused_p99_ms": quantile_ms([over], "429", 0.99),
        "unanswered": over["unanswered"],
        "lost": over["lost"],
        "not_sent": over["not_sent"],
        "memory_mb_before": round(warm_mb, 1),
        "memory_mb_at_most": round(peak_mb, 1),
        "memory_mb_allowed": round(warm_mb + settings.max_waiting_bytes / 2**20, 1),
        "afterwards_per_s": round(after["read_per_s"], 1),
        "afterwards_against_before": round(after["read_per_s"] / max(before["read_per_s"], 0.1), 2),
    }


def measure_ends(folder: Path, image: Path, options: argparse.Namespace) -> Found:
    """SIGTERM and SIGKILL while 64 clients ask; and how long it takes to be ready, the first time and the next."""
    words = ("--model", options.model)
    with Server(folder, *words) as server:
        starts = [server.ready_s]
        run = begin_load(server, image, options.seconds, clients=64)
        time.sleep(options.seconds / 2)
        server.process.send_signal(signal.SIGTERM)
        told = time.perf_counter()
        code = server.process.wait(timeout=90)
        ended_s = time.perf_counter() - told
        found = finish_load(run)
        counts = {status: len(times) for status, times in found["latencies_ms"].items()}
        term = {
            "exit_code": code,
            "seconds": round(ended_s, 2),
            "answers": counts,
            "lost": server.logged() - counts.get("200", 0),
            "unanswered": found["unanswered"],
        }
    again, port = [], 0
    for turn in range(4):
        with Server(folder, *words, port=port) as server:
            (again if turn else starts).append(server.ready_s)
            port = server.port
            run = begin_load(server, image, WARM_UP_S, clients=8)
            time.sleep(WARM_UP_S / 2)
        finish_load(run)  # leaving the block was kill -9
    return {
        "ready_s": round(statistics.median(starts), 2),
        "ready_after_kill_s": round(statistics.median(again), 2),
        "ready_after_kill_s_at_most": round(max(again), 2),
        "sigterm": term,
    }


def show(found: Found) -> None:
    """The numbers as lines."""
    row = "{:10s} {:>7s}  {:28s} {:>9s} {:>8s} {:>8s} {:>7s} {:>6s} {:>8s}"
    print(row.format("image", "clients", "server", "read/s", "p50 ms", "p99 ms", "cpu ms", "lost", "batched"))
    for kind, by_clients in found["speed"].items():
        for clients, point in by_clients.items():
            for name, arm in point["arms"].items():
                against = point["batched_against"].get(name)
                numbers = [f"{arm[key]:.1f}" for key in ("read_per_s", "p50_ms", "p99_ms", "cpu_ms")]
                ratio = "" if against is None else f"{against:.2f} x"
                print(row.format(kind, clients, name, *numbers, str(arm["lost"]), ratio))
    for part in ("overload", "ends"):
        print(part)
        for key, value in found[part].items():
            print(f"  {key:28s} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seconds", type=float, default=8.0, help="of every load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = {"640x480": folder / "photo.jpg", "160x160": folder / "face.jpg"}
        images["640x480"].write_bytes(example_photo())
        images["160x160"].write_bytes(face_photo())
        found = {
            "cores": CORES,
            "speed": measure_speed(folder, images, options),
            "overload": measure_overload(folder, images["640x480"], options),
            "ends": measure_ends(folder, images["640x480"], options),
        }
    if options.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
