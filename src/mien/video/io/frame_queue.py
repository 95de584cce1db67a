"""Frames decoded in a thread of their own: ahead of the work for files, the newest one for live sources."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from mien.video.io.sources import DecodedFrame

AHEAD = 6
"""Frames of a file that wait decoded."""


class FrameQueue:
    """Reads frames in a thread; a context manager, and an iterator of them in order.

    Args:
        frames: a reader; what it raises is raised here.
        newest: keep the newest frame alone and count those that it replaces in `dropped`, as a live source needs;
            otherwise nothing is dropped, and the reader waits while `AHEAD` frames wait.
    """

    def __init__(self, frames: Iterable[DecodedFrame], *, newest: bool) -> None:
        self._frames, self._newest = frames, newest
        self._waiting: deque[DecodedFrame] = deque()
        self._changed = threading.Condition()
        self._is_over, self._is_closed = False, False
        self._error: BaseException | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._fill, name="mien-frames", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout=5)  # a camera may block for as long as its timeout

    def __iter__(self) -> Iterator[DecodedFrame]:
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> DecodedFrame | None:
        with self._changed:
            while not self._waiting and not self._is_over:
                self._changed.wait(timeout=0.5)  # so that Ctrl-C is heard
            if self._waiting:
                frame = self._waiting.popleft()
                self._changed.notify_all()
                return frame
        if self._error is not None:
            raise self._error
        return None

    def _fill(self) -> None:
        try:
            for frame in self._frames:
                if not self._put(frame):
                    return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _put(self, frame: DecodedFrame) -> bool:
        """Whether the reading goes on."""
        with self._changed:
            if self._newest:
                self.dropped += len(self._waiting)
                self._waiting.clear()
            while len(self._waiting) >= AHEAD and not self._is_closed:
                self._changed.wait()
            if not self._is_closed:
                self._waiting.append(frame)
                self._changed.notify_all()
            return not self._is_closed
