"""Worker processes on this machine."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mien.batch.analysis import ShardAnalyzer, ShardOutput
from mien.batch.pool import MAX_FAILED_STARTS, WorkerPool
from mien.batch.shards import Shard
from mien.errors import InputError


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
        self._starting: set[Connection] = set()
        self._failed_starts = 0

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
        ready = [connection for connection in wait(list(self._busy)) if isinstance(connection, Connection)]
        return [ended for connection in ready if (ended := self._receive(connection))]

    def _receive(self, connection: Connection) -> tuple[Shard, ShardOutput | None] | None:
        """Return the shard that ended; None if the process has just started."""
        try:
            output = connection.recv()
        except (EOFError, OSError):
            self._remove(connection)
            return self._busy.pop(connection), None
        if connection in self._starting:
            self._starting.remove(connection)
            self._failed_starts = 0
            return None
        shard = self._busy.pop(connection)
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
        self._starting.add(connection)
        return connection

    def _remove(self, connection: Connection) -> None:
        """Remove a lost process.

        Raises:
            InputError: none can be started.
        """
        process = self._processes.pop(connection)
        process.join()
        connection.close()
        if connection in self._starting:
            self._starting.remove(connection)
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise InputError(f"workers cannot start: their processes ended with exit code {process.exitcode}.")

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for connection, process in self._processes.items():
            process.join()
            connection.close()


def _serve(analyzer: ShardAnalyzer, connection: Connection) -> None:
    """Report the start, then analyze shards until the connection is closed."""
    # Ctrl-C reaches all processes of a terminal; the main process ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        connection.send(None)
        while True:
            shard = connection.recv()
            try:
                output: ShardOutput | Exception = analyzer.analyze(shard)
            except Exception as error:
                output = error
            connection.send(output)
