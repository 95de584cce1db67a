"""Delayed interruption: stop signals take effect between two training steps."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from mien.stop_signals import STOP_SIGNALS


class DelayedInterruption:
    """Context in which the first stop signal is only noted; a second one takes effect at once.

    Ignored signals stay ignored, and outside the main thread signals keep their handlers.

    Args:
        on_signal: called when the first signal arrives.

    Attributes:
        signal: number of the signal that has arrived; 0 if none.
    """

    def __init__(self, on_signal: Callable[[], None] | None = None) -> None:
        self.signal = 0
        self._on_signal = on_signal
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "DelayedInterruption":
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._handlers = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def deliver(self) -> None:
        """Let the noted signal take effect, with the handlers of before.

        Raises:
            KeyboardInterrupt: unless a handler has ended the process or raised something else.
        """
        self._restore()
        signal.raise_signal(self.signal)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()
        if self._on_signal:
            self._on_signal()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._handlers = {}
