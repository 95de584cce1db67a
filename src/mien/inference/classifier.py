"""From aligned face crops to calibrated expressions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.errors import InputError, ModelError
from mien.faces.alignment import TEMPLATES, align_face
from mien.manifest import Manifest
from mien.metrics import softmax
from mien.results import Expression, Face
from mien.runtime import DEFAULT_MODEL, LoadedModel, load_model

BATCH = 32
"""Crops that go through the network at once; more costs memory and gains no time on a CPU."""
MARGINS = (-0.2, 2.0)
"""Least and most margin of an alignment: beyond, a crop shows no face, or next to nothing of it."""


class ExpressionClassifier:
    """An expression model with everything its manifest promises; safe to call from many threads.

    Args:
        model: a shipped model's name or the path of an `.onnx` file with its manifest beside it.
        threads: of ONNX Runtime; 0 lets it choose.

    Raises:
        ModelError: when the model is unknown, does not fit its manifest, or is no expression model.
    """

    def __init__(self, model: str | Path = DEFAULT_MODEL, threads: int = 0) -> None:
        loaded = load_model(model, task="expression", threads=threads)
        _check_graph(loaded)
        self._session, self._manifest = loaded.session, loaded.manifest
        self._path = loaded.path

    @property
    def manifest(self) -> Manifest:
        """What the model file promises: labels, input size, alignment, temperature."""
        return self._manifest

    def crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """One face of an image as the model wants to see it: (S, S, 3) uint8 RGB."""
        alignment = self._manifest.alignment
        assert alignment is not None  # an expression manifest without one is refused when it is read
        size = self._manifest.input.size
        return align_face(
            image, face.landmarks_xy, size=size, template=alignment.template, margin=alignment.margin
        )

    def logits(self, crops: np.ndarray, *, mirror: bool = False) -> np.ndarray:
        """Unnormalised scores (N, C) float32, before the temperature.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            mirror: average with the scores of the mirrored crops: a little better, twice the time.

        Raises:
            InputError: when the crops have another shape or type.
            ModelError: when the network fails, gives another number of classes than its manifest names, or
                something that is no number.
        """
        size = self._manifest.input.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            raise InputError(f"expected crops (N, {size}, {size}, 3) uint8, got {crops.shape} {crops.dtype}.")
        parts = [self._run(crops[start : start + BATCH], mirror) for start in range(0, len(crops), BATCH)]
        classes = len(self._manifest.labels)
        return np.concatenate(parts) if parts else np.empty((0, classes), dtype=np.float32)

    def classify(self, crops: np.ndarray, *, mirror: bool = False) -> list[Expression]:
        """The perceived expression of every crop; see `logits` for the arguments."""
        probabilities = softmax(self.logits(crops, mirror=mirror), self._manifest.temperature)
        return [self._expression(row) for row in probabilities]

    def _run(self, crops: np.ndarray, mirror: bool) -> np.ndarray:
        logits = self._forward(crops)
        return (logits + self._forward(crops[:, :, ::-1])) / 2 if mirror else logits

    def _forward(self, crops: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        try:
            logits = np.asarray(self._session.run(["logits"], {"images": images})[0])
        except Exception as error:  # ONNX Runtime's own classes share no public base
            raise ModelError(f"{self._path}: {str(error).splitlines()[0]}") from None
        if logits.shape != (len(crops), len(self._manifest.labels)):
            raise ModelError(
                f"{self._path} gave logits {logits.shape} for {len(crops)} crops; its manifest names "
                f"{len(self._manifest.labels)} labels. Export the model again."
            )
        if not np.isfinite(logits).all():
            raise ModelError(f"{self._path} gave logits that are no numbers: its weights are broken.")
        return logits

    def _expression(self, probabilities: np.ndarray) -> Expression:
        labels, best = self._manifest.labels, int(probabilities.argmax())
        confidence = float(probabilities[best])
        is_sure = confidence >= self._manifest.abstain_below
        return Expression(
            labels=labels,
            probabilities=probabilities,
            label=labels[best] if is_sure else None,
            confidence=confidence,
        )


def _check_graph(model: LoadedModel) -> None:
    """Refuse a network that does not keep the contract of an expression model."""
    manifest, spec = model.manifest, model.manifest.input
    if (spec.channels, spec.layout, spec.range) != ("RGB", "NCHW", (0.0, 255.0)):
        raise ModelError(f"{model.path}: an expression model takes NCHW RGB 0..255. Export the model again.")
    alignment = manifest.alignment
    if alignment is not None and alignment.template not in TEMPLATES:
        raise ModelError(
            f"{model.path}: no alignment template {alignment.template!r}; there are: {', '.join(TEMPLATES)}."
        )
    if alignment is not None and not MARGINS[0] <= alignment.margin <= MARGINS[1]:
        raise ModelError(
            f"{model.path}: an alignment margin of {alignment.margin} is not within {MARGINS[0]}..{MARGINS[1]}."
        )
    inputs = {node.name: node.shape for node in model.session.get_inputs()}
    outputs = {node.name: node.shape for node in model.session.get_outputs()}
    if list(inputs) != ["images"] or "logits" not in outputs:
        raise ModelError(
            f"{model.path} takes {', '.join(inputs)} and gives {', '.join(outputs)}; "
            "an expression model takes 'images' and gives 'logits'. Export the model again."
        )
    wanted = (
        ("takes images", inputs["images"], (3, spec.size, spec.size), f"an input size of {spec.size}"),
        ("gives logits", outputs["logits"], (len(manifest.labels),), f"{len(manifest.labels)} labels"),
    )
    for verb, shape, sizes, promise in wanted:
        if not _fits(shape, sizes):
            raise ModelError(
                f"{model.path} {verb} {_shown(shape)}; its manifest names {promise}. Export the model again."
            )


def _fits(shape: Sequence[object], sizes: tuple[int, ...]) -> bool:
    """Whether a graph's shape is (N, *sizes), where a size that it leaves free fits any."""
    if not shape:  # nothing is said
        return True
    return len(shape) == 1 + len(sizes) and all(
        found == size or not isinstance(found, int) for found, size in zip(shape[1:], sizes, strict=True)
    )


def _shown(shape: Sequence[object]) -> str:
    return f"({', '.join(map(str, shape))})"
