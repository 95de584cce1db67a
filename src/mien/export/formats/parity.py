"""Comparison of a converted model with the model file that it was made from."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien import metrics
from mien.errors import ParityError
from mien.export.face_crops import FaceCrops
from mien.export.format_spec import FormatPrecision
from mien.export.formats.conversion import Runner
from mien.manifest import read_manifest
from mien.runtime import open_session

MIN_AGREEMENT = {"float32": 0.99, "float16": 0.99, "int8": 0.98}
"""Minimum share of faces with the same label, by precision; two classes can be equally probable."""
MAX_DIFFERENCE = {"float32": 0.001, "float16": 0.05, "int8": 1.0}
"""Maximum difference of a calibrated probability, by precision; unlimited for int8, which changes single
ones by up to 0.2."""


@dataclass(frozen=True, kw_only=True)
class FormatParity:
    """Predictions of a converted model next to those of the original.

    Attributes:
        faces: number and origin of the faces.
        agreement: share of faces with the same label.
        max_difference: maximum difference of a calibrated probability.
        milliseconds: median processor time of one face in the runtime of the format, on one thread.
    """

    faces: str
    agreement: float
    max_difference: float
    milliseconds: float

    def describe(self) -> str:
        """Return the comparison in one line."""
        return (
            f"same label {self.agreement:.2%} of {self.faces}, probabilities differ by at most "
            f"{self.max_difference:.2g}, {self.milliseconds:.2f} ms a face on one thread"
        )


def measure_parity(original: Path, runner: Runner, faces: FaceCrops) -> FormatParity:
    """Run a converted model and its original face by face.

    Args:
        original: .onnx file with its manifest.
        runner: the converted model; its first output are the logits.
        faces: inputs of both.
    """
    temperature = read_manifest(original).temperature
    session = open_session(original, 1, device="cpu")
    expected, actual, times = [], [], []
    for batch in faces.batches():
        expected.append(np.asarray(session.run(["logits"], {"images": batch})[0])[0])
        start = time.process_time()
        logits = runner([batch])[0]
        times.append(time.process_time() - start)
        actual.append(np.array(logits)[0])
    before = metrics.softmax(np.stack(expected), temperature)
    after = metrics.softmax(np.stack(actual), temperature)
    return FormatParity(
        faces=faces.origin,
        agreement=round(float((before.argmax(axis=1) == after.argmax(axis=1)).mean()), 6),
        max_difference=round(float(np.abs(before - after).max()), 6),
        milliseconds=round(1000 * statistics.median(times), 3),
    )


def check_parity(parity: FormatParity, precision: FormatPrecision) -> None:
    """Refuse a converted model whose predictions differ from the original's.

    Raises:
        ParityError: if the agreement is below `MIN_AGREEMENT`, or a difference above `MAX_DIFFERENCE` or not a number.
    """
    if not parity.max_difference <= MAX_DIFFERENCE[precision]:
        raise ParityError(
            f"a probability of the {precision} file differs from the original's by {parity.max_difference:.2g} on "
            f"{parity.faces}, allowed {MAX_DIFFERENCE[precision]:g}; no file is written. Choose another precision or "
            "format."
        )
    if parity.agreement < MIN_AGREEMENT[precision]:
        raise ParityError(
            f"the {precision} file gives the original's label to {parity.agreement:.2%} of {parity.faces}, expected at "
            f"least {MIN_AGREEMENT[precision]:.1%}; no file is written. Choose another precision or format."
        )
