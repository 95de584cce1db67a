"""`mien data`: check a data set, prepare its faces, preview the augmentation of a recipe."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from mien.cli.messages import NOTHING_WRITTEN, print_overwriting, print_written, shorten
from mien.cli.options import ARGUMENTS, DATASET, OPTIONS, OUTPUT_FILE, OUTPUT_FOLDER, DatasetOptions, File, Json, Quiet
from mien.cli.progress import progress_bar
from mien.emotions import DatasetKind
from mien.errors import MissingExtraError

app = App(
    name="data",
    help="Check a data set, prepare its faces, and preview the augmentation of a recipe.",
    group_commands=Group("Commands"),
    group_arguments=ARGUMENTS,
    group_parameters=OPTIONS,
)


@app.command
def check(
    *, data: DatasetOptions, leaks: Annotated[Path | None, File] = None, as_json: Json = False, quiet: Quiet = False
) -> int:
    """Count classes and find missing, unreadable and duplicate images, and leaks between splits.

    Exit code: 1 if images are missing or unreadable.

    Args:
        leaks: .csv file to write, with the images that have an exact duplicate in a later split; for data.exclude of a
            recipe.
        as_json: print one JSON object.
    """
    from mien.cli.outputs import check_file_path, print_json
    from mien.datasets import check_dataset, write_leaks

    if leaks is not None:
        check_file_path(leaks)
    index = data.read()
    with progress_bar("reading images", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        report = check_dataset(index, progress=progress)
    if as_json:
        print_json(report.to_dict())
    else:
        from mien.cli.console import print_check

        print_check(report)
    if leaks is not None:
        print_overwriting(leaks, quiet=quiet)
        write_leaks(leaks, index, report.duplicates_in_later_splits)
        print_written(leaks, quiet=quiet)
    return 0 if report.is_usable else 1


@app.command
def prepare(
    *,
    data: DatasetOptions,
    output: Annotated[Path, OUTPUT_FOLDER],
    patch: int = 96,
    workers: int = 0,
    quiet: Quiet = False,
) -> None:
    """Detect and store the face of every image once, for training (data.store=FOLDER).

    An interrupted run continues where it stopped.

    Args:
        output: folder for the prepared faces.
        patch: side in pixels of a stored face; FER+ needs 48. A face from a photograph is stored with twice the side.
        workers: processes; 0: one per core.
    """
    from mien.datasets.face_store import prepare_faces

    index = data.read()
    on_stop = f"{output} keeps them; give the command again to continue"
    with progress_bar("detecting faces", is_shown=not quiet, on_stop=on_stop) as progress:
        store = prepare_faces(index, output, patch=patch, workers=workers, progress=progress)
    total = len(index.samples)
    detected = int(store.is_found.sum())
    effect = "keep the whole image" if index.is_cropped else "are left out of training"
    print(f"{output}: {total:,} images, {detected:,} with a face.")
    print(f"{total - detected - len(store.unreadable):,} without a face {effect}.")
    if store.unreadable:
        print(f"{len(store.unreadable):,} could not be read: {shorten(list(store.unreadable))}")


@app.command(usage="Usage: mien data preview [OPTIONS] RECIPE [SECTION.KEY=VALUE...]")
def preview(
    recipe: Path,
    /,
    *overrides: str,
    data: Annotated[Path | None, Parameter(group=DATASET)] = None,
    dataset: Annotated[DatasetKind | None, Parameter(group=DATASET)] = None,
    output: Annotated[Path, OUTPUT_FILE] = Path("preview.png"),
    faces: int = 8,
    views: int = 8,
) -> None:
    """Draw augmented training faces: one row per face, starting with the plain crop.

    Args:
        recipe: TOML file, as for mien train.
        overrides: settings that replace those of the recipe, as section.key=value (augment.strength=2).
        data: path of a data set; replaces that of the recipe.
        dataset: its layout; see docs/data-sets.md [default: that of the recipe].
        output: image file to write.
        faces: number of faces, the classes taking turns.
        views: variations of each face.
    """
    import numpy as np

    from mien.cli.outputs import check_image_path, save_image
    from mien.training.config import read_recipe

    check_image_path(output, source=recipe)
    if dataset is not None:
        overrides = (f"data.dataset={dataset}", *overrides)
    if data is not None:
        overrides = (f"data.path={dumps(str(data))}", *overrides)
    config = read_recipe(recipe, overrides)
    try:
        from mien.training.preview import draw_preview
    except ImportError as error:
        raise MissingExtraError(f"A preview ({error.name} is missing)", "train") from None
    save_image(np.asarray(draw_preview(config, faces=faces, views=views)), output)
    print(output)
