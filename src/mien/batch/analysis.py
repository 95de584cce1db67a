"""Analysis of one shard into a Parquet file in memory: the work of a worker."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mien.batch.reading import read_images
from mien.batch.shards import Shard
from mien.batch.storage import is_url, open_storage
from mien.errors import InputError, MienError, MienWarning, VideoReadError, reason
from mien.inference.analyzer import Analyzer
from mien.inference.result import Result
from mien.schema import flatten_result, table_columns, valid_text
from mien.table_files import FORMATS
from mien.video.analysis import VideoAnalysis
from mien.video.table import RowSchema, frame_rows


@dataclass(frozen=True, kw_only=True)
class ShardOutput:
    """Output of one shard.

    Attributes:
        table: Parquet file: of images as `mien predict --table` writes it, of a video as `mien video --table`, with the
            column `video` before the others.
        items: number of images or videos.
        faces: number of faces; those of a video are tracked faces.
        failures: item, error and message of each input that could not be read; `is_partial` is true if some of it was.
    """

    table: bytes
    items: int
    faces: int
    failures: tuple[dict[str, Any], ...]


class ShardAnalyzer:
    """Analyzes shards in a worker, which opens the networks once, at its first shard.

    Args:
        open_analyzer: picklable.
        workers: number of images that are analyzed at a time, see `Analyzer.analyze_many`.
    """

    def __init__(self, open_analyzer: Callable[[], Analyzer], workers: int = 1) -> None:
        self._open_analyzer = open_analyzer
        self._workers = workers

    @cached_property
    def _analyzer(self) -> Analyzer:
        return self._open_analyzer()

    def analyze(self, shard: Shard) -> ShardOutput:
        """Analyze the inputs of a shard.

        Raises:
            ModelError: a network fails.
            MissingExtraError: a package is not installed.
        """
        return self._analyze_video(shard) if shard.kind == "video" else self._analyze_images(shard)

    def _analyze_images(self, shard: Shard) -> ShardOutput:
        table = _Table(table_columns(self._analyzer.manifest.labels, self._analyzer.action_unit_names))
        archive = shard.address(shard.paths[0]) if shard.kind == "archive" else None
        items = faces = 0
        failures = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MienWarning)
            for result in self._results(shard):
                table.write(flatten_result(result.to_record()))
                if result.error:
                    # a damaged tar file has an error of its own after those of its members
                    is_partial = result.source == archive and items > len(failures)
                    failures.append(_failure(result.source, result.error, is_partial=is_partial))
                items += 1
                faces += len(result.faces)
        return ShardOutput(table=table.close(), items=items, faces=faces, failures=tuple(failures))

    def _results(self, shard: Shard) -> Iterator[Result]:
        pending: deque[tuple[str, MienError | None]] = deque()

        def contents() -> Iterator[bytes]:
            for name, content in read_images(shard):
                is_read = isinstance(content, bytes)
                pending.append((name, None if is_read else content))
                yield content if is_read else b""

        for result in self._analyzer.analyze_many(contents(), workers=self._workers):
            name, error = pending.popleft()
            if error is None and result.error is not None:
                error = type(result.error)(str(result.error).replace("the image", name, 1))
            yield replace(result, source=name, error=error)

    def _analyze_video(self, shard: Shard) -> ShardOutput:
        (path,) = shard.paths
        name = shard.address(path)
        table = _Table({"video": str, **RowSchema.of(self._analyzer).columns})
        tracks = set()
        failures = []
        is_partial = False
        try:
            with (
                _open_video(shard.source, path) as source,
                VideoAnalysis(source, self._analyzer, keep_images=False) as analysis,
            ):
                for frame in analysis:
                    rows = [{"video": name, **row} for row in frame_rows(frame)]
                    table.write(rows)
                    tracks |= {(row["scene"], row["track_id"]) for row in rows}
                    is_partial = True
                if problem := _missing_frames(analysis):
                    error = VideoReadError(f"{name} {problem}; its other frames are in the table.")
                    failures.append(_failure(name, error, is_partial=is_partial))
        except (InputError, OSError) as error:
            failures.append(_failure(name, error, is_partial=is_partial))
        return ShardOutput(table=table.close(), items=1, faces=len(tracks), failures=tuple(failures))


class _Table:
    """Parquet file in memory."""

    def __init__(self, columns: dict[str, type]) -> None:
        self._buffer = io.BytesIO()
        self._writer = FORMATS[".parquet"](self._buffer, columns)

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write(rows)

    def close(self) -> bytes:
        self._writer.close()
        return self._buffer.getvalue()


def _open_video(source: str, path: str) -> AbstractContextManager[Any]:
    """Open a video of an object store; a local one is opened by its path."""
    return open_storage(source)[0].open_input_file(os.fsencode(path)) if is_url(source) else nullcontext(path)


def _missing_frames(analysis: VideoAnalysis) -> str:
    """Describe the frames that a complete pass could not read; empty if there are none."""
    problems = ["is truncated"] if analysis.reader.is_truncated else []
    if broken := analysis.reader.broken:
        problems.append(f"has {broken} broken frame{'s' if broken > 1 else ''}")
    return " and ".join(problems)


def _failure(item: str, error: Exception, *, is_partial: bool = False) -> dict[str, Any]:
    code, message = "io", f"{item} cannot be read: {reason(error)}."
    if isinstance(error, MienError):
        # a video of an object store has no name of its own
        code, message = error.code, re.sub(r"^the video\b", lambda _: item, str(error))
    return {"item": item, "error": code, "message": " ".join(valid_text(message).split()), "is_partial": is_partial}
