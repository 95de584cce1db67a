"""Throughput and latency of `mien serve` beside `mien predict` on one core, overload, shutdown and restart.

python benchmarks/server.py [--part speed overload stops] [--cores 2] [--seconds 8] [--rounds 3] [--json]

Server and clients share `--cores` cores; `mien predict` has one of them. The clients run in another process
(benchmarks/server_load.py) and post one image repeatedly over kept connections of the loopback interface: a 640x480
JPEG with one face, or a 160x160 JPEG that the face fills. Two servers and `mien predict` take turns, so that other
load on the machine affects all of them:
  default         one worker per core, each with one thread per network
  --workers 1     one image at a time, with all cores per network
`ratio` is the images per second of the server divided by those of `mien predict` on one core in the same rounds.
`possible` is the ratio if server and clients kept all cores busy: from CPU times, which other load hardly affects.
`busy` is the number of cores that server and clients used.
Then the server receives four times the requests that it can answer, and is stopped and killed under load. A response
is lost when the server counts it and no client received it, or when a client got no response.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from latency import example_photo
from server_processes import Predict, Record, Server, finish_load, load, pinned_to_cores, start_load

from mien.runtime import DEFAULT_MODEL
from mien.server.settings import ServerSettings
from support.images import bust, encoded, scaled

CLIENTS = (1, 8, 64)
PARTS = ("speed", "overload", "stops")
ARMS: dict[str, tuple[str, ...]] = {"default": (), "--workers 1": ("--workers", "1")}
WARM_UP_S = 1.0


def face_photo() -> bytes:
    """Return a 160x160 JPEG that one face fills."""
    head = bust("astronaut", room=0.3)
    head = scaled(head, 160 / head.shape[1])
    top = (head.shape[0] - 160) // 2
    return encoded(head[top : top + 160, :160], "JPEG", quality=90)


def quantile_ms(rounds: list[Record], status: str, share: float) -> float:
    times = [time_ms for results in rounds for time_ms in results["latencies_ms"].get(status, ())]
    return round(float(np.quantile(times, share)), 1) if times else float("nan")


def median(rounds: list[Record], key: str) -> float:
    return statistics.median(results[key] for results in rounds)


def summary(rounds: list[Record], predictions: list[Record], cores: int) -> Record:
    """Summarize all rounds of one server and one number of clients, and compare them with those of `mien predict`."""
    cpu_ms = median(rounds, "cpu_ms")
    client_cpu_ms = median(rounds, "client_cpu_ms")
    p50_ms, p99_ms = (quantile_ms(rounds, "200", share) for share in (0.5, 0.99))
    return {
        "images_per_s": round(median(rounds, "images_per_s"), 1),
        "ratio": round(median(rounds, "images_per_s") / median(predictions, "images_per_s"), 2),
        "possible_ratio": round(cores * median(predictions, "cpu_ms") / (cpu_ms + client_cpu_ms), 2),
        "p50_ms": round(p50_ms, 1),
        "p99_ms": round(p99_ms, 1),
        "p99_relative": round(p99_ms / p50_ms, 2),
        "cpu_ms": round(cpu_ms, 2),
        "client_cpu_ms": round(client_cpu_ms, 2),
        "busy_cores": round(median(rounds, "busy_cores"), 2),
        "answers": sum(len(times) for results in rounds for times in results["latencies_ms"].values()),
        "not_200": sum(
            len(times) for results in rounds for code, times in results["latencies_ms"].items() if code != "200"
        ),
        "lost": sum(results["lost"] for results in rounds),
    }


def measure_speed(folder: Path, images: dict[str, Path], options: argparse.Namespace) -> Record:
    """Measure every server, image and number of clients; the order of the servers is reversed in every other round."""
    speed: Record = {}
    with ExitStack() as stack:
        model = ("--model", options.model)
        servers = {name: stack.enter_context(Server(folder, *arm, *model)) for name, arm in ARMS.items()}
        for kind, image in images.items():
            predict = Predict(image, options.model, options.images)
            for server in servers.values():
                load(server, image, WARM_UP_S, clients=8)
            for clients in CLIENTS:
                predictions: list[Record] = []
                rounds: dict[str, list[Record]] = {name: [] for name in ARMS}
                for turn in range(options.rounds):
                    predictions.append(predict.run())
                    for name in list(ARMS)[:: -1 if turn % 2 else 1]:
                        rounds[name].append(load(servers[name], image, options.seconds, clients=clients))
                point = {name: summary(results, predictions, options.cores) for name, results in rounds.items()}
                one_core = {key: round(median(predictions, key), 2) for key in ("images_per_s", "cpu_ms")}
                speed.setdefault(kind, {})[str(clients)] = {"predict": one_core, "servers": point}
        peak_mb = {name: round(server.memory_mb("VmHWM")) for name, server in servers.items()}
    return {"images": speed, "peak_memory_mb": peak_mb}


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
    requests = sum(counts.values()) + over["unanswered"] + over["refused"]
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
        "refused": over["refused"],
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
            # expected: the clients try to connect until the server is gone
            "refused": results["refused"],
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


def show_speed(speed: Record) -> None:
    row = "{:8s} {:>7s}  {:24s} {:>8s} {:>6s} {:>8s} {:>8s} {:>8s} {:>7s} {:>7s} {:>7s} {:>5s} {:>5s}"
    titles = ("images/s", "ratio", "possible", "p50 ms", "p99 ms", "p99/p50", "cpu ms", "client", "busy", "lost")
    keys = ("ratio", "possible_ratio", "p50_ms", "p99_ms", "p99_relative", "cpu_ms", "client_cpu_ms", "busy_cores")
    print(row.format("image", "clients", "", *titles))
    for kind, by_clients in speed["images"].items():
        for clients, point in by_clients.items():
            predict = point["predict"]
            blank = [""] * 4
            numbers = [f"{predict['images_per_s']:.1f}", "", *blank, f"{predict['cpu_ms']:.2f}", "", "", ""]
            print(row.format(kind, "", "mien predict, one core", *numbers))
            for name, server in point["servers"].items():
                numbers = [f"{server['images_per_s']:.1f}", *(f"{server[key]:.2f}" for key in keys)]
                print(row.format(kind, clients, f"mien serve {name}", *numbers, str(server["lost"])))
    for name, megabytes in speed["peak_memory_mb"].items():
        print(f"peak memory, mien serve {name}: {megabytes} MiB")


def show(results: Record) -> None:
    """Print the results as tables."""
    if "speed" in results:
        show_speed(results["speed"])
    for part in ("overload", "stops"):
        for key, value in results.get(part, {}).items():
            print(f"{part:9s} {key:28s} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--cores", type=int, default=2, help="cores that server and clients share")
    parser.add_argument("--seconds", type=float, default=8.0, help="duration of every load")
    parser.add_argument("--images", type=int, default=200, help="images of a run of mien predict")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, pinned_to_cores(options.cores):
        folder = Path(name)
        images = {"640x480": folder / "photo.jpg", "160x160": folder / "face.jpg"}
        images["640x480"].write_bytes(example_photo())
        images["160x160"].write_bytes(face_photo())
        results: Record = {"cores": options.cores}
        if "speed" in options.part:
            results["speed"] = measure_speed(folder, images, options)
        if "overload" in options.part:
            results["overload"] = measure_overload(folder, images["640x480"], options)
        if "stops" in options.part:
            results["stops"] = measure_stops(folder, images["640x480"], options)
    if options.json:
        print(json.dumps(results))
    else:
        show(results)


if __name__ == "__main__":
    main()
