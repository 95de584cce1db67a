"""Worker processes on this machine."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mien.batch.analysis import ShardAnalyzer, ShardOutput
from mien.batch.pool import WorkerPool
from mien.batch.shards import Shard


class LocalPool(WorkerPool):
    """Processes that are started when there is work for them; a lost one is replaced.

    Args:
        analyzer: its copy in a process opens the networks.
        workers: maximum number of processes.
    """

    def __init__(self, analyzer: ShardAnalyzer, workers: int) -> None:
        # ONNX Runtime can hang after a fork
        self._context = get_context("spawn")
        self._analyzer = analyzer
        self._workers = workers
        self._processes: dict[Connection, BaseProcess] = {}
        self._idle: list[Connection] = []
        self._busy: dict[Connection, Shard] = {}

    @property
    def has_idle(self) -> bool:
        """True when a shard can be submitted."""
        return len(self._busy) < self._workers

    def submit(self, shard: Shard) -> None:
        """Send a shard to an idle process, or start one."""
        connection = self._idle.pop() if self._idle else self._start()
        self._busy[connection] = shard
        # a process that died meanwhile is noticed in wait
        with suppress(OSError):
            connection.send(shard)

    def wait(self) -> list[tuple[Shard, ShardOutput | None]]:
        """Wait for at least one process; see `WorkerPool`."""
        return [
            self._receive(connection) for connection in wait(list(self._busy)) if isinstance(connection, Connection)
        ]

    def _receive(self, connection: Connection) -> tuple[Shard, ShardOutput | None]:
        shard = self._busy.pop(connection)
        try:
            output = connection.recv()
        except (EOFError, OSError):
            self._processes.pop(connection).join()
            connection.close()
            return shard, None
        if isinstance(output, Exception):
            raise output
        self._idle.append(connection)
        return shard, output

    def _start(self) -> Connection:
        connection, other_end = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._analyzer, other_end), daemon=True)
        process.start()
        other_end.close()
        self._processes[connection] = process
        return connection

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for connection, process in self._processes.items():
            process.join()
            connection.close()


def _serve(analyzer: ShardAnalyzer, connection: Connection) -> None:
    """Analyze shards until the connection is closed."""
    # Ctrl-C reaches all processes of a terminal; the main process ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            shard = connection.recv()
            try:
                output: ShardOutput | Exception = analyzer.analyze(shard)
            except Exception as error:
                output = error
            connection.send(output)
