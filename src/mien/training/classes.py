"""Checks of the classes of a run before training."""

from collections.abc import Callable

import numpy as np

from mien.errors import DatasetError
from mien.training.data import Faces


def check_classes(faces: Faces, validation: Faces, on_message: Callable[[str], None] | None = None) -> None:
    """Check that there are classes to tell apart, and report the faces of each class.

    Args:
        faces: training faces.
        validation: validation faces.
        on_message: called with the counts, and with the classes that have no training or no validation face.

    Raises:
        DatasetError: if the training faces show a single class, or no validation face has a label.
    """
    names = np.array(faces.names)
    training = np.bincount(faces.label_distribution.argmax(1).numpy(), minlength=len(names))
    labels = validation.labels[validation.labels >= 0]
    held_out = np.bincount(labels, minlength=len(names))
    if (training > 0).sum() < 2:
        raise DatasetError(
            f"all {training.sum():,} training faces show {names[training.argmax()]}: training needs faces of at least "
            "two classes."
        )
    if not labels.size:
        raise DatasetError("no validation face has a label: evaluation and calibration need labeled ones.")
    if on_message is None:
        return
    counts = ", ".join(f"{name} {training[number]:,}/{held_out[number]:,}" for number, name in enumerate(names))
    on_message(f"training/validation faces: {counts}")
    if training.min() == 0:
        on_message(f"no training face shows {', '.join(names[training == 0])}: the model cannot learn it")
    if held_out.min() == 0:
        on_message(
            f"no validation face shows {', '.join(names[held_out == 0])}: validation metrics and the choice of the "
            "best checkpoint ignore it"
        )
