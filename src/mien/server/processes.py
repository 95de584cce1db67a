"""Analysis in processes: each has its own interpreter and networks, and analyzes one image at a time."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from queue import LifoQueue
from threading import Event, Lock, Thread
from typing import IO, Self

from mien.errors import MienError, ModelError
from mien.inference.result import Result
from mien.server.model_pool import Selection
from mien.server.settings import ServerSettings

_COMMAND = (sys.executable, "-m", "mien.server.analysis_process")
_WATCH_INTERVAL_S = 0.5
"""Interval at which processes over the time limit are looked for."""


class AnalysisProcesses:
    """One process per worker; they start when the block is entered, and a lost one is replaced.

    Threads of one process share an interpreter, which runs the Python code of one thread at a time. Processes keep any
    number of cores busy, and a decoder that crashes or hangs ends one of them only.

    Args:
        settings: models, the number of workers, and `request_timeout_s`, which limits an image too.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._processes = [_AnalysisProcess(settings) for _ in range(settings.worker_count)]
        # the last one first, whose data are still in the caches of a core
        self._idle: LifoQueue[_AnalysisProcess] = LifoQueue()
        self._has_ended = Event()

    def analyze(self, selection: Selection, image: bytes) -> Result:
        """Analyze an encoded image in an idle process; wait for one if there is none.

        Raises:
            ModelError: when a network fails, the process ends, or the time limit is reached.
        """
        process = self._idle.get()
        try:
            return process.analyze(selection, image)
        finally:
            self._idle.put(process)

    def end(self) -> None:
        """End the processes, also busy ones; the images in work have errors."""
        self._has_ended.set()
        for process in self._processes:
            process.end()

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
            self.end()
            raise
        Thread(target=self._watch, name="mien-watch", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self.end()

    def _watch(self) -> None:
        """Kill processes over the time limit; a timer thread per image would cost a twentieth of the throughput."""
        while not self._has_ended.wait(_WATCH_INTERVAL_S):
            for process in self._processes:
                process.kill_if_late()


class _AnalysisProcess:
    """One process; all methods but `end` and `kill_if_late` are called by one thread at a time.

    Requests and replies are pickles in its standard input and output. It ends by itself when its input ends, as when
    the server is killed.
    """

    _process: subprocess.Popen[bytes] | None = None

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._has_ended = False
        self._deadline_s = math.inf

    def start(self) -> None:
        """Start the process if it does not run, without waiting for its networks.

        Raises:
            ModelError: after `end`.
        """
        with self._lock:
            if self._has_ended:
                raise ModelError("the analysis processes have ended.")
            if self._process is not None:
                if self._process.poll() is None:
                    return
                _close(self._process)
            # its own session: a Ctrl-C in the terminal is for the server, which answers the accepted requests
            self._process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            self._is_ready = False
        self._send(self._settings)

    def wait_until_ready(self) -> None:
        """Wait until the process has loaded the default model; raise its error if it cannot."""
        if not self._is_ready:
            self._receive()
            self._is_ready = True

    def analyze(self, selection: Selection, image: bytes) -> Result:
        """Return the result of an image; see `AnalysisProcesses.analyze`."""
        self.start()
        self.wait_until_ready()
        self._deadline_s = time.monotonic() + self._settings.request_timeout_s
        try:
            self._send((selection, image))
            return self._receive()
        finally:
            self._deadline_s = math.inf

    def kill_if_late(self) -> None:
        """Kill the process when its image takes longer than the time limit.

        The client has its answer by then, but a decoder that hangs would hold the process forever.
        """
        with self._lock:
            if self._process is not None and time.monotonic() > self._deadline_s:
                self._process.kill()

    def end(self) -> None:
        """End the process; it is not started again."""
        with self._lock:
            self._has_ended = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                _close(self._process)

    def _send(self, message: object) -> None:
        # `_receive` notices that the process has ended; ValueError: `end` has closed the pipes
        with suppress(OSError, ValueError):
            stream = self._streams()[0]
            pickle.dump(message, stream, pickle.HIGHEST_PROTOCOL)
            stream.flush()

    def _receive(self) -> Result:
        assert self._process is not None
        try:
            reply = pickle.load(self._streams()[1])
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self._process.kill()
            code = self._process.wait()
            raise ModelError(f"an analysis process ended with exit code {code}.") from None
        if isinstance(reply, MienError):
            raise reply
        if isinstance(reply, str):
            raise RuntimeError(f"in an analysis process:\n{reply}")
        return reply

    def _streams(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes of a process that has ended."""
    for stream in (process.stdin, process.stdout):
        # what was not sent cannot be sent any more
        with suppress(OSError):
            if stream is not None:
                stream.close()
