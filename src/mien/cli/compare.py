"""`mien compare`: two models measured on the same faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mien.cli.evaluate import Chosen, check_report, warn_of_unreadable
from mien.cli.progress import progress_bar


def compare(
    first: str,
    second: str,
    *,
    chosen: Chosen,
    report: Path | None = None,
    flip_tta: bool = False,
    threads: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Measure two models on the same labeled faces: which is better, and may that be chance?

    Gives both accuracies with their 95 % intervals, the difference, McNemar's test, and the recall of every class. The
    report shows the faces that one of them alone reads right.

    Args:
        first: a shipped model's name or an .onnx file.
        second: another one. Both have to know the classes of the faces.
        chosen: the faces.
        report: write JSON, plots and an HTML page into this folder.
        flip_tta: average each face with its mirror image.
        threads: of the networks; 0 chooses.
        as_json: print one JSON object and nothing else.
    """
    from mien.evaluation.compare import compare as measure
    from mien.inference.classifier import ExpressionClassifier
    from mien.reports.comparison import verdict, write_comparison

    check_report(report)
    models = [ExpressionClassifier(word, threads=threads) for word in (first, second)]
    index = chosen.read()
    with progress_bar("reading faces") as advance:
        comparison = measure(models[0], models[1], index, flip_tta=flip_tta, progress=advance)
    names = _names(first, second)
    versions = " and ".join(f"{model.manifest.name} {model.manifest.version}" for model in models)
    subject = {"models": versions, **chosen.subject(index, flip_tta=flip_tta)}
    if as_json:
        print(json.dumps({**subject, **comparison.summary}))
    else:
        from mien.cli.number_tables import open_console, print_comparison

        print_comparison(subject, comparison.summary, names, open_console())
        print(verdict(comparison.summary, names))
    if report:
        title = f"{names[0]} and {names[1]} on {index.name}, {chosen.part(index)}"
        write_comparison(report, title=title, subject=subject, names=names, comparison=comparison)
    return warn_of_unreadable(comparison.summary["unreadable"])


def _names(first: str, second: str) -> tuple[str, str]:
    """What the models are called in tables: by their files, else by the nearest folders that differ, else as given."""
    paths = Path(first), Path(second)
    if paths[0].stem != paths[1].stem:
        return paths[0].stem, paths[1].stem
    if all(path.suffix for path in paths):
        folders = (reversed(path.absolute().parent.parts) for path in paths)
        for one, other in zip(*folders, strict=False):
            if one != other:
                return one, other
    return first, second
