"""Recording of a video analysis into a folder: table, annotated copy and report, resumable after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import InputError
from mien.manifest import Manifest
from mien.number_format import clock
from mien.reports.movement_charts import report_columns
from mien.reports.page import check_installed
from mien.reports.thumbnails import FrameReader, hide_faces
from mien.reports.video import write_report
from mien.results import VideoFrame
from mien.resume import locked_folder
from mien.table_files import check_table_path
from mien.video.analysis import VideoAnalysis
from mien.video.annotation import AnnotatedVideoWriter, annotate_again
from mien.video.baseline import row_reader
from mien.video.hiding import HiddenFaces
from mien.video.io.reader import frames_at
from mien.video.io.segments import TIME_BASE, remove_segments
from mien.video.mouths import MouthMeter
from mien.video.run_result import Counts, Recording
from mien.video.run_state import (
    REPORT,
    ROWS,
    STATE,
    TABLE,
    VIDEO,
    check_table_name,
    load_state,
    mark_stopped,
    recording_settings,
    remove_outputs,
)
from mien.video.schedule import DETECTION_INTERVAL_S
from mien.video.speaking import MOUTH, SoundTrack, join_turns, speaking_rows
from mien.video.table import NOSE, RowFile, RowSchema, add_nose, frame_rows, read_rows, write_table
from mien.video.timeline import Timeline, summarize_rows
from mien.video.track_summary import write_summaries
from mien.video.turns import TURNS, SpeakingTurn, write_turns

CHECKPOINT_S = 10.0
"""Seconds between two checkpoints: the work that a kill can lose."""

OnFrame = Callable[[VideoFrame, Counts], None]


def record(
    analysis: VideoAnalysis,
    manifest: Manifest,
    folder: Path,
    *,
    sound: SoundTrack | None = None,
    table: Path | None = None,
    annotate: bool = True,
    report: bool = True,
    baseline: bool = False,
    resume: bool = False,
    resumable: bool = True,
    on_frame: OnFrame | None = None,
) -> Recording:
    """Analyze a video into a folder: `faces.csv`, its summaries, `annotated.mp4` and `report.html`.

    In the annotated copy and the report the faces of `analysis.blur` are hidden.

    Rows are collected in `rows.jsonl`, and checkpoints are written to `run.json` every few seconds. After a kill, a
    call with `resume` continues from the last checkpoint; the table is the same as without the kill. Ctrl-C completes
    the files and leaves what resuming needs beside them; in the second pass over a video, for an annotated copy with
    speakers or hidden faces, it leaves out the copy.

    The folder is locked during the run. Files of an earlier run in it that this one does not write are removed.

    Args:
        analysis: opened, before its first frame.
        manifest: of the expression model.
        folder: created when missing.
        sound: the speech of the video, for `turns.csv`, and for marks of the speakers in the other files; a file that
            can be read twice. Faces and their table are the same without it.
        table: file of the rows, in the format of its suffix; `faces.csv` in the folder by default.
        annotate: write the annotated copy.
        report: write the report.
        baseline: subtract the neutral baseline of each face from its action units, see `mien.video.baseline`; in tables
            and report, not in the annotated copy.
        resume: continue an unfinished run in the folder, if there is one.
        resumable: write checkpoints; live sources, pipes, and blurred ones that cannot be read twice, have none.
        on_frame: called after every frame; a KeyboardInterrupt that it raises ends the run like Ctrl-C.

    Raises:
        InputError: when the folder holds another run or is in use by one, the table is a file of the run, or a file
            cannot be written.
        ModelError: when a network fails.
        MissingExtraError: for Parquet without pyarrow, or a report without Jinja2.
    """
    table = table or folder / TABLE
    check_table_path(table)
    check_table_name(table, folder)
    if report:
        check_installed()
    if baseline and not analysis.follower.analyzer.action_unit_names:
        raise InputError("baseline needs action_units.")
    if annotate and not analysis.keep_images:
        raise InputError("an annotated copy needs keep_images=True, or pass annotate=False.")
    if annotate and (file := analysis.file) and file.resolve() == (folder / VIDEO).resolve():
        raise InputError(f"{file} would be overwritten; give another --output.")
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        settings = recording_settings(analysis, sound, annotate=annotate, baseline=baseline)
        state = load_state(folder, settings, resume=resume)
        outputs = {TURNS: sound is not None, VIDEO: annotate, REPORT: report}
        keep = [folder / name for name, is_written in outputs.items() if is_written]
        remove_outputs(folder, [table, *keep, *filter(None, [analysis.file])])
        is_resumable = resumable and analysis.is_resumable
        with _Run(analysis, manifest, folder, state, sound, annotate=annotate, is_resumable=is_resumable) as run:
            run.analyze(on_frame)
            return run.finish(table, report=report)


class _Run(AbstractContextManager["_Run"]):
    """An analysis in progress, and its files; see `record` and `mien.video.run_state`."""

    def __init__(
        self,
        analysis: VideoAnalysis,
        manifest: Manifest,
        folder: Path,
        state: dict[str, Any],
        sound: SoundTrack | None,
        *,
        annotate: bool,
        is_resumable: bool,
    ) -> None:
        self._counts = Counts(**state.get("counts", {}))
        self._analysis = analysis
        self._folder = folder
        self._settings = state["settings"]
        self._manifest = manifest
        self._schema = RowSchema.of(analysis.follower.analyzer)
        self._is_resumable = is_resumable
        self._sound = sound
        self._meter = None
        if sound is not None and sound.voice.segments:
            self._meter = MouthMeter(analysis.follower.analyzer.mesh, sound.spans_s)
        # Who speaks is known after a turn, who is hidden at the end: such a copy is drawn in a second pass.
        self._is_second_pass = annotate and bool(self._meter or (analysis.blur and analysis.is_repeatable))
        self._hidden = HiddenFaces(analysis.blur) if analysis.blur and not analysis.is_repeatable else None
        self._was_stopped = False
        self._is_copy_stopped = False
        self._is_copy_truncated = False
        self._broken_before = self._counts.broken
        resume_at_s = self._resume(state) if "index" in state else None
        video = folder / VIDEO
        if annotate and (resume_at_s is None or state.get("was_stopped")):
            video.unlink(missing_ok=True)
        if state.pop("was_stopped", False):
            # A copy is complete again when a later kill leaves one.
            write_atomic(folder / STATE, json.dumps(state))
        # A complete copy: the run was killed after joining its segments.
        self._has_video = annotate and video.is_file()
        if self._has_video:
            remove_segments(video)
        self._video: AnnotatedVideoWriter | None = None
        with ExitStack() as stack:
            extra = (*([MOUTH] if self._meter else []), *(NOSE if self._is_second_pass else []))
            length = state.get("length", 0)
            self._rows = stack.enter_context(RowFile(folder / ROWS, self._schema, extra=extra, length=length))
            if annotate and not self._has_video and not self._is_second_pass:
                self._video = AnnotatedVideoWriter(video, analysis, resume_at_s, hidden=self._hidden)
                stack.callback(self._video.suspend)
            self._files = stack.pop_all()
        self._checkpoint_s = time.monotonic()
        self._started_s = self._checkpoint_s - self._counts.work_s

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def _resume(self, state: dict[str, Any]) -> float:
        """Continue after the last frame of a checkpoint; return the time from which on images are to be written."""
        self._analysis.follower.restore(state["follower"])
        self._analysis.reader.skip_to(state["index"], state["timestamp_s"], seek=state["has_exact_times"])
        self._analysis.reader.restore_errors(state["errors"], self._counts.broken)
        return float((round(state["timestamp_s"] / TIME_BASE) + Fraction(3, 4)) * TIME_BASE)

    def analyze(self, on_frame: OnFrame | None) -> None:
        """Analyze all frames, or those before Ctrl-C."""
        frame = None
        try:
            for frame in self._analysis:
                self._add(frame)
                if on_frame is not None:
                    self._report(frame, on_frame)
            if frame is not None and self._is_second_pass and self._is_resumable:
                self._checkpoint(frame)  # the second pass may be stopped, too
        except KeyboardInterrupt:
            self._was_stopped = True
        finally:
            self._count_missing()

    def _report(self, frame: VideoFrame, on_frame: OnFrame) -> None:
        """Call `on_frame`; when it stops the run, remember where."""
        try:
            on_frame(frame, self._counts)
        except KeyboardInterrupt:
            if self._is_resumable:
                self._checkpoint(frame)
            raise

    def _count_missing(self) -> None:
        self._counts.broken = self._broken_before + self._analysis.broken
        self._counts.dropped = self._analysis.dropped

    def _add(self, frame: VideoFrame) -> None:
        rows = speaking_rows(frame, self._meter) if self._meter else frame_rows(frame)
        if self._is_second_pass:
            add_nose(frame, rows)
        self._rows.add(rows)
        if self._hidden is not None:
            self._hidden.add(frame, self._analysis.follower.schedule)
        if self._video is not None:
            self._video.add(frame)
        now = time.monotonic()
        self._counts.frames += 1
        self._counts.faces += len(rows)
        self._counts.end_s = frame.timestamp_s
        self._counts.work_s = now - self._started_s
        self._count_missing()
        if now - self._checkpoint_s > CHECKPOINT_S and self._is_resumable:
            self._checkpoint(frame)
            self._checkpoint_s = time.monotonic()

    def _checkpoint(self, frame: VideoFrame) -> None:
        """Write everything up to a frame to the disk, then the state to resume from."""
        if self._video is not None:
            self._video.checkpoint()
        state = {
            "settings": self._settings,
            "index": frame.index,
            "timestamp_s": frame.timestamp_s,
            "has_exact_times": self._analysis.reader.has_exact_times,
            "length": self._rows.sync(),
            "counts": asdict(self._counts),
            "errors": self._analysis.reader.errors,
            "follower": self._analysis.follower.state(),
        }
        write_atomic(self._folder / STATE, json.dumps(state))

    def finish(self, table: Path, *, report: bool) -> Recording:
        """Complete the files, and remove those that only resuming needs unless the run was stopped."""
        rows = self._folder / ROWS
        # First: resuming must not take the partial copy for a complete one when a kill leaves the rest undone.
        is_resumable = self._was_stopped and mark_stopped(self._folder)
        files = [table]
        self._rows.close()
        schema = self._schema
        fps = self._analysis.info.fps
        read = row_reader(rows, schema, baseline=self._settings["baseline"])
        write_table(read(), table, schema)
        files += write_summaries(self._folder, read, schema, fps=fps)
        if self._video is not None and self._counts.frames:
            self._video.close(keep_segments=is_resumable)
            self._has_video = True
        turns = self._join_turns(rows, files)
        if self._analysis.blur and self._hidden is None:
            max_gap_s = self._analysis.follower.schedule.max_gap_s
            self._hidden = HiddenFaces.of_rows(read_rows(rows), self._analysis.blur, max_gap_s)
        if self._is_second_pass and not self._has_video and self._counts.frames:
            self._has_video = self._annotate_again(turns)
            is_resumable = is_resumable or (self._is_copy_stopped and mark_stopped(self._folder))
        if self._has_video:
            files.append(self._folder / VIDEO)
        timeline = summarize_rows(read(), schema.labels, report_columns(schema.action_units), fps=fps)
        if report:
            self._write_report(timeline, turns)
            files.append(self._folder / REPORT)
        if not is_resumable:
            # The checkpoint first: it needs the rows.
            (self._folder / STATE).unlink(missing_ok=True)
            rows.unlink()
        return Recording(
            counts=self._counts,
            timeline=timeline,
            turns=turns,
            files=tuple(files),
            problems=tuple(self._analysis.reader.problems),
            was_stopped=self._was_stopped or self._is_copy_stopped,
            is_resumable=is_resumable,
            is_truncated=self._analysis.reader.is_truncated,
            has_failed=self._analysis.reader.has_failed,
            is_copy_stopped=self._is_copy_stopped,
            is_copy_truncated=self._is_copy_truncated,
        )

    def _annotate_again(self, turns: tuple[SpeakingTurn, ...]) -> bool:
        """Draw the annotated copy in a second pass; return False when Ctrl-C ended it."""
        path, rows = self._folder / VIDEO, read_rows(self._folder / ROWS)
        labels, end_s = self._manifest.labels, self._counts.end_s
        # after a stop in the first pass only a second Ctrl-C ends this one
        stop = None if self._was_stopped else self._analysis.check_stop
        try:
            is_whole = annotate_again(
                path, self._analysis, rows, labels, end_s, turns=turns, hidden=self._hidden, check_stop=stop
            )
        except KeyboardInterrupt:
            if self._was_stopped:
                raise
            self._is_copy_stopped = True
            return False
        self._is_copy_truncated = not is_whole
        return True

    def _join_turns(self, rows: Path, files: list[Path]) -> tuple[SpeakingTurn, ...]:
        """Return the speaking turns of a video with sound; write their table."""
        if self._sound is None:
            return ()
        labels = self._manifest.labels
        turns = join_turns(read_rows(rows), self._sound, self._manifest)
        turns = tuple(turn for turn in turns if turn.start_s <= self._counts.end_s)
        write_turns(self._folder / TURNS, turns, labels, self._sound.manifest.labels)
        files.append(self._folder / TURNS)
        return turns

    def _write_report(self, timeline: Timeline, turns: tuple[SpeakingTurn, ...]) -> None:
        info = self._analysis.info
        is_copy = not self._analysis.is_repeatable
        source = self._folder / VIDEO if is_copy else self._analysis.source
        seek = is_copy or self._analysis.reader.has_exact_times
        images: FrameReader = partial(frames_at, str(source), fps=self._analysis.fps, seek=seek)
        images = hide_faces(images, self._hidden) if self._hidden else images
        write_report(
            self._folder / REPORT,
            timeline,
            title=Path(info.source).name or info.source,
            facts=self._facts(),
            images=images if self._has_video or not is_copy else None,
            duration_s=self._counts.end_s,
            turns=turns,
            clip=VIDEO if self._has_video else None,
            has_trained_affect=self._analysis.follower.analyzer.classifier.has_affect,
        )

    def _facts(self) -> dict[str, str]:
        analysis, counts, model = self._analysis, self._counts, self._manifest
        follower = analysis.follower
        every = follower.schedule.every
        pace = "as often as the machine keeps up with" if analysis.info.is_live else f"every {DETECTION_INTERVAL_S:g} s"
        interval = {None: pace, 1: "every frame"}.get(every, f"every {every} frames")
        reason = "stopped by Ctrl-C" if self._was_stopped else "the video is truncated"
        copy = "ended early: the second pass did not reach the end" if self._is_copy_truncated else ""
        facts = {
            "Length": clock(counts.end_s, max(counts.end_s, 60)),
            "Frames": f"{counts.frames:,}",
            "Speed": f"{counts.frames / counts.work_s:.0f} frames/s" if counts.work_s > 0 else "",
            "Model": f"{model.name} {model.version}",
            "Detection": interval,
            "Action units": "above the neutral baseline of each face" if self._settings["baseline"] else "",
            "Label delay": f"about {follower.smoother.delay_ms:.0f} ms",
            "Broken frames": f"{counts.broken:,} left out" if counts.broken else "",
            "Dropped frames": f"{counts.dropped:,}" if counts.dropped else "",
            "Ended early": reason if self._was_stopped or analysis.reader.is_truncated else "",
            "Annotated copy": "stopped by Ctrl-C" if self._is_copy_stopped else copy,
        }
        return {name: value for name, value in facts.items() if value}
