"""Resuming of interrupted runs: comparison of their settings, and a journal of finished items."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mien.errors import InputError, MienError, write_error
from mien.table_files import json_line


def check_settings(place: Path, before: object, now: Mapping[str, Any], hint: str) -> None:
    """Raise `InputError` with the names of the settings that differ from those of the earlier run.

    Args:
        place: file or folder of the earlier run.
        before: its settings, as they were read from the disk.
        now: JSON values.
        hint: how to start over.
    """
    known = before if isinstance(before, Mapping) else {}
    names = [name for name in {**now, **known} if known.get(name) != now.get(name)]
    if names:
        raise InputError(
            f"{place} belongs to a run with other settings ({', '.join(names)}); give the same as before, or {hint}."
        )


def read_lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield start, end and value of each line of a JSON Lines file, without an incomplete last line."""
    start = 0
    with path.open("rb") as file:
        for line in file:
            end = start + len(line)
            if line.endswith(b"\n"):
                yield start, end, json.loads(line)
            start = end


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, where the system has such locks.

    Raises:
        InputError: another run has locked it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # no permission to list it, or a system without such locks
        descriptor = None
    try:
        if descriptor is not None:
            _lock(descriptor, folder)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(file: BinaryIO | int, path: Path) -> None:
    """Lock a file or a folder for this process until it is closed, where the system has such locks.

    Raises:
        InputError: another process has locked it.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path} is in use by another run; wait for it, or write to another place.") from None
    except OSError:  # a network file system without locks
        return


class Journal(AbstractContextManager["Journal"]):
    """JSON Lines file of a run over many items: its settings, then one line for each finished item.

    Lines are written at once, so that a killed run can be resumed.

    Args:
        path: created, or continued with `resume` if it exists.
        command: name of the command that writes it; the journal of another command is not replaced.
        settings: JSON values that have to be equal for the run to be resumed.
        resume: continue an existing journal; by default it is replaced.
        hint: how to start over, for the message when it cannot be continued.

    Raises:
        InputError: the settings differ, another run uses the file, or it is damaged, of another command, not a journal
            or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        command: str,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        hint: str = "remove it to start over",
    ) -> None:
        settings = {"command": command, **settings}
        self.path = path
        self._hint = hint
        self._positions: dict[str, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b")
            _lock(self._file, path)
            self._check_owner(command)
            length = self._read(settings) if resume else 0
            self._file.truncate(length)
            self._file.seek(length)
            if not length:
                self._append(settings)
        except OSError as error:
            raise write_error(path, error) from None
        except MienError:
            self._file.close()
            raise

    def _check_owner(self, command: str) -> None:
        """Raise `InputError` unless the file is empty or starts with settings of the same command."""
        self._file.seek(0)
        line = self._file.readline()
        try:
            before = json.loads(line) if line else {"command": command}
        except (ValueError, RecursionError):
            before = None
        if not isinstance(before, Mapping) or before.get("command") != command:
            raise InputError(
                f"{self.path} is damaged or not a journal of {command}; move it away, or write to another place."
            )

    def _read(self, settings: Mapping[str, Any]) -> int:
        """Read the positions of the items and return the length of the complete lines."""
        length = 0
        before = None
        try:
            for start, end, entry in read_lines(self.path):
                if start == 0:
                    before = entry
                else:
                    self._positions[entry["item"]] = start
                length = end
        except (ValueError, LookupError, TypeError, RecursionError):
            raise InputError(f"{self.path} is damaged; {self._hint}.") from None
        if before is not None:
            check_settings(self.path, before, settings, self._hint)
        return length

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __contains__(self, item: object) -> bool:
        return item in self._positions

    def __getitem__(self, item: str) -> dict[str, Any]:
        end = self._file.tell()
        self._file.seek(self._positions[item])
        entry = json.loads(self._file.readline())
        self._file.seek(end)
        return entry

    def add(self, item: str, entry: Mapping[str, Any]) -> None:
        """Append a finished item; of two entries of an item the later one counts.

        Raises:
            InputError: the file cannot be written, for example because the disk is full.
        """
        self._positions[item] = self._append({"item": item, **entry})

    def _append(self, line: Mapping[str, Any]) -> int:
        try:
            position = self._file.tell()
            self._file.write(json_line(line))
            self._file.flush()
        except OSError as error:
            raise write_error(self.path, error) from None
        return position

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file: the run is complete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __exit__(self, *error: object) -> None:
        self.close()
