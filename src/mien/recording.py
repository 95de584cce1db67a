"""A video analyzed into a folder: table, annotated copy and report, safe from a kill at any moment."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mien._version import __version__
from mien.atomic import write_atomic
from mien.drawing.tracks import draw_tracks
from mien.errors import InputError
from mien.manifest import Manifest
from mien.reports.video import write_report
from mien.results import VideoFrame
from mien.table_files import check_table_format
from mien.video.analysis import VideoAnalysis
from mien.video.io.reader import frames_at
from mien.video.io.segments import TIME_BASE, all_parts
from mien.video.io.writer import VideoWriter
from mien.video.table import RowFile, frame_rows, read_rows, write_table
from mien.video.timeline import Timeline, summarize_rows

TABLES = ("csv", "jsonl", "parquet")
SETTLE_S = 10.0
"""What a kill can cost: seconds of work since all was last brought to the disk."""
_DRAWN_AHEAD = 4
_STATE, _ROWS = "run.json", "rows.jsonl"
_VIDEO, _REPORT = "annotated.mp4", "report.html"

OnFrame = Callable[[VideoFrame, "Counts"], None]


@dataclass(kw_only=True)
class Counts:
    """How far a run is.

    Attributes:
        frames: that were analyzed.
        faces: rows of the table.
        end_s: time of the last frame.
        broken: frames that were left out because they are broken.
        dropped: frames of a live source that newer ones replaced.
        work_s: seconds spent.
    """

    frames: int = 0
    faces: int = 0
    end_s: float = 0.0
    broken: int = 0
    dropped: int = 0
    work_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run left.

    Attributes:
        counts: of its frames and faces.
        timeline: the faces over time.
        files: what was written.
        was_stopped: by Ctrl-C, before the video's end.
        is_truncated: the video broke off before its promised end.
    """

    counts: Counts
    timeline: Timeline
    files: tuple[Path, ...]
    was_stopped: bool
    is_truncated: bool


def record(
    analysis: VideoAnalysis,
    manifest: Manifest,
    folder: Path,
    *,
    table: str = "csv",
    annotate: bool = True,
    report: bool = True,
    resume: bool = False,
    on_frame: OnFrame | None = None,
) -> Recording:
    """Analyze a video into a folder: `faces.csv`, `annotated.mp4` and `report.html`.

    Rows gather in `rows.jsonl`, and every few seconds `run.json` says how far all is. After a kill a call with
    `resume` goes on from there; the table is then the one of a straight run. Ctrl-C finishes the files.

    Args:
        analysis: opened, not yet begun.
        manifest: of the expression model.
        folder: made when missing.
        table: one of `TABLES`.
        annotate: write the annotated copy.
        report: write the report.
        resume: go on with what a killed run left in the folder, if it left anything.
        on_frame: told of every frame.

    Raises:
        InputError: when the folder holds another run, or something cannot be written.
        ModelError: when a network fails.
        MissingExtraError: for Parquet without pyarrow.
    """
    if table not in TABLES:
        raise InputError(f"table is {table!r}; expected one of {', '.join(TABLES)}.")
    check_table_format(f".{table}")
    if annotate and (file := analysis.file) and file.resolve() == (folder / _VIDEO).resolve():
        raise InputError(f"{file} would be written over: give another --output.")
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(analysis, manifest, annotate)
    with ExitStack() as stack:
        run = stack.enter_context(_Run(analysis, manifest, folder, settings, annotate, resume))
        was_stopped = run.go(on_frame)
        files = run.finish(table)
    timeline = summarize_rows(read_rows(folder / _ROWS), manifest.labels)
    if report:
        facts = _facts(analysis, manifest, run.counts, was_stopped)
        files.append(_write_report(run, folder, timeline, facts, is_copied=folder / _VIDEO in files))
    (folder / _STATE).unlink(missing_ok=True)  # first: what it tells of must be there
    (folder / _ROWS).unlink()
    return Recording(
        counts=run.counts,
        timeline=timeline,
        files=tuple(files),
        was_stopped=was_stopped,
        is_truncated=analysis.reader.is_truncated,
    )


