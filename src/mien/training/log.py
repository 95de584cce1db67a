"""The story of a run: one JSON object a line, and TensorBoard events when asked for."""

import json
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import MissingExtraError


class RunLog:
    """Appends records to `log.jsonl`.

    Args:
        directory: of the run.
        step: where the run goes on; records that will be written again are dropped: those of later steps, at 0 all.
        tensorboard: write TensorBoard events too.
    """

    def __init__(self, directory: Path, *, step: int, tensorboard: bool = False) -> None:
        self.path = directory / "log.jsonl"
        self._keep_until(step if step else -1)
        self._board = _open_board(directory / "tensorboard", step) if tensorboard else None
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, event: str, step: int, **values: Any) -> None:
        """One record; it is on disk when this returns."""
        self._file.write(json.dumps({"event": event, "step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if self._board and isinstance(value, int | float):
                self._board.add_scalar(f"{event}/{name}", value, step)

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        if self._board:
            self._board.close()

    def _keep_until(self, step: int) -> None:
        if not self.path.is_file():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _is_until(line, step)]
        write_atomic(self.path, "".join(f"{line}\n" for line in kept))


class NoLog:
    """The log of a process that writes none."""

    def write(self, event: str, step: int, **values: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _is_until(line: str, step: int) -> bool:
    """Whether a line is a whole record of this step or an earlier one."""
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
