"""`mien adapt`: fit a model to labeled faces of the user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.messages import NOTHING_WRITTEN, print_message
from mien.cli.options import OUTPUT_FILE, Quiet
from mien.cli.outputs import check_model_path
from mien.cli.progress import progress_bar
from mien.number_format import count

if TYPE_CHECKING:
    from mien.adaptation.adapt import Adaptation

NOTHING_GAINED = 1


def adapt(
    model: str,
    data: Path,
    /,
    *,
    output: Annotated[Path, OUTPUT_FILE],
    group: Annotated[str, Parameter(metavar="COLUMN")] = "",
    crops: bool = False,
    quiet: Quiet = False,
) -> int:
    """Fit a model to your own labeled faces and write it as a new model file; in seconds, without torch.

    The model keeps its network. Temperature, class biases and, with enough faces, the last layer are fitted; five-fold
    cross-validation decides what is fitted. The new file can be used everywhere as --model.

    Exit code: 0 if a model was written, 1 if nothing was gained and nothing was written.

    Args:
        model: name of a shipped model (see mien models) or path of an .onnx file.
        data: folder or ZIP archive with one folder per class, or a .csv or .parquet table of images and labels.
        output: model file to write, ending in .onnx.
        crops: the images are face crops, which are used whole where no face is detected; by default they are skipped.
        group: column of the table that names the person (or session) of an image, so that no person is in two folds.
    """
    from mien.adaptation.adapt import MAX_ACCURACY
    from mien.adaptation.adapt import adapt as fit
    from mien.datasets import guess_kind, read_dataset

    check_model_path(output, model)
    index = replace(read_dataset(guess_kind(data), data), is_cropped=crops)
    is_replaced = output.exists()
    with progress_bar("adapting", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        adaptation = fit(model, index, output, group=group, progress=progress)
    if adaptation.absent:
        print_message(f"no face shows {', '.join(adaptation.absent)}: an adapted model rarely predicts them")
    if adaptation.skipped:
        print_message(f"skipped {count(len(adaptation.skipped), 'image')} without a readable face")
    if not group and not quiet:
        print_message("every image counts as another person; if people recur, name them with --group")
    _print_numbers(adaptation)
    if adaptation.after["accuracy"] > MAX_ACCURACY:
        print_message("nearly all faces are classified correctly: the images may be copies of a few")
    if adaptation.manifest is None:
        print(f"nothing gained ({_gain(adaptation)}); {output} was not written")
        return NOTHING_GAINED
    if is_replaced and not quiet:
        print_message(f"replaced the model that was in {output}")
    print(f"wrote {output} ({_gain(adaptation)})")
    return 0


def _print_numbers(adaptation: Adaptation) -> None:
    print(f"{adaptation.before['n']} faces, five-fold cross-validation")
    for name, numbers in (("before", adaptation.before), ("after", adaptation.after)):
        low, high = numbers["accuracy_interval"]
        print(
            f"{name:7s} accuracy {numbers['accuracy']:.1%} ({low:.1%} to {high:.1%})  "
            f"mean recall {numbers['balanced_accuracy']:.1%}  calibration error {numbers['ece']:.3f}"
        )


def _gain(adaptation: Adaptation) -> str:
    choice = adaptation.choice
    return f"mean of both {choice.gain:+.1%}, standard error {choice.standard_error:.1%}"