def _settings(analysis: VideoAnalysis, manifest: Manifest, annotate: bool) -> dict[str, Any]:
    """What has to be the same for a run to be gone on with."""
    follower, analyzer = analysis.follower, analysis.follower.analyzer
    return {
        "version": __version__,
        "source": str(analysis.source),
        "bytes": analysis.file.stat().st_size if analysis.file else None,
        "fps": analysis.fps,
        "size_hw": list(analysis.info.size_hw),
        "model": manifest.sha256,
        "detector_size": analyzer.detector_size,
        **asdict(analyzer.options),
        "detect_every": follower.detect_every,
        "smoothing_s": follower.smoother.time_constant_s,
        "abstain_below": follower.smoother.abstain_below,
        "annotate": annotate,
    }


class _Run:
    """The files of a run while it goes on."""

    def __init__(
        self,
        analysis: VideoAnalysis,
        manifest: Manifest,
        folder: Path,
        settings: dict[str, Any],
        annotate: bool,
        resume: bool,
    ) -> None:
        self.analysis, self._folder, self._settings = analysis, folder, settings
        self._labels = manifest.labels
        self.counts, self._broken_before = Counts(), 0
        length, resume_at_s = 0, None
        if state := self._old_state(resume):
            length, resume_at_s = state["length"], self._go_on(state)
        video = folder / _VIDEO
        if annotate and resume_at_s is None:
            video.unlink(missing_ok=True)  # so that a video that is there is this run's
        is_joined = annotate and video.is_file()  # the kill came after the parts were joined
        self._has_video = is_joined
        for part in all_parts(video) if is_joined else ():
            part.unlink()
        with ExitStack() as stack:
            self._rows = stack.enter_context(RowFile(folder / _ROWS, manifest.labels, length=length))
            is_wanted = annotate and not is_joined
            self._video = _AnnotatedVideo(video, analysis, resume_at_s) if is_wanted else None
            stack.pop_all()
        self._settled_s = self._started_s = time.monotonic()
        self._worked_s = self.counts.work_s

    def _old_state(self, resume: bool) -> dict[str, Any] | None:
        path = self._folder / _STATE
        if not path.is_file():
            return None
        if not resume:
            raise InputError(
                f"{self._folder} holds an unfinished run: go on with it by --resume, or give another --output."
            )
        try:
            state = json.loads(path.read_bytes())
            is_whole = (self._folder / _ROWS).stat().st_size >= state["length"]
        except (ValueError, LookupError, TypeError, FileNotFoundError):
            is_whole, state = False, {}
        if not is_whole:
            raise InputError(f"{path} is damaged. Remove it to start anew.")
        if state["settings"] != self._settings:
            raise InputError(
                f"{self._folder} holds an unfinished run of another video, model or option. Give the same ones, or "
                "another --output."
            )
        return state

    def _go_on(self, state: dict[str, Any]) -> float:
        """Stand behind the last frame that is on the disk; returns the time from which frames are to be written."""
        self.counts = Counts(**state["counts"])
        self._broken_before = state["index"] + 1 - self.counts.frames
        self.analysis.follower.restore(state["follower"])
        self.analysis.reader.skip_to(state["index"], state["timestamp_s"])
        return float((round(state["timestamp_s"] / TIME_BASE) + Fraction(3, 4)) * TIME_BASE)

    def go(self, on_frame: OnFrame | None) -> bool:
        """Analyze to the end; returns whether Ctrl-C ended it."""
        try:
            for frame in self.analysis:
                self._add(frame)
                if on_frame is not None:
                    on_frame(frame, self.counts)
        except KeyboardInterrupt:
            return True
        finally:
            self._count_missing()
        return False

    def _count_missing(self) -> None:
        self.counts.broken = self._broken_before + self.analysis.broken
        self.counts.dropped = self.analysis.dropped

    def _add(self, frame: VideoFrame) -> None:
        rows = frame_rows(frame)
        self._rows.add(rows)
        if self._video is not None:
            self._video.add(frame)
        counts = self.counts
        counts.frames += 1
        counts.faces += len(rows)
        counts.end_s = frame.timestamp_s
        self._count_missing()
        counts.work_s = self._worked_s + time.monotonic() - self._started_s
        if time.monotonic() - self._settled_s > SETTLE_S:
            self._settle(frame)

    def _settle(self, frame: VideoFrame) -> None:
        """Bring everything up to this frame to the disk, then say so."""
        if self.analysis.info.is_live:
            return
        if self._video is not None:
            self._video.settle()
        state = {
            "settings": self._settings,
            "index": frame.index,
            "timestamp_s": frame.timestamp_s,
            "length": self._rows.settle(),
            "counts": asdict(self.counts),
            "follower": self.analysis.follower.state(),
        }
        write_atomic(self._folder / _STATE, json.dumps(state))
        self._settled_s = time.monotonic()

    def finish(self, table: str) -> list[Path]:
        """Close the files; returns those that are whole now."""
        self._rows.close()
        files = [self._folder / f"faces.{table}"]
        write_table(self._folder / _ROWS, files[0], self._labels)
        if self._video is not None and self.counts.frames:
            self._video.close()
            self._has_video = True
        if self._has_video:
            files.append(self._folder / _VIDEO)
        return files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()
        if self._video is not None:
            self._video.stop()


