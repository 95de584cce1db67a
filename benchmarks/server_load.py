"""Clients of benchmarks/server.py: they post one image repeatedly and record the responses.

python benchmarks/server_load.py --port PORT --image FILE [--clients 8 | --rate 200] [--seconds 10]

Prints one JSON object. The request is built once and connections are kept, so that the clients need little CPU time
(`client_cpu_s`). With --clients, each client sends its next request after the response (closed loop); with --rate,
requests start at fixed times (open loop).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
MAX_CONNECTIONS = 400
"""Maximum number of connections with --rate; requests that would need another one are skipped and counted."""


@dataclass
class Tally:
    """Counters of the responses; times are from `time.perf_counter`.

    `unanswered` counts requests that were sent and got no response, `refused` connections that could not be opened.
    """

    latencies_ms: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    last_s: float = 0.0
    unanswered: int = 0
    refused: int = 0
    not_sent: int = 0
    without_retry_after: int = 0

    def to_dict(self, started_s: float, started_cpu_s: float) -> dict[str, Any]:
        """Return the latencies by status, and the images per second until the last success."""
        successes = len(self.latencies_ms[200])
        return {
            "images_per_s": successes / (self.last_s - started_s) if successes else 0.0,
            "seconds": time.perf_counter() - started_s,
            "latencies_ms": {str(status): times for status, times in self.latencies_ms.items() if times},
            "unanswered": self.unanswered,
            "refused": self.refused,
            "not_sent": self.not_sent,
            "without_retry_after": self.without_retry_after,
            "client_cpu_s": time.process_time() - started_cpu_s,
        }


class Client:
    """Client with one connection, opened on first use."""

    def __init__(self, port: int, request: bytes, tally: Tally) -> None:
        self._port, self._request, self._tally = port, request, tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self) -> int | None:
        """Post the image and return the status; None without a server or a response."""
        started_s = time.perf_counter()
        try:
            reader, writer = self._streams or await asyncio.open_connection(HOST, self._port)
        except OSError:
            self._tally.refused += 1
            return None
        try:
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
            await reader.readexactly(int(fields[b"content-length"]))
        except (OSError, asyncio.IncompleteReadError):
            self._tally.unanswered += 1
            writer.close()
            self._streams = None
            return None
        now = time.perf_counter()
        status = int(head[9:12])
        self._tally.latencies_ms[status].append(1e3 * (now - started_s))
        self._tally.without_retry_after += status in (429, 503) and b"retry-after" not in fields
        if status == 200:
            self._tally.last_s = now
        is_last = fields.get(b"connection") == b"close"
        self._streams = None if is_last else (reader, writer)
        if is_last:
            writer.close()
        return status


async def run_closed_loop(client: Client, end_s: float) -> None:
    """Send requests with one client until a time or until the server stops."""
    while time.perf_counter() < end_s:
        status = await client.post()
        if status is None:
            return
        if status != 200:
            await asyncio.sleep(0.05)


async def run_open_loop(port: int, request: bytes, tally: Tally, rate: float, end_s: float) -> None:
    """Send requests at a fixed rate, each on an idle or a new connection."""
    idle: list[Client] = []
    running: set[asyncio.Task[None]] = set()

    async def post(client: Client) -> None:
        await client.post()
        idle.append(client)

    due = time.perf_counter()
    while due < end_s:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        due += 1 / rate
        if len(running) >= MAX_CONNECTIONS:
            tally.not_sent += 1
            continue
        task = asyncio.create_task(post(idle.pop() if idle else Client(port, request, tally)))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


async def load(options: argparse.Namespace) -> dict[str, Any]:
    """Run all clients until their last response."""
    image = options.image.read_bytes()
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/jpeg\r\n"
    head += f"Content-Length: {len(image)}\r\n\r\n"
    request, tally = head.encode() + image, Tally()
    started_s = time.perf_counter()
    started_cpu_s = time.process_time()
    end_s = started_s + options.seconds
    if options.rate:
        await run_open_loop(options.port, request, tally, options.rate, end_s)
    else:
        clients = [Client(options.port, request, tally) for _ in range(options.clients)]
        await asyncio.gather(*(run_closed_loop(client, end_s) for client in clients))
    return tally.to_dict(started_s, started_cpu_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0: closed loop")
    parser.add_argument("--seconds", type=float, default=10.0)
    print(json.dumps(asyncio.run(load(parser.parse_args()))))


if __name__ == "__main__":
    main()
