"""Exit codes of the commands; for those of stop signals see `mien.cli.signals.stop_code`."""

from __future__ import annotations

SOME_FAILED = 1
"""Some inputs could not be read."""
ALL_FAILED = 2
"""No input could be read."""
USAGE_ERROR = 2
"""Wrong usage, or nothing could be done."""
PIPE_CLOSED = 141
"""The reader of standard output is gone."""


def exit_code(failures: int, total: int) -> int:
    """Return the exit code of a run: 0 if all of `total` inputs could be read, 2 if none could, otherwise 1."""
    if failures == 0:
        return 0
    return ALL_FAILED if failures == total else SOME_FAILED
