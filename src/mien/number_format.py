"""Number formats shared by the command line, plots and pages."""

from __future__ import annotations

from collections.abc import Sequence

UNDEFINED = "–"
"""Shown for a value that is not defined."""


def count(number: int, noun: str) -> str:
    """Format a number with its noun.

    Example:
        >>> count(1, "face"), count(1200, "face"), count(0, "image")
        ('1 face', '1,200 faces', '0 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float | None, decimals: int = 1) -> str:
    """Format a share as a percentage.

    Example:
        >>> percent(0.8912), percent(0.8912, 0), percent(None)
        ('89.1%', '89%', '–')
    """
    return UNDEFINED if value is None else f"{value:.{decimals}%}"


def whole_percent(value: float) -> str:
    """Format a share as a percentage without decimals; only exact values give 0% and 100%.

    Example:
        >>> whole_percent(0.423), whole_percent(0.004), whole_percent(0.999), whole_percent(1)
        ('42%', '<1%', '>99%', '100%')
    """
    if 0 < value < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= value < 1 else f"{value:.0%}"


def decimal(value: float | None, decimals: int = 3) -> str:
    """Format a number with a fixed number of decimals.

    Example:
        >>> decimal(0.0213), decimal(1.4, 2), decimal(None)
        ('0.021', '1.40', '–')
    """
    return UNDEFINED if value is None else f"{value:.{decimals}f}"


def interval(bounds: Sequence[float | None]) -> str:
    """Format the lower and upper bound of a share as a percentage.

    Example:
        >>> interval((0.8812, 0.9001)), interval((None, None))
        ('88.1–90.0%', '–')
    """
    low, high = bounds
    return UNDEFINED if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}%"


def points(value: float | None) -> str:
    """Format the distance between two shares in percentage points.

    Example:
        >>> points(0.0123), points(None)
        ('1.2 points', '–')
    """
    return UNDEFINED if value is None else f"{100 * value:.1f} points"


def signed_points(value: float | None) -> str:
    """Format a difference of two shares in percentage points, with its sign and without a unit.

    Example:
        >>> signed_points(0.0123), signed_points(-0.05), signed_points(None)
        ('+1.2', '-5.0', '–')
    """
    return UNDEFINED if value is None else f"{100 * value:+.1f}"


def p_value(value: float) -> str:
    """Format a p-value.

    Example:
        >>> p_value(0.0214), p_value(1e-9)
        ('p = 0.021', 'p < 0.001')
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def duration(seconds: float) -> str:
    """Format a duration in its largest units.

    Example:
        >>> duration(0.04), duration(0.52), duration(75), duration(5400)
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


def clock(time_s: float, length_s: float, *, decimals: int = 0) -> str:
    """Format a time of a video: seconds in videos below a minute, m:ss below an hour, otherwise h:mm:ss.

    Args:
        time_s: time in seconds.
        length_s: length of the video in seconds; it selects the format.
        decimals: decimals of the seconds.

    Example:
        >>> clock(4.25, 12, decimals=1), clock(64.25, 80), clock(64, 7200)
        ('4.2 s', '1:04', '0:01:04')
    """
    unit = 10**decimals
    seconds, part = divmod(round(time_s * unit), unit)
    fraction = f".{part:0{decimals}d}" if decimals else ""
    if length_s < 60:
        return f"{seconds}{fraction} s"
    minutes, seconds = divmod(seconds, 60)
    if length_s < 3600:
        return f"{minutes}:{seconds:02d}{fraction}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}{fraction}"
