"""Folders of several videos in one output folder, and the journal of a run over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mien.addresses import public_name
from mien.cli.video_sources import name_folders, number_names

JOURNAL = "run.jsonl"
"""Name of the journal in the output folder."""


class VideoFolders(AbstractContextManager["VideoFolders"]):
    """Folder and status of each video of a run, kept in a journal: a resumed run continues each video in its folder.

    The videos of a resumed run may be in another order and others may be added: their folders have new names. The
    journal stays when the run is complete, for videos that are added or repaired later.

    Args:
        output: folder of the run.
        sources: the videos.
        settings: see `mien.resume.Journal`.
        resume: continue an earlier run.

    Raises:
        InputError: see `mien.resume.Journal`.
    """

    def __init__(self, output: Path, sources: Sequence[str], settings: Mapping[str, Any], *, resume: bool) -> None:
        from mien.resume import Journal

        self._items = number_names(map(public_name, sources))
        self._output = output
        self._journal = Journal(output / JOURNAL, "mien video", settings, resume=resume)
        known = {item: self._journal[item]["folder"] for item in self._journal}
        self._folders = name_folders(sources, self._items, known)

    def is_done(self, item: str, source: str) -> bool:
        """Return True for a video that is unchanged since it was analyzed, and still has its table."""
        from mien.video.io.fingerprint import identify
        from mien.video.run_state import TABLE

        if item not in self._journal:
            return False
        entry = self._journal[item]
        has_table = (self._output / self._folders[item] / TABLE).is_file()
        return entry["is_done"] and has_table and entry["file"] == identify(source)

    def begin(self, item: str, source: str) -> Path:
        """Add a video to the journal and return its folder."""
        from mien.video.io.fingerprint import identify

        self._journal.add(item, {"folder": self._folders[item], "file": identify(source), "is_done": False})
        return self._output / self._folders[item]

    def finish(self, item: str) -> None:
        """Mark a video as analyzed."""
        self._journal.add(item, {**self._journal[item], "is_done": True})

    def __exit__(self, *error: object) -> None:
        self._journal.close()
