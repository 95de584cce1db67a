"""`mien evaluate`: a model measured on a data set."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mien.cli.progress import progress_bar
from mien.emotions import DatasetKind
from mien.errors import MissingExtraError
from mien.runtime import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.datasets import Index


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The labeled faces that a verb measures models on.

    Attributes:
        data: folder or zip; for `table` the CSV or Parquet file, its image paths relative to it.
        dataset: layout of the files; folder: one folder a class; table: image,label[,split][,group...].
        split: data sets without splits are measured whole.
        duplicates: --without-duplicates leaves out images whose exact pixels also occur in another split.
    """

    data: Path
    dataset: DatasetKind = "ferplus"
    split: Literal["train", "valid", "test"] = "test"
    duplicates: Annotated[bool, Parameter(negative="--without-duplicates")] = True

    def read(self) -> Index:
        """The split, without exact duplicates of other splits if requested."""
        from mien.datasets import read_dataset, without_duplicates

        index = read_dataset(self.dataset, self.data)
        if self.duplicates:
            return index.select(self.split)
        with progress_bar("finding duplicates") as advance:
            return without_duplicates(index, self.split, progress=advance)

    def part(self, index: Index) -> str:
        """What a report calls these faces of their data set."""
        return index.split if self.duplicates else f"{index.split}, without duplicates"

    def subject(self, index: Index, *, flip_tta: bool) -> dict[str, str]:
        """What a report says of the faces."""
        return {
            "dataset": index.name,
            "split": self.part(index),
            "averaging": "mirrored" if flip_tta else "none",
        }


def evaluate(
    *,
    chosen: Chosen,
    model: str = DEFAULT_MODEL,
    report: Path | None = None,
    flip_tta: bool = False,
    groups: bool = True,
    threads: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Measure a model on a data set of labeled faces.

    What is measured is how often the model names the expression that people *perceived* in an image; nobody can see
    from an image what a person feels. Where the data set has groups (gender, age ...: what its annotators perceived),
    each of them is measured too, to find whom the model reads worse; they are no statement about a person.

    Args:
        chosen: the faces.
        model: a shipped model's name or an .onnx file.
        report: write JSON, plots and an HTML page into this folder.
        flip_tta: average each face with its mirror image.
        groups: --no-groups skips the results of each group.
        threads: of the network; 0 chooses.
        as_json: print one JSON object and nothing else.
    """
    from mien.evaluation.evaluate import evaluate as measure
    from mien.inference.classifier import ExpressionClassifier
    from mien.reports.evaluation import write_report

    check_report(report)
    classifier = ExpressionClassifier(model, threads=threads)
    index = chosen.read()
    with progress_bar("reading faces") as advance:
        evaluation = measure(classifier, index, flip_tta=flip_tta, by_group=groups, progress=advance)
    named = f"{classifier.manifest.name} {classifier.manifest.version}"
    subject = {"model": named, **chosen.subject(index, flip_tta=flip_tta)}
    if as_json:
        print(json.dumps({**subject, **evaluation.summary}))
    else:
        from mien.cli.number_tables import open_console, print_summary

        print_summary(subject, evaluation.summary, open_console())
    if report:
        write_report(
            report,
            title=f"{classifier.manifest.name} on {index.name}, {chosen.part(index)}",
            subject=subject,
            summary=evaluation.summary,
            mistakes=evaluation.mistakes,
        )
    return warn_of_unreadable(evaluation.summary["unreadable"])


def check_report(report: Path | None) -> None:
    """Refuse a report before the work when it could not be drawn."""
    if report and find_spec("matplotlib") is None:
        raise MissingExtraError("A report", "report")


def warn_of_unreadable(names: list[str]) -> int:
    """Exit code 1, and one line on standard error, when images were missing or broken."""
    if not names:
        return 0
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    print(f"mien: {len(names)} missing or broken images count as errors: {shown}", file=sys.stderr)
    return 1
