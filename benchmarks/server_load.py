"""The clients of benchmarks/server.py, in a process of their own: they post one image again and again, and count.

python benchmarks/server_load.py --port PORT --image FILE [--clients 8 | --rate 200] [--seconds 10]

Prints one JSON object. The request is built once and connections are kept, so that the clients take little of the
processor that the server needs (`client_cpu_s`). With --clients each one asks again as soon as it is answered; with
--rate requests begin at fixed times, whatever the server does.
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
"""With --rate: a request that would need one more is left out, and counted."""


@dataclass
class Tally:
    """What came back. Times of day are those of `time.perf_counter`."""

    latencies_ms: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    last_s: float = 0.0
    unanswered: int = 0
    not_sent: int = 0
    without_retry_after: int = 0

    def to_dict(self, began_s: float) -> dict[str, Any]:
        """Answers by status with their milliseconds, and how many images were read a second until the last one."""
        read = len(self.latencies_ms[200])
        return {
            "read_per_s": read / (self.last_s - began_s) if read else 0.0,
            "latencies_ms": {str(status): times for status, times in self.latencies_ms.items() if times},
            "unanswered": self.unanswered,
            "not_sent": self.not_sent,
            "without_retry_after": self.without_retry_after,
            "client_cpu_s": time.process_time(),
        }


class Client:
    """One connection, opened when it is needed."""

    def __init__(self, port: int, request: bytes, tally: Tally) -> None:
        self._port, self._request, self._tally = port, request, tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> int | None:
        """Post the image and give the answer's status; None when there was nobody, or no answer."""
        began = time.perf_counter()
        try:
            reader, writer = self._streams or await asyncio.open_connection(HOST, self._port)
        except OSError:
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
        now, status = time.perf_counter(), int(head[9:12])
        self._tally.latencies_ms[status].append(1e3 * (now - began))
        self._tally.without_retry_after += status in (429, 503) and b"retry-after" not in fields
        if status == 200:
            self._tally.last_s = now
        is_last = fields.get(b"connection") == b"close"
        self._streams = None if is_last else (reader, writer)
        if is_last:
            writer.close()
        return status


async def ask_again_and_again(client: Client, end_s: float) -> None:
    """One client of a closed loop; it goes when the server is not there any more."""
    while time.perf_counter() < end_s:
        status = await client.ask()
        if status is None:
            return
        if status != 200:
            await asyncio.sleep(0.05)


async def ask_at_a_rate(port: int, request: bytes, tally: Tally, rate: float, end_s: float) -> None:
    """Requests at fixed times, each on a connection that is free by then."""
    free: list[Client] = []
    running: set[asyncio.Task[None]] = set()

    async def ask(client: Client) -> None:
        await client.ask()
        free.append(client)

    due = time.perf_counter()
    while due < end_s:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        due += 1 / rate
        if len(running) >= MAX_CONNECTIONS:
            tally.not_sent += 1
            continue
        task = asyncio.create_task(ask(free.pop() if free else Client(port, request, tally)))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


async def load(options: argparse.Namespace) -> dict[str, Any]:
    """All clients, until the last one is answered."""
    image = options.image.read_bytes()
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/jpeg\r\n"
    head += f"Content-Length: {len(image)}\r\n\r\n"
    request, tally = head.encode() + image, Tally()
    began_s = time.perf_counter()
    end_s = began_s + options.seconds
    if options.rate:
        await ask_at_a_rate(options.port, request, tally, options.rate, end_s)
    else:
        clients = [Client(options.port, request, tally) for _ in range(options.clients)]
        await asyncio.gather(*(ask_again_and_again(client, end_s) for client in clients))
    return tally.to_dict(began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second; 0: as the clients get answers"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    print(json.dumps(asyncio.run(load(parser.parse_args()))))


if __name__ == "__main__":
    main()
