"""Tables on the terminal."""

from __future__ import annotations

import io
import sys

import pytest

from mien.cli.console import open_console


class ClosedPipe(io.StringIO):
    """Standard output without a reader."""

    def write(self, text):
        raise BrokenPipeError


def test_a_closed_pipe_raises_broken_pipe_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    with pytest.raises(BrokenPipeError):
        open_console().print("face")
