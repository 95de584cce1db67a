"""Time as text and as ticks on an axis."""

from __future__ import annotations

from dataclasses import dataclass

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_MAX_TICKS = 8


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time that a plot shows from its left to its right side."""

    start_s: float
    end_s: float

    def percent(self, time_s: float) -> float:
        """How far to the right a time stands, 0 .. 100.

        Example:
            >>> Span(start_s=10, end_s=20).percent(12.5)
            25.0
        """
        return 100 * (time_s - self.start_s) / max(self.end_s - self.start_s, 1e-9)


def clock_text(time_s: float, span_s: float, *, decimals: int = 0) -> str:
    """A time of a video that lasts `span_s`: seconds below a minute, m:ss below an hour, h:mm:ss from there.

    Example:
        >>> clock_text(4.25, 12, decimals=1), clock_text(64.25, 80), clock_text(64, 7200)
        ('4.2 s', '1:04', '0:01:04')
    """
    unit = 10**decimals
    ticks = round(time_s * unit)
    seconds, part = divmod(ticks, unit)
    rest = f".{part:0{decimals}d}" if decimals else ""
    if span_s < 60:
        return f"{seconds}{rest} s"
    minutes, seconds = divmod(seconds, 60)
    if span_s < 3600:
        return f"{minutes}:{seconds:02d}{rest}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}{rest}"


def duration_text(seconds: float) -> str:
    """How long something lasted, in words.

    Example:
        >>> duration_text(0.04), duration_text(0.52), duration_text(75), duration_text(5400)
        ('0.04 s', '0.5 s', '1 min 15 s', '1 h 30 min')
    """
    if seconds < 0.1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def time_ticks(span: Span, end_s: float) -> list[tuple[float, str]]:
    """Round times within a span: each as percent of the span and text; `end_s` is how long the whole video is.

    Example:
        >>> time_ticks(Span(start_s=0, end_s=4), 4)[1:3]
        [(12.5, '0.5 s'), (25.0, '1.0 s')]
    """
    length = span.end_s - span.start_s
    step = next((step for step in _STEPS_S if length / step <= _MAX_TICKS), _STEPS_S[-1])
    while length / step > _MAX_TICKS:
        step *= 2
    first = int(-(-(span.start_s - 1e-6) // step))
    last = int((span.end_s + 1e-6) // step)
    decimals = 0 if step >= 1 else 1
    return [
        (span.percent(number * step), clock_text(number * step, end_s, decimals=decimals))
        for number in range(first, last + 1)
    ]
