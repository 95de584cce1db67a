"""`mien prior`: class frequencies of unlabeled images."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.messages import NOTHING_WRITTEN, print_message, print_overwriting, print_written
from mien.cli.options import OUTPUT_FILE, DetectionOptions, Quiet, Workers, network_threads
from mien.cli.outputs import check_file_path
from mien.cli.progress import progress_bar
from mien.errors import InputError
from mien.manifest import is_manifest
from mien.number_format import count
from mien.runtime import count_workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from mien.cli.inputs import ImageInput
    from mien.inference.analyzer import Analyzer

MIN_FACES = 200
"""Number of faces below which estimated frequencies are called uncertain."""


def prior(
    *path: Annotated[str, Parameter(allow_leading_hyphen=True)],
    output: Annotated[Path | None, OUTPUT_FILE] = None,
    quiet: Quiet = False,
    workers: Workers = 0,
    options: DetectionOptions = DetectionOptions(),  # noqa: B008 - it is frozen
) -> int:
    """Estimate from unlabeled images how frequent each perceived expression is among their faces.

    Faces of a class must look like those that the model was calibrated on, and only their number may differ. The file
    is for --prior of predict, video, camera, batch, evaluate and serve: see docs/class-priors.md.

    Exit code: 1 if some images could not be read.

    Args:
        path: images, folders (searched recursively), or quoted patterns ("photos/**/*.jpg").
        output: .json file to write.
    """
    from mien.class_prior import estimate_prior, source_shares
    from mien.cli.inputs import check_no_options, find_images

    if output is not None:
        _check_output(output)
    check_no_options(path, "prior")
    listing = find_images(path)
    if not listing.images:
        raise InputError(" ".join(str(error) for _, error in listing.failures) or "no image given.")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
    for _, error in listing.failures:
        print_message(str(error))
    for note in () if quiet else listing.notes:
        print_message(note)
    images = _distinct(listing.images)
    workers = min(count_workers(workers), len(images))
    analyzer = replace(options, threads=network_threads(options.threads, workers)).open_analyzer()
    labels = analyzer.manifest.labels
    source = source_shares(analyzer.manifest)
    probabilities, failures = _predict(analyzer, images, workers, quiet=quiet)
    shares = estimate_prior(probabilities, source)
    _print_shares(labels, source, probabilities, shares)
    if len(probabilities) < MIN_FACES and not quiet:
        print_message(f"only {count(len(probabilities), 'face')}; take at least {MIN_FACES}")
    if output is not None:
        from mien.atomic import write_atomic

        # six significant digits: rounded to six decimals, a rare class would be excluded
        record = {label: float(f"{share:.6g}") for label, share in zip(labels, shares, strict=True)}
        print_overwriting(output, quiet=quiet)
        write_atomic(output, json.dumps(record, indent=2) + "\n")
        print_written(output, quiet=quiet)
    return int(failures > 0 or bool(listing.failures))


def _check_output(path: Path) -> None:
    """Raise `InputError` unless a file of class frequencies can have this path."""
    if path.suffix != ".json":
        raise InputError(f"{path}: the name of a file of class frequencies must end in .json.")
    check_file_path(path)
    if is_manifest(path):
        raise InputError(f"{path} is the manifest of a model; give another --output.")


def _distinct(images: Iterable[ImageInput]) -> list[ImageInput]:
    """Return the images without those that an earlier argument contains."""
    by_place: dict[str, ImageInput] = {}
    for image in images:
        place = os.path.realpath(image.source) if isinstance(image.source, Path) else image.name
        by_place.setdefault(place, image)
    return list(by_place.values())


def _predict(analyzer: Analyzer, images: Sequence[ImageInput], workers: int, *, quiet: bool) -> tuple[np.ndarray, int]:
    """Return the probabilities (N, C) of all faces that are not doubtful, and the number of unreadable images."""
    import numpy as np

    rows = []
    failures = 0
    results = analyzer.analyze_many([image.source for image in images], workers=workers)
    with progress_bar("images", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        for number, result in enumerate(results, start=1):
            if result.error is not None:
                failures += 1
                progress.print(f"mien: {result.error}")
            rows += [
                face.expression.probabilities for face in result.faces if face.expression and not face.is_face_doubtful
            ]
            progress(number, len(images))
    return np.reshape(rows, (len(rows), len(analyzer.manifest.labels))), failures


def _print_shares(labels: Sequence[str], source: np.ndarray, probabilities: np.ndarray, shares: np.ndarray) -> None:
    from mien.cli.console import open_console
    from mien.cli.fitted_table import numbers_table

    print(count(len(probabilities), "face"))
    table = numbers_table("expression", "class_prior", "mean probability", "estimated")
    for row in zip(labels, source, probabilities.mean(axis=0), shares, strict=True):
        table.add_row(row[0], *(f"{share:.1%}" for share in row[1:]))
    open_console().print(table)
