"""Runs a command of `mien` in this process, as a shell would."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mien.cli.main import main


class Shell:
    """Runs a command with one model on one thread; stores code, out and err of the last run.

    Args:
        command: predict, video, ...
        model: default model file.
        capsys: pytest's fixture.
        options: added to every run.
    """

    def __init__(self, command: str, model: Path, capsys: pytest.CaptureFixture[str], *options: str) -> None:
        self.options = options
        self.command = command
        self.model = model
        self.capsys = capsys

    def __call__(self, *arguments: object, model: Path | None = None) -> int:
        """Run the command and return its exit code."""
        options = ("--model", str(model or self.model), "--threads", "1", *self.options)
        self.code = main([self.command, *map(str, arguments), *options])
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.err
        return self.code

    @property
    def records(self) -> list[dict[str, Any]]:
        """Records printed as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
