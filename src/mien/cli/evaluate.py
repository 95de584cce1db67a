"""`mien evaluate`: a model measured on a data set."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mien.cli.progress import progress_bar
from mien.errors import MissingExtraError
from mien.runtime import DEFAULT_MODEL


def evaluate(
    *,
    data: Path,
    dataset: Literal["ferplus", "folder", "table"] = "ferplus",
    model: str = DEFAULT_MODEL,
    split: Literal["train", "valid", "test"] = "test",
    report: Path | None = None,
    mirror: bool = False,
    twins: Annotated[bool, Parameter(negative="--without-twins")] = True,
    threads: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Measure a model on a data set of labelled faces.

    What is measured is how often the model names the expression that people *perceived* in a picture; nobody can see
    from a picture what a person feels.

    Args:
        data: folder or zip; for `table` the CSV or Parquet file, its image paths relative to it.
        dataset: ferplus (official layout), folder (one folder a class), table (image,label[,split][,group...]).
        model: a shipped model's name or an .onnx file.
        split: data sets without splits are measured whole.
        report: write JSON, plots and an HTML page into this folder.
        mirror: average each face with its mirror image.
        twins: --without-twins leaves out images whose exact pixels also stand in another split.
        threads: of the network; 0 chooses.
        as_json: print one JSON object and nothing else.
    """
    from mien.datasets import read_dataset
    from mien.evaluation.evaluate import evaluate as measure
    from mien.evaluation.evaluate import without_twins
    from mien.evaluation.report import write_report
    from mien.inference.classifier import ExpressionClassifier

    if report and find_spec("matplotlib") is None:
        raise MissingExtraError("A report", "report")
    classifier = ExpressionClassifier(model, threads=threads)
    index = read_dataset(dataset, data)
    with progress_bar("looking for twins") as advance:
        chosen = index.select(split) if twins else without_twins(index, split, progress=advance)
    with progress_bar("reading faces") as advance:
        evaluation = measure(classifier, chosen, mirror=mirror, progress=advance)
    subject = {
        "model": f"{classifier.manifest.name} {classifier.manifest.version}",
        "dataset": index.name,
        "split": split if twins else f"{split}, without twins",
        "averaging": "mirrored" if mirror else "none",
    }
    if as_json:
        print(json.dumps({**subject, **evaluation.summary}))
    else:
        _print(subject, evaluation.summary)
    if report:
        write_report(
            report,
            title=f"{classifier.manifest.name} on {index.name}, {split}",
            subject=subject,
            summary=evaluation.summary,
            mistakes=evaluation.mistakes,
        )
    return _warn_of_unreadable(evaluation.summary["unreadable"])


def _warn_of_unreadable(names: list[str]) -> int:
    """Exit code 1, and one line on standard error, when pictures were missing or broken."""
    if not names:
        return 0
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    print(f"mien: {len(names)} missing or broken pictures count as errors: {shown}", file=sys.stderr)
    return 1


def _print(subject: dict[str, str], summary: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if is_terminal else 110, no_color=not is_terminal)
    console.print(", ".join(f"{key}: {value}" for key, value in subject.items()))
    numbers = Table(
        "protocol", "n", "accuracy", "95 %", "balanced", "macro F1", "ECE", "before", "Brier", box=SIMPLE
    )
    for name, part in (summary.get("protocols") or {"labels": summary}).items():
        low, high = part["accuracy_interval"] or (None, None)
        numbers.add_row(
            name,
            f"{part['n']:,}",
            f"[bold]{_percent(part['accuracy'])}[/bold]",
            f"{_percent(low)} to {_percent(high)}",
            _percent(part["balanced_accuracy"]),
            _percent(part["macro_f1"]),
            _number(part["ece"]),
            _number(part["ece_uncalibrated"]),
            _number(part["brier"]),
        )
    console.print(numbers)
    table = Table("class", "n", "precision", "recall", "F1", box=SIMPLE)
    for column in [*numbers.columns[1:], *table.columns[1:]]:
        column.justify, column.no_wrap = "right", True
    for name, scores in summary["per_class"].items():
        table.add_row(
            name, f"{scores['n']:,}", *(_percent(scores[key]) for key in ("precision", "recall", "f1"))
        )
    console.print(table)
    console.print(f"No face found: {summary['missed_faces']}.")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
