"""Tables on the terminal: faces, video tracks, evaluations, comparisons and data set checks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from mien.cli.fitted_table import Column, FittedTable, numbers_table
from mien.cli.messages import printable, shorten
from mien.evaluation.summary import describe_missed_faces
from mien.number_format import clock, decimal, interval, percent, points, signed_points, whole_percent
from mien.theme import class_color

if TYPE_CHECKING:
    from mien.datasets import CheckReport
    from mien.inference.result import Result
    from mien.results import Expression, Face, HeadPose, Quality
    from mien.video.timeline import Track
    from mien.video.turns import SpeakingTurn
    from mien.voice.result import VoiceResult

BAR_WIDTH = 8
"""Characters of a confidence bar."""
PIPE_WIDTH = 110
"""Columns of the output if standard output is not a terminal."""
MIN_SHARE = 0.005
"""Minimum share of a track's time for an expression to be listed."""


class _Console(Console):
    """Console that raises `BrokenPipeError` when the reader of its output is gone; rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console() -> Console:
    """Return a console on standard output: plain text of `PIPE_WIDTH` columns if that is not a terminal."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else PIPE_WIDTH
    return _Console(file=sys.stdout, width=width, no_color=not is_terminal, highlight=False, markup=False)


class ConsolePrinter:
    """Prints a table of faces for each image."""

    def __init__(self) -> None:
        self._console = open_console()
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        self._full, self._empty, self._degree = ("█", "·", "°") if encoding.startswith("utf") else ("#", ".", "")

    def add(self, result: Result) -> None:
        """Print one image, unless it could not be read: errors are printed to standard error."""
        if result.error is not None:
            return
        count = {0: "no face", 1: "1 face"}.get(len(result.faces), f"{len(result.faces)} faces")
        title = Text.assemble(
            (printable(result.source), "bold"), (f"  {result.width} x {result.height}, {count}", "dim")
        )
        self._console.print(title, soft_wrap=True)
        if result.faces:
            self._console.print(self._table(result.faces), "")

    def _table(self, faces: tuple[Face, ...]) -> FittedTable:
        table = FittedTable(
            *(Column("face"), Column("expression", "text"), Column("confidence", "label")),
            *(Column("yaw pitch roll"), Column("quality", "text")),
            drop=("quality", "yaw pitch roll"),
        )
        for number, face in enumerate(faces, start=1):
            table.add_row(
                str(number),
                _label(face.expression),
                self._bar(face.expression),
                self._pose(face.head_pose),
                _quality(face.quality),
            )
        return table

    def _bar(self, expression: Expression | None) -> Text:
        if expression is None:
            return Text("")
        length = round(expression.confidence * BAR_WIDTH)
        return Text.assemble(
            (self._full * length, class_color(expression.label or "")),
            (self._empty * (BAR_WIDTH - length), "dim"),
            f" {whole_percent(expression.confidence):>4}",
        )

    def _pose(self, pose: HeadPose | None) -> str:
        if pose is None:
            return "unknown"
        angles = (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
        return " ".join(f"{round(angle):d}{self._degree}".rjust(4) for angle in angles)


def _label(expression: Expression | None) -> Text:
    if expression is None:
        return Text("")
    if expression.label is None:
        return Text("not sure")
    return Text(expression.label, style=f"bold {class_color(expression.label)}")


def _quality(quality: Quality | None) -> str:
    if quality is None:
        return ""
    parts = [f"{quality.size_px:.0f} px", f"sharp {decimal(quality.sharpness, 2)}"]
    if quality.visible < 0.995:
        parts.append(f"{whole_percent(quality.visible)} visible")
    return ", ".join(parts)


def print_tracks(tracks: tuple[Track, ...]) -> None:
    """Print one line per face of a video: its times and the share of each expression."""
    if not tracks:
        print("no face found")
        return
    columns = [Column(name) for name in ("face", "from", "to", "visible")]
    table = FittedTable(*columns, Column("perceived expression, share of the time", "text"), drop=("visible", "to"))
    for track in tracks:
        shares = sorted(track.shares.items(), key=lambda item: -item[1])
        texts = [(name, share) for name, share in shares if share >= MIN_SHARE]
        if track.unsure >= MIN_SHARE:
            texts.append(("not sure", track.unsure))
        parts = Text("  ").join(
            Text.assemble((name, class_color(name)), f" {whole_percent(share)}") for name, share in texts
        )
        times = (f"{track.first_s:.1f} s", f"{track.last_s:.1f} s", f"{track.seconds:.1f} s")
        table.add_row(str(track.track_id), *times, parts)
    open_console().print(table)


def print_turns(turns: tuple[SpeakingTurn, ...]) -> None:
    """Print one line per speaking turn of a video: its times, the face that speaks, and face and voice."""
    if not turns:
        return
    from mien.video.turns import NO_FACE

    columns = [Column(name) for name in ("from", "to", "speaker")]
    table = FittedTable(
        *columns,
        *(Column("face", "text"), Column("voice (experimental)", "text"), Column("both", "text")),
        *(Column("conflict"), Column("voice arousal")),
        drop=("conflict", "to"),
    )
    for turn in turns:
        both = turn.fusion.pooled.label or "not sure" if turn.fusion else ""
        table.add_row(
            *(f"{turn.start_s:.1f} s", f"{turn.end_s:.1f} s"),
            NO_FACE[turn.status] if turn.track_id is None else f"face {turn.track_id}",
            turn.fusion.face.label or "not sure" if turn.fusion else "",
            turn.voice.label or "not sure",
            Text(both, style=class_color(both) if turn.fusion and turn.fusion.pooled.label else ""),
            f"{turn.fusion.conflict:.2f}" if turn.fusion and turn.fusion.conflict is not None else "",
            f"{turn.voice.arousal:+.2f}",
        )
    open_console().print(table)


def print_voice(result: VoiceResult) -> None:
    """Print one line per speech segment of a file: its times, arousal, class and pitch."""
    console = open_console()
    number = {0: "no speech", 1: "1 speech segment"}.get(len(result), f"{len(result)} speech segments")
    facts = f"  {clock(result.duration_s, result.duration_s, decimals=1)}, {number}"
    console.print(Text.assemble((printable(result.source), "bold"), (facts, "dim")), soft_wrap=True)
    if not result.segments:
        return
    columns = [Column(name) for name in ("segment", "from", "to", "arousal")]
    table = FittedTable(
        *columns,
        *(Column("class (experimental)", "text"), Column("probability"), Column("pitch")),
        drop=("pitch", "to"),
    )
    for number, segment in enumerate(result, start=1):
        times = (clock(time_s, result.duration_s, decimals=1) for time_s in (segment.start_s, segment.end_s))
        label = segment.label or "not sure"
        pitch_hz = segment.prosody.pitch_hz
        table.add_row(
            str(number),
            *times,
            Text(f"{segment.arousal:+.2f}", style="bold"),
            Text(label, style=class_color(label) if segment.label else ""),
            whole_percent(segment.confidence),
            f"{pitch_hz:.0f} Hz" if pitch_hz else "",
        )
    console.print(table, "")


def print_check(report: CheckReport) -> None:
    """Print the check of a data set: the class counts, and the number of each problem with examples."""
    console = open_console()
    console.print(f"{report.root}: {report.n:,} images", soft_wrap=True)
    table = numbers_table("class", *report.counts)
    classes = dict.fromkeys(name for counts in report.counts.values() for name in counts)
    for name in classes:
        table.add_row(name, *(f"{counts.get(name, 0):,}" for counts in report.counts.values()))
    table.add_row("all", *(f"{sum(counts.values()):,}" for counts in report.counts.values()))
    console.print(table, "")
    for name, values in report.groups.items():
        console.print(f"{name}: {_list_counts(values)}", soft_wrap=True)
    problems: dict[str, list[str]] = {
        "missing images": list(report.missing),
        "unreadable images": [f"{name} ({problem})" for name, problem in report.unreadable.items()],
        "groups of exact duplicates within a split": [" = ".join(ids) for ids in report.duplicates],
        "groups of exact duplicates across splits": [" = ".join(ids) for ids in report.leaks],
        "images with an exact duplicate in a later split: exclude them from training": list(
            report.duplicates_in_later_splits
        ),
    }
    for problem, names in problems.items():
        examples = f": {shorten(names)}" if names else ""
        console.print(f"{len(names):,} {problem}{examples}", soft_wrap=True)
    console.print(f"License: {report.license}", soft_wrap=True)


def _list_counts(values: Mapping[str, int], limit: int = 8) -> str:
    """Join the first values with their counts, and the number of values left out."""
    parts = [f"{value or '(none)'} {count:,}" for value, count in list(values.items())[:limit]]
    return ", ".join(parts) + (f" and {len(values) - limit:,} more" if len(values) > limit else "")


def print_evaluation(subject: Mapping[str, str], summary: dict[str, Any]) -> None:
    """Print the protocols, classes and groups of an evaluation."""
    console = open_console()
    _print_subject(subject, console)
    protocols = numbers_table(
        *("protocol", "n", "accuracy", "95% interval", "balanced", "macro F1", "ECE", "before", "Brier"),
        drop=("before", "Brier", "ECE", "macro F1", "balanced"),
    )
    for name, part in (summary.get("protocols") or {"labels": summary}).items():
        protocols.add_row(name, *_scores(part), *(decimal(part[key]) for key in ("ece", "ece_uncalibrated", "brier")))
    classes = numbers_table("class", "n", "precision", "recall", "F1")
    for name, scores in summary["per_class"].items():
        shares = (percent(scores[key]) for key in ("precision", "recall", "f1"))
        classes.add_row(name, f"{scores['n']:,}", *shares)
    console.print(protocols, "", classes, "", sep="\n")
    if affect := summary.get("affect"):
        _print_affect(affect, console)
    if groups := summary.get("groups"):
        for name, column in groups.items():
            _print_groups(name, column, console)
        console.print("Groups show for whom the model is less accurate; they do not describe any person.\n")
    for name, reason in summary.get("groups_left_out", {}).items():
        console.print(f"Not measured by {name}: {reason}.", soft_wrap=True)
    console.print(f"Faces: {describe_missed_faces(summary)}.")


def print_comparison(subject: Mapping[str, str], summary: dict[str, Any], names: tuple[str, str]) -> None:
    """Print the accuracies of two models, the recall of each class, and the difference."""
    console = open_console()
    _print_subject(subject, console)
    models = numbers_table(
        *("model", "n", "accuracy", "95% interval", "balanced", "macro F1", "correct only here"),
        drop=("macro F1", "balanced"),
    )
    for name, key in zip(names, ("first", "second"), strict=True):
        scores = _scores({"n": summary["n"], **summary[key]})
        models.add_row(name, *scores, f"{summary['table'][f'only_{key}']:,}")
    classes = numbers_table("class", "n", *(name for name in names), "points")
    for name, item in summary["per_class"].items():
        recalls = percent(item["first"]), percent(item["second"])
        classes.add_row(name, f"{item['n']:,}", *recalls, signed_points(item["difference"]))
    console.print(models, "", classes, "", sep="\n")
    table = summary["table"]
    low, high = summary["difference_interval"]
    console.print(f"Both correct: {table['both_right']:,}, both wrong: {table['both_wrong']:,}.")
    difference = signed_points(summary["difference"])
    bounds = f"{signed_points(low)} to {signed_points(high)}"
    console.print(f"Difference, first minus second: {difference} points (95% interval: {bounds}).")
    console.print(f"Faces: {describe_missed_faces(summary)}.")


def _print_subject(subject: Mapping[str, str], console: Console) -> None:
    console.print(", ".join(f"{key}: {value}" for key, value in subject.items()), soft_wrap=True)


def _scores(part: Mapping[str, Any]) -> tuple[str | Text, ...]:
    """Return the columns n, accuracy, 95% interval, balanced and macro F1."""
    return (
        f"{part['n']:,}",
        Text(percent(part["accuracy"]), style="bold"),
        interval(part["accuracy_interval"]),
        percent(part["balanced_accuracy"]),
        percent(part["macro_f1"]),
    )


def _print_affect(affect: dict[str, Any], console: Console) -> None:
    table = numbers_table(f"{affect['source']}, n = {affect['n']:,}", "CCC", "RMSE")
    for name in ("valence", "arousal"):
        table.add_row(name, decimal(affect[name]["ccc"]), decimal(affect[name]["rmse"]))
    console.print(table, "", sep="\n")


def _print_groups(name: str, column: dict[str, Any], console: Console) -> None:
    numbers = [Column(title) for title in ("n", "accuracy", "95% interval", "balanced")]
    table = FittedTable(Column(name, "text"), *numbers, Column("note", "text"), drop=("balanced",))
    for group, item in column["groups"].items():
        table.add_row(
            group,
            f"{item['n']:,}",
            percent(item["accuracy"]),
            interval(item["accuracy_interval"]),
            percent(item["balanced_accuracy"]),
            "" if item["is_enough"] else "too few faces",
        )
    gap = column["accuracy_difference"]
    summary = "too few faces to compare its groups" if gap is None else f"best to worst {points(gap)}"
    console.print(table, "", f"{name}: {summary}.", "", sep="\n")
