"""Analysis in processes: each has its own interpreter and networks, and analyzes one image at a time."""

from __future__ import annotations

import signal
import traceback
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Lock
from typing import Self

from mien.errors import ModelError
from mien.inference.result import Result
from mien.server.model_pool import ModelPool, Selection
from mien.server.settings import ServerSettings

# ONNX Runtime can hang after a fork
_CONTEXT = get_context("spawn")


class AnalysisProcesses:
    """One process per worker; they start when the block is entered, and a lost one is replaced.

    Threads of one process share an interpreter, which runs the Python code of one thread at a time. Processes keep any
    number of cores busy, and a decoder that crashes ends one of them only.

    Args:
        settings: models, and the number of workers.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._processes = [_AnalysisProcess(settings) for _ in range(settings.worker_count)]
        self._idle: SimpleQueue[_AnalysisProcess] = SimpleQueue()

    def analyze(self, selection: Selection, image: bytes) -> Result:
        """Analyze an encoded image in an idle process; wait for one if there is none.

        Raises:
            ModelError: when a network fails, or the process ends.
        """
        process = self._idle.get()
        try:
            return process.analyze(selection, image)
        finally:
            self._idle.put(process)

    def __enter__(self) -> Self:
        """Start the processes and wait until all have loaded the default model.

        Raises:
            ModelError: when the model is broken.
        """
        try:
            for process in self._processes:
                process.start()
            for process in self._processes:
                process.wait_until_ready()
                self._idle.put(process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes; the image in work of each is lost."""
        for process in self._processes:
            process.end()


class _AnalysisProcess:
    """One process; all methods but `end` are called by one thread at a time."""

    _process: BaseProcess | None = None

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._has_ended = False

    def start(self) -> None:
        """Start the process if it does not run, without waiting for its networks.

        Raises:
            ModelError: after `end`.
        """
        with self._lock:
            if self._has_ended:
                raise ModelError("the analysis processes have ended.")
            if self._process is not None and self._process.is_alive():
                return
            self._connection, other_end = _CONTEXT.Pipe()
            process = _CONTEXT.Process(target=_serve, args=(self._settings, other_end), daemon=True)
            process.start()
            other_end.close()
            self._process = process
            self._is_ready = False

    def wait_until_ready(self) -> None:
        """Wait until the process has loaded the default model; raise its error if it cannot."""
        if not self._is_ready:
            self._receive()
            self._is_ready = True

    def analyze(self, selection: Selection, image: bytes) -> Result:
        """Return the result of an image; see `AnalysisProcesses.analyze`."""
        self.start()
        self.wait_until_ready()
        # `_receive` notices that the process has ended
        with suppress(OSError):
            self._connection.send((selection, image))
        return self._receive()

    def end(self) -> None:
        """End the process; it is not started again."""
        with self._lock:
            self._has_ended = True
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _receive(self) -> Result:
        try:
            output = self._connection.recv()
        except (EOFError, OSError):
            assert self._process is not None
            self._process.join()
            raise ModelError(f"an analysis process ended with exit code {self._process.exitcode}.") from None
        if isinstance(output, Exception):
            raise output
        return output


def _serve(settings: ServerSettings, connection: Connection) -> None:
    """Load the default model, then analyze images until the server closes the connection or ends."""
    # signals to a group of processes are for the server, which answers the accepted requests before it ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            pool = ModelPool(settings)
            pool.analyzer(pool.default)
        except Exception as error:
            connection.send(error)
            return
        connection.send(None)
        while True:
            selection, image = connection.recv()
            try:
                output: Result | Exception = pool.analyze(selection, image)
            except Exception as error:
                error.add_note(traceback.format_exc())
                output = error
            connection.send(output)
