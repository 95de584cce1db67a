"""`mien data`: look at a data set and its variations before training on it, and find its faces once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from mien.cli.progress import progress_bar
from mien.emotions import DatasetKind
from mien.errors import MissingExtraError

app = App(
    name="data", help="Check a data set, find its faces once for training, and see how a recipe varies them."
)


@app.command
def check(
    path: Path,
    *,
    dataset: DatasetKind = "ferplus",
    leaks: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Count classes and find missing, unreadable and repeated images, and leaks between splits.

    Exit code 1 when images are missing or unreadable.

    Args:
        path: folder or zip; for `table` the CSV or Parquet file; for `joined` KIND=PATH,KIND=PATH.
        dataset: the layout of the files; docs/data-sets.md shows each.
        leaks: CSV to write, of the images that also stand in a later split; a recipe's data.exclude reads it.
        as_json: print one JSON object.
    """
    from rich.console import Console

    from mien.cli.number_tables import print_check
    from mien.datasets import check_dataset, read_dataset, write_leaks

    index = read_dataset(dataset, path)
    with progress_bar("reading images") as advance:
        report = check_dataset(index, progress=advance)
    if leaks is not None:
        write_leaks(leaks, index, report.duplicates_in_later_splits)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        print_check(report, Console())
    return 0 if report.is_usable else 1


@app.command
def prepare(
    path: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    dataset: DatasetKind = "ferplus",
    patch: int = 96,
    workers: int = 0,
) -> None:
    """Find the largest face of every image once; `mien train` reads the result (data.store=FOLDER).

    A run that is stopped goes on where it was.

    Args:
        path: folder or zip; for `table` the CSV or Parquet file; for `joined` KIND=PATH,KIND=PATH.
        output: folder of the prepared faces.
        dataset: the layout of the files; docs/data-sets.md shows each.
        patch: side in pixels at which faces are stored; 48 keeps FER+ as it is. A photograph's patch is twice as wide.
        workers: processes; 0 takes one for each core.
    """
    from mien.datasets import read_dataset
    from mien.datasets.face_store import prepare_faces

    index = read_dataset(dataset, path)
    with progress_bar("finding faces") as advance:
        store = prepare_faces(index, output, patch=patch, workers=workers, progress=advance)
    count, found = len(index.samples), int(store.is_found.sum())
    print(f"{output}: {count:,} images, a face found in {found:,}.")
    fate = "keep the whole image" if index.is_cropped else "are left out of training"
    print(f"{count - found - len(store.unreadable):,} without a face {fate}.")
    if store.unreadable:
        shown = ", ".join(store.unreadable[:3])
        print(
            f"{len(store.unreadable):,} could not be read: {shown}{', ...' if len(store.unreadable) > 3 else ''}"
        )


@app.command
def preview(
    recipe: Path,
    *overrides: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("preview.png"),
    faces: int = 8,
    views: int = 8,
) -> None:
    """Draw training faces as a recipe varies them: one row a face, its plain crop first.

    Args:
        recipe: a TOML file, as for `mien train`.
        overrides: section.key=value, over the recipe: data.path=ferplus.zip augment.strength=2
        output: the image to write; its name says the format.
        faces: how many faces, the classes taking turns.
        views: variations of each face.
    """
    import numpy as np

    from mien.cli.outputs import check_image_name, save_image
    from mien.training.config import read_recipe

    check_image_name(output, source=recipe)
    config = read_recipe(recipe, overrides)
    try:
        from mien.training.preview import draw_preview
    except ImportError as error:
        raise MissingExtraError(f"A preview ({error.name} is missing)", "train") from None
    save_image(np.asarray(draw_preview(config, faces=faces, views=views)), output)
    print(output)
