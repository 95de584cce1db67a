"""Frame queue: a thread that decodes ahead of the analysis, or keeps the newest frame of a live source."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from mien.video.io.sources import DecodedFrame

PREFETCH = 6
"""Maximum number of decoded frames of a file that wait for the analysis."""
MAX_WAITING_PIXELS = 12_000_000
"""Maximum number of pixels of the frames that wait, unless it is one frame: 36 MB."""

CLOSE_TIMEOUT_S = 5.0
"""Maximum time to wait for a read in progress; a camera may block for its own timeout."""


class FrameQueue:
    """Context manager that decodes frames in a thread, and an iterator over them in order.

    Args:
        frames: a reader; its exceptions are raised by the iterator.
        newest: keep only the newest frame, for a live source; otherwise the reader pauses while `PREFETCH` frames, or
            `MAX_WAITING_PIXELS` of a large video, wait.
        on_wait: called every half second while no frame arrives; its exceptions are raised by the iterator.

    Attributes:
        dropped: number of frames of a live source that were replaced by newer ones.
        broken: number of broken frames of the reader before the last frame taken; the reader is ahead of it.
    """

    def __init__(
        self, frames: Iterable[DecodedFrame], *, newest: bool, on_wait: Callable[[], None] | None = None
    ) -> None:
        self.dropped = 0
        self.broken = 0
        self._source = frames
        self._newest = newest
        self._on_wait = on_wait
        self._frames: deque[tuple[DecodedFrame, int]] = deque()
        self._changed = threading.Condition()
        self._is_finished = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fill, name="mien-frames", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._is_closed = True
            self._frames.clear()
            self._changed.notify_all()
        self._thread.join(timeout=CLOSE_TIMEOUT_S)

    @property
    def is_reading(self) -> bool:
        """True while the thread may use the reader; after the block only when a read has not returned in time."""
        return self._thread.is_alive()

    def __iter__(self) -> Iterator[DecodedFrame]:
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> DecodedFrame | None:
        with self._changed:
            while not self._frames and not self._is_finished:
                # The timeout lets Ctrl-C interrupt.
                if not self._changed.wait(timeout=0.5) and self._on_wait is not None:
                    self._on_wait()
            if self._frames:
                frame, self.broken = self._frames.popleft()
                self._changed.notify_all()
                return frame
        if self._error is not None:
            raise self._error
        return None

    def _fill(self) -> None:
        try:
            for frame in self._source:
                if not self._put(frame, getattr(self._source, "broken", 0)):
                    return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._is_finished = True
                self._changed.notify_all()

    def _put(self, frame: DecodedFrame, broken: int) -> bool:
        """Add a frame and the number of broken ones before it; return False when the queue is closed."""
        with self._changed:
            if self._newest:
                self.dropped += len(self._frames)
                self._frames.clear()
            while self._is_full(frame) and not self._is_closed:
                self._changed.wait()
            if not self._is_closed:
                self._frames.append((frame, broken))
                self._changed.notify_all()
            return not self._is_closed

    def _is_full(self, frame: DecodedFrame) -> bool:
        images = [waiting.image for waiting, _ in self._frames] + [frame.image]
        pixels = sum(image.shape[0] * image.shape[1] for image in images)
        return len(self._frames) >= PREFETCH or (bool(self._frames) and pixels > MAX_WAITING_PIXELS)
