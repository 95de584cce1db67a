"""From aligned face crops to calibrated expressions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.errors import InputError, ModelError
from mien.faces.alignment import MARGINS, TEMPLATES, align_face
from mien.manifest import Manifest
from mien.metrics import softmax
from mien.results import Explanation, Expression, Face, Quality
from mien.runtime import DEFAULT_MODEL, LoadedModel, load_model

BATCH = 32
"""Crops that go through the network at once; more costs memory and gains no time on a CPU."""


class ExpressionClassifier:
    """An expression model with everything its manifest promises; safe to call from many threads.

    Args:
        model: a shipped model's name or the path of an `.onnx` file with its manifest beside it.
        threads: of ONNX Runtime; 0 lets it choose.
        max_error: give a label only to faces so sure that at most this share of such labels was wrong on validation
            faces (`Manifest.risk_coverage`); None keeps the manifest's own `abstain_below`.

    Raises:
        InputError: when `max_error` is no share, or is less than abstaining can reach.
        ModelError: when the model is unknown, does not fit its manifest, is no expression model, or its manifest does
            not state the error that `max_error` asks for.
    """

    def __init__(
        self, model: str | Path = DEFAULT_MODEL, threads: int = 0, *, max_error: float | None = None
    ) -> None:
        check_max_error(max_error)
        loaded = load_model(model, task="expression", threads=threads)
        _check_graph(loaded)
        self._session, self._manifest = loaded.session, loaded.manifest
        self._path = loaded.path
        if max_error is not None:
            self._manifest = replace(self._manifest, abstain_below=_least_confidence(loaded, max_error))

    @property
    def manifest(self) -> Manifest:
        """What the model file promises: labels, input size, alignment, temperature.

        Its `abstain_below` is the one in use: with `max_error` not the file's.
        """
        return self._manifest

    def crop(self, image: np.ndarray, face: Face, *, size: int | None = None) -> np.ndarray:
        """One face of an image as the model wants to see it: (S, S, 3) uint8 RGB.

        Args:
            image: (H, W, 3) uint8 RGB.
            face: of that image.
            size: another side S than the model's own: the same part of the image, for people to look at.
        """
        alignment = self._manifest.alignment
        assert alignment is not None  # an expression manifest without one is refused when it is read
        size = size or self._manifest.input.size
        return align_face(
            image, face.landmarks_xy, size=size, template=alignment.template, margin=alignment.margin
        )

    def logits(self, crops: np.ndarray, *, flip_tta: bool = False) -> np.ndarray:
        """Unnormalized scores (N, C) float32, before the temperature.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            flip_tta: average with the scores of the mirrored crops: a little better, twice the time.

        Raises:
            InputError: when the crops have another shape or type.
            ModelError: when the network fails, gives another number of classes than its manifest names, or
                something that is no number.
        """
        self._check_crops(crops)
        parts = [self._run(crops[start : start + BATCH], flip_tta) for start in range(0, len(crops), BATCH)]
        classes = len(self._manifest.labels)
        return np.concatenate(parts) if parts else np.empty((0, classes), dtype=np.float32)

    def classify(
        self, crops: np.ndarray, *, qualities: Sequence[Quality | None] | None = None, flip_tta: bool = False
    ) -> list[Expression]:
        """The perceived expression of every crop, as sure as the face's quality allows.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            qualities: of the N faces: a small or blurred one makes the model less sure where its manifest says so
                (`Manifest.quality_temperature`); None, or a None among them, leaves its temperature as it is.
            flip_tta: see `logits`.

        Raises:
            InputError: when the crops have another shape or type, or there are not as many qualities.
            ModelError: when the network fails; see `logits`.
        """
        return self._expressions(self.logits(crops, flip_tta=flip_tta), qualities)

    def embeddings(self, crops: np.ndarray, *, flip_tta: bool = False) -> np.ndarray:
        """Features (N, D) float32 that the classes are decided by; faces that look alike in expression lie near.

        They are no means to recognize a person. See `logits` for the arguments.

        Raises:
            InputError: when the crops have another shape or type.
            ModelError: when the model file gives no embedding, or the network fails.
        """
        self._check_crops(crops)
        self._check_outputs("give embeddings", ["logits", "embedding"])
        parts = []
        for start in range(0, len(crops), BATCH):
            batch = crops[start : start + BATCH]
            views = [batch, batch[:, :, ::-1]] if flip_tta else [batch]
            parts.append(np.mean([self._outputs(view, ["logits", "embedding"])[1] for view in views], axis=0))
        widths = {node.name: node.shape[1] for node in self._session.get_outputs() if len(node.shape) == 2}
        return np.concatenate(parts) if parts else np.empty((0, widths["embedding"]), dtype=np.float32)

    def explain(
        self, crops: np.ndarray, *, qualities: Sequence[Quality | None] | None = None
    ) -> list[Explanation]:
        """What the model read in every crop, and where it looked: its class-activation maps and region weights.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            qualities: of the N faces; see `classify`.

        Raises:
            InputError: when the crops have another shape or type, or there are not as many qualities.
            ModelError: when the model file gives no maps, or the network fails.

        Source:
            Zhou et al. (CVPR 2016). For a head of average pooling and one linear layer Grad-CAM gives the same maps, up
            to a factor (Selvaraju et al., ICCV 2017).
        """
        self._check_crops(crops)
        wanted = self._explaining_outputs()
        qualities = self._checked(qualities, len(crops))
        return [
            explanation
            for start in range(0, len(crops), BATCH)
            for explanation in self._explain(
                crops[start : start + BATCH], qualities[start : start + BATCH], wanted
            )
        ]

    def _explain(
        self, crops: np.ndarray, qualities: Sequence[Quality | None], wanted: list[str]
    ) -> list[Explanation]:
        logits, maps, *found = self._outputs(crops, wanted)
        names = [region.name for region in self._manifest.regions]
        weights = found[0] if found else np.empty((len(crops), 0))
        if maps.ndim != 4 or maps.shape[:2] != logits.shape or weights.shape != (len(crops), len(names)):
            raise ModelError(
                f"{self._path} gave maps {maps.shape} and region weights {weights.shape} for {len(crops)} crops, "
                f"{logits.shape[1]} labels and {len(names)} regions. Export the model again."
            )
        return [
            Explanation(
                expression=expression,
                maps=own_maps,
                region_weights=dict(zip(names, own_weights.tolist(), strict=True)),
            )
            for expression, own_maps, own_weights in zip(
                self._expressions(logits, qualities), maps, weights, strict=True
            )
        ]

    def _explaining_outputs(self) -> list[str]:
        wanted = ["logits", "maps", *(["regions"] if self._manifest.regions else [])]
        self._check_outputs("be explained", wanted)
        return wanted

    def _check_outputs(self, act: str, wanted: list[str]) -> None:
        present = [node.name for node in self._session.get_outputs()]
        if missing := [name for name in wanted if name not in present]:
            raise ModelError(
                f"{self._path} cannot {act}: it does not give {' and '.join(missing)}. "
                "Export it again with this version of mien."
            )

    def _check_crops(self, crops: np.ndarray) -> None:
        size = self._manifest.input.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            raise InputError(f"expected crops (N, {size}, {size}, 3) uint8, got {crops.shape} {crops.dtype}.")

    def _run(self, crops: np.ndarray, flip_tta: bool) -> np.ndarray:
        logits = self._forward(crops)
        return (logits + self._forward(crops[:, :, ::-1])) / 2 if flip_tta else logits

    def _forward(self, crops: np.ndarray) -> np.ndarray:
        return self._outputs(crops, ["logits"])[0]

    def _outputs(self, crops: np.ndarray, names: list[str]) -> list[np.ndarray]:
        """The graph's outputs of these names, the logits first; nothing else is computed."""
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        try:
            found = [np.asarray(output) for output in self._session.run(names, {"images": images})]
        except Exception as error:  # ONNX Runtime's own classes share no public base
            raise ModelError(f"{self._path}: {str(error).splitlines()[0]}") from None
        if found[0].shape != (len(crops), len(self._manifest.labels)):
            raise ModelError(
                f"{self._path} gave logits {found[0].shape} for {len(crops)} crops; its manifest names "
                f"{len(self._manifest.labels)} labels. Export the model again."
            )
        for name, output in zip(names, found, strict=True):
            if not np.isfinite(output).all():
                raise ModelError(f"{self._path} gave {name} that are no numbers: its weights are broken.")
        return found

    def _expressions(
        self, logits: np.ndarray, qualities: Sequence[Quality | None] | None
    ) -> list[Expression]:
        spec = self._manifest.quality_temperature
        qualities = self._checked(qualities, len(logits))
        factors = [1.0 if spec is None or one is None else spec.factor(one) for one in qualities]
        scaled = logits / np.asarray(factors).reshape(-1, 1)
        return [self._expression(row) for row in softmax(scaled, self._manifest.temperature)]

    @staticmethod
    def _checked(qualities: Sequence[Quality | None] | None, faces: int) -> Sequence[Quality | None]:
        if qualities is None:
            return [None] * faces
        if len(qualities) != faces:
            raise InputError(f"{len(qualities)} qualities for {faces} crops; expected one for each.")
        return qualities

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


def check_max_error(max_error: float | None) -> None:
    """Refuse an error rate that is no share 0..1; None is none."""
    if max_error is not None and not 0 <= max_error <= 1:
        raise InputError(f"max_error is {max_error}; expected a share from 0 to 1, 0.05 for 5 %.")


def _least_confidence(model: LoadedModel, max_error: float) -> float:
    """The probability from which labels were wrong at most this often, where the most faces keep theirs."""
    points = model.manifest.risk_coverage
    if not points:
        raise ModelError(
            f"{model.path}: its manifest does not tell how often labels are wrong (risk_coverage), so max_error "
            "means nothing. Export the model again, with --data."
        )
    if allowed := [point for point in points if point.error <= max_error]:
        return max(allowed, key=lambda point: point.coverage).confidence
    least = min(points, key=lambda point: point.error)
    raise InputError(
        f"max_error is {max_error}; {model.manifest.name} reaches {math.ceil(least.error * 1e4) / 1e4} at best, with "
        f"a label for {least.coverage:.0%} of the faces."
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
