"""Training log: JSON Lines, and optional TensorBoard events."""

import json
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import MissingExtraError


class RunLog:
    """Writer of `log.jsonl`.

    Args:
        directory: folder of the run.
        step: step that the run resumes from; records of later steps are removed, and at 0 all records.
        tensorboard: also write TensorBoard events.
    """

    def __init__(self, directory: Path, *, step: int, tensorboard: bool = False) -> None:
        self.path = directory / "log.jsonl"
        if self.path.is_file():
            # damaged bytes make the line invalid, and invalid lines are removed
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            write_atomic(self.path, "".join(f"{line}\n" for line in lines if step and _is_until(line, step)))
        self._board = _open_board(directory / "tensorboard", step) if tensorboard else None
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, event: str, step: int, **values: Any) -> None:
        """Append one record and flush it."""
        self._file.write(json.dumps({"event": event, "step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if self._board and isinstance(value, int | float):
                self._board.add_scalar(f"{event}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board:
            self._board.close()


class NullLog:
    """Log of the processes that write none."""

    def write(self, event: str, step: int, **values: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _is_until(line: str, step: int) -> bool:
    """Return whether a line is a complete record of at most this step."""
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False


def _open_board(directory: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("TensorBoard logging", "tensorboard") from None
    return SummaryWriter(str(directory), purge_step=step or None)
