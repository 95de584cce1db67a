"""A verb of `mien`, run in this process as a shell would run it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mien.cli.main import main


class Shell:
    """Runs a verb with one model on one thread; keeps code, out and err of the last run.

    Args:
        verb: predict, video, ...
        model: the model's file, unless a run names another.
        capsys: pytest's.
    """

    def __init__(self, verb: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.verb, self.model, self.capsys = verb, model, capsys

    def __call__(self, *words: object, model: Path | None = None) -> int:
        """Run it; gives the exit code."""
        options = ("--model", str(model or self.model), "--threads", "1")
        self.code = main([self.verb, *map(str, words), *options])
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.err
        return self.code

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was printed, as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