class _AnnotatedVideo:
    """Draws and encodes in a thread of its own."""

    def __init__(self, path: Path, analysis: VideoAnalysis, resume_at_s: float | None) -> None:
        self._writer = VideoWriter(
            path,
            size_hw=analysis.info.size_hw,
            audio_from=analysis.file if analysis.info.has_audio else None,
            resume_at_s=resume_at_s,
        )
        self._last_tick = -1 if resume_at_s is None else round(resume_at_s / TIME_BASE) - 1
        self._waiting: queue.Queue[VideoFrame | None] = queue.Queue(_DRAWN_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._draw, name="mien-draw", daemon=True)
        self._thread.start()

    def add(self, frame: VideoFrame) -> None:
        """Draw a frame soon; waits while too many wait."""
        self._check()
        self._waiting.put(frame)

    def settle(self) -> None:
        """Bring all frames so far to the disk."""
        self._waiting.join()
        self._check()
        self._writer.mark()

    def close(self) -> None:
        """Draw what waits and join the video with its sound."""
        self._end()
        self._check()
        self._writer.close()

    def stop(self) -> None:
        """Leave what was written, to go on later; nothing happens after `close`."""
        self._end()
        self._writer.stop()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _draw(self) -> None:
        while (frame := self._waiting.get()) is not None:
            try:
                tick = round(frame.timestamp_s / TIME_BASE)
                if self._error is None and tick > self._last_tick:  # of two within a tick the first is shown
                    self._last_tick = tick
                    self._writer.add(draw_tracks(frame.image, frame.faces), frame.timestamp_s)
            except BaseException as error:
                self._error = error
            finally:
                self._waiting.task_done()


def _write_report(
    run: _Run, folder: Path, timeline: Timeline, facts: dict[str, str], *, is_copied: bool
) -> Path:
    path, analysis = folder / _REPORT, run.analysis
    info = analysis.info
    source = folder / _VIDEO if info.is_live else analysis.source

    def images(moments_s: Sequence[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        return frames_at(str(source), moments_s, fps=analysis.fps)

    write_report(
        path,
        timeline,
        title=Path(info.source).name or info.source,
        facts=facts,
        images=images if is_copied or not info.is_live else None,
        duration_s=run.counts.end_s,
    )
    return path


def _facts(analysis: VideoAnalysis, manifest: Manifest, counts: Counts, was_stopped: bool) -> dict[str, str]:
    follower = analysis.follower
    pace = "as often as it keeps up" if analysis.info.is_live else f"in one frame of {follower.detect_every}"
    facts = {
        "Length": _clock(counts.end_s),
        "Frames": f"{counts.frames:,}",
        "Speed": f"{counts.frames / counts.work_s:.0f} frames/s" if counts.work_s > 0 else "",
        "Model": f"{manifest.name} {manifest.version}",
        "Read": pace,
        "Label delay": f"about {follower.smoother.delay_ms:.0f} ms",
    }
    if counts.broken:
        facts["Broken frames"] = f"{counts.broken:,} left out"
    if counts.dropped:
        facts["Dropped frames"] = f"{counts.dropped:,}"
    if was_stopped or analysis.reader.is_truncated:
        facts["Ended early"] = "stopped by Ctrl-C" if was_stopped else "the video breaks off"
    return {name: value for name, value in facts.items() if value}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
