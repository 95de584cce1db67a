"""`mien compare`: two models on the same labeled faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mien.cli.messages import NOTHING_WRITTEN, print_overwriting, print_written, report_unreadable
from mien.cli.options import (
    OUTPUT_FOLDER,
    Arithmetic,
    Device,
    FaceEvaluationOptions,
    FlipTta,
    Json,
    Quiet,
    Threads,
    Workers,
    network_threads,
)
from mien.cli.progress import progress_bar
from mien.cli.signals import finish_before_stop
from mien.runtime import count_workers


def compare(
    first: str,
    second: str,
    /,
    *,
    data: FaceEvaluationOptions,
    output: Annotated[Path | None, OUTPUT_FOLDER] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    flip_tta: FlipTta = False,
    threads: Threads = 0,
    workers: Workers = 0,
    device: Device = "auto",
    precision: Arithmetic = "auto",
) -> int:
    """Evaluate two models on the same labeled faces and test whether they differ by more than chance.

    Prints both accuracies with 95% intervals, their difference, McNemar's test, and the recall of each class. The
    report shows the faces that only one of the models classifies correctly. On a narrow terminal the columns macro F1
    and balanced are left out, in this order.

    Exit code: 1 if images are missing or broken; they count as errors.

    Args:
        first: name of a shipped model or path of an .onnx file.
        second: the other model; both must know the classes of the data set.
        output: folder for comparison.html, comparison.json and plots.
        as_json: print one JSON object.
    """
    from mien.cli.outputs import check_report, print_json
    from mien.evaluation.compare import compare as compare_models
    from mien.inference.classifier import ExpressionClassifier
    from mien.reports.comparison import verdict, write_comparison

    check_report(output)
    workers = count_workers(workers)
    options = {"threads": network_threads(threads, workers), "device": device, "precision": precision}
    with finish_before_stop():
        models = [ExpressionClassifier(model, **options) for model in (first, second)]
    index = data.read_split(quiet=quiet)
    with progress_bar("evaluating", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        comparison = compare_models(models[0], models[1], index, flip_tta=flip_tta, workers=workers, progress=progress)
    names = distinct_names(first, second)
    for key, name in zip(("first", "second"), names, strict=True):
        comparison.summary[key]["name"] = name
    versions = (f"{name} {model.manifest.version}" for name, model in zip(names, models, strict=True))
    subject = {"models": " and ".join(versions), **data.describe(index, flip_tta=flip_tta)}
    if as_json:
        print_json({**subject, **comparison.summary})
    else:
        from mien.cli.console import print_comparison

        print_comparison(subject, comparison.summary, names)
        print(verdict(comparison.summary, names))
    if output is not None:
        title = f"{names[0]} and {names[1]} on {index.name}, {subject['split']}"
        print_overwriting(output, quiet=quiet)
        path = write_comparison(output, title=title, subject=subject, names=names, comparison=comparison)
        print_written(path, quiet=quiet)
    return report_unreadable(comparison.summary["unreadable"])


def distinct_names(first: str, second: str) -> tuple[str, str]:
    """Return distinct names of two models: file names, else the nearest folders that differ, else the arguments."""
    paths = Path(first), Path(second)
    if paths[0].stem != paths[1].stem:
        return paths[0].stem, paths[1].stem
    if all(path.suffix for path in paths):
        folders = (reversed(path.absolute().parent.parts) for path in paths)
        for one, other in zip(*folders, strict=False):
            if one != other:
                return one, other
    return first, second
