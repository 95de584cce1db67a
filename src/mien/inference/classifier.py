"""The expression classifier: aligned face crops in, calibrated probabilities out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mien.arguments import check_share
from mien.class_prior import Prior, log_ratios
from mien.devices import Precision
from mien.errors import InputError, ModelError
from mien.faces.alignment import MARGINS, TEMPLATES, Framing, align_face
from mien.inference.occlusion import face_regions, hide_region
from mien.manifest import Manifest
from mien.metrics import softmax
from mien.results import Explanation, Expression, Face, Quality, choose_label
from mien.runtime import DEFAULT_MODEL, LoadedModel, load_model

BATCH = 32
"""Maximum number of crops per network call; more cost memory and gain no time on a CPU."""
BATCH_BY_DEVICE = {"openvino": 1}
"""Other maxima. OpenVINO 2025.4 computes logits of `expression` in batches that differ from single faces by 0.24."""

AFFECT = "valence_arousal"
"""Name of the output of a model with a head for valence and arousal, (N, 2)."""


class ExpressionClassifier:
    """An expression model with its calibration; thread-safe.

    Args:
        model: name of a shipped model, or path of an `.onnx` file with its manifest beside it.
        threads: threads of ONNX Runtime; 0 lets it choose.
        device: where the network runs; see `mien.runtime.open_session`.
        precision: float32 or int8 arithmetic; see `mien.runtime.load_model`.

    Attributes:
        network: the loaded model file.
        has_affect: whether the model predicts valence and arousal.

    Raises:
        InputError: if the device or the precision is unknown.
        DeviceError: if the device is not available.
        ModelError: if the model is unknown, is not an expression model or contradicts its manifest.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        threads: int = 0,
        *,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.network = load_model(model, task="expression", threads=threads, device=device, precision=precision)
        _check_graph(self.network)
        self._manifest = self.network.manifest
        self._path = self.network.path
        self.has_affect = any(node.name == AFFECT for node in self.network.session.get_outputs())
        self._batch = BATCH_BY_DEVICE.get(self.network.device.partition(":")[0], BATCH)

    @property
    def manifest(self) -> Manifest:
        """The model's manifest: labels, input size, alignment, temperature."""
        return self._manifest

    @property
    def framing(self) -> Framing:
        """Framing of the model's crops."""
        alignment = self._manifest.alignment
        # read_manifest rejects an expression manifest without one
        assert alignment is not None
        return Framing(size=self._manifest.input.size, template=alignment.template, margin=alignment.margin)

    def crop(self, image: np.ndarray, face: Face, *, size: int | None = None) -> np.ndarray:
        """Return the aligned crop of a face, (S, S, 3) uint8 RGB.

        Args:
            image: (H, W, 3) uint8 RGB.
            face: a face of that image.
            size: side S in pixels; by default the model's input size. Other sizes show the same part of the image.
        """
        framing = self.framing
        size = size or framing.size
        return align_face(image, face.landmarks_xy, size=size, template=framing.template, margin=framing.margin)

    def logits(self, crops: np.ndarray, *, flip_tta: bool = False) -> np.ndarray:
        """Return the unnormalized scores (N, C) float32, before the temperature.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            flip_tta: average with the logits of the mirrored crops, in twice the time.

        Raises:
            InputError: if the crops have another shape or type.
            ModelError: if the network fails, or returns another number of classes than its manifest names or values
                that are not finite.
        """
        self._check_crops(crops)
        batches = [self._run(batch, ["logits"], flip_tta)[0] for batch in self._batches(crops)]
        classes = len(self._manifest.labels)
        return np.concatenate(batches) if batches else np.empty((0, classes), dtype=np.float32)

    def embeddings(self, crops: np.ndarray, *, flip_tta: bool = False) -> np.ndarray:
        """Return the features (N, D) float32 before the last layer; similar expressions are close.

        They are not suitable for recognizing people. See `logits` for the arguments.

        Raises:
            InputError: if the crops have another shape or type.
            ModelError: if the model file has no embedding output, or the network fails.
        """
        return self.features(crops, flip_tta=flip_tta)[1]

    def features(self, crops: np.ndarray, *, flip_tta: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (N, C) and embeddings (N, D) of one pass; see `logits` and `embeddings`."""
        self._check_crops(crops)
        self._check_outputs("return embeddings", ["logits", "embedding"])
        runs = [self._run(batch, ["logits", "embedding"], flip_tta) for batch in self._batches(crops)]
        if not runs:
            widths = (len(self._manifest.labels), self.embedding_width)
            return np.empty((0, widths[0]), dtype=np.float32), np.empty((0, widths[1]), dtype=np.float32)
        return np.concatenate([run[0] for run in runs]), np.concatenate([run[1] for run in runs])

    @property
    def embedding_width(self) -> int:
        """Number of features of an embedding.

        Raises:
            ModelError: if the model file has no embedding output.
        """
        self._check_outputs("return embeddings", ["embedding"])
        crop = np.zeros((1, self._manifest.input.size, self._manifest.input.size, 3), dtype=np.uint8)
        return self._run(crop, ["logits", "embedding"], False)[1].shape[1]

    def classify(
        self,
        crops: np.ndarray,
        *,
        qualities: Sequence[Quality | None] | None = None,
        flip_tta: bool = False,
        max_error: float | None = None,
        prior: Prior | None = None,
    ) -> list[Expression]:
        """Return the perceived expression of every crop.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            qualities: qualities of the N faces. Small and blurred faces get a higher temperature if the manifest has a
                `quality_temperature`; None, as a whole or for one face, keeps the temperature.
            flip_tta: see `logits`.
            max_error: see `abstention_threshold`.
            prior: class frequencies of the user's setting; see `mien.class_prior`.

        Raises:
            InputError: if the crops have another shape or type, the number of qualities differs, or the model cannot
                reach `max_error` or lacks a class of the prior.
            ModelError: see `logits`, `abstention_threshold` and `mien.class_prior.log_ratios`.
        """
        threshold = self.abstention_threshold(max_error)
        shift = 0.0 if prior is None else log_ratios(self._manifest, prior)
        logits, affect = self.predict(crops, flip_tta=flip_tta)
        return self._expressions(logits, qualities, threshold, shift, affect)

    def predict(self, crops: np.ndarray, *, flip_tta: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Return logits (N, C), and valence and arousal (N, 2) if the model has a head for them; see `logits`."""
        if not self.has_affect:
            return self.logits(crops, flip_tta=flip_tta), None
        self._check_crops(crops)
        runs = [self._run(batch, ["logits", AFFECT], flip_tta) for batch in self._batches(crops)]
        if not runs:
            return self.logits(crops), np.empty((0, 2), dtype=np.float32)
        logits, affect = (np.concatenate(outputs) for outputs in zip(*runs, strict=True))
        if affect.shape[1:] != (2,):
            raise ModelError(f"{self._path} returned {AFFECT} {affect.shape}; expected two columns. Export it again.")
        return logits, affect

    def explain(
        self,
        crops: np.ndarray,
        *,
        qualities: Sequence[Quality | None] | None = None,
        flip_tta: bool = False,
        max_error: float | None = None,
        prior: Prior | None = None,
    ) -> list[Explanation]:
        """Return the expression and class-activation maps of every crop, and the predictions with hidden regions.

        A region is filled with the mean color of the crop.

        Args:
            crops: (N, S, S, 3) uint8 RGB.
            qualities: see `classify`.
            flip_tta: see `logits`; the maps are those of the crop, not of its mirror image.
            max_error: see `abstention_threshold`.
            prior: see `classify`.

        Raises:
            InputError, ModelError: see `classify`; also if the model file has no maps.

        Source:
            Zhou et al. (CVPR 2016). For a head of average pooling and one linear layer Grad-CAM gives the same maps up
            to a factor (Selvaraju et al., ICCV 2017).
        """
        self._check_crops(crops)
        self._check_outputs("be explained", ["logits", "maps"])
        qualities = self._match_qualities(qualities, len(crops))
        options = {"flip_tta": flip_tta, "max_error": max_error, "prior": prior}
        return [
            explanation
            for start in range(0, len(crops), self._batch)
            for explanation in self._explain(
                crops[start : start + self._batch], qualities[start : start + self._batch], options
            )
        ]

    def abstention_threshold(self, max_error: float | None) -> float:
        """Return the minimum confidence of a label.

        Args:
            max_error: maximum share of wrong labels on validation faces, 0..1; None uses the manifest's
                `abstain_below`. Of all thresholds in `Manifest.risk_coverage` that keep it, the one with the highest
                coverage is returned.

        Raises:
            InputError: if `max_error` is not a share, or the model cannot reach it.
            ModelError: if the manifest has no error rates.
        """
        if max_error is None:
            return self._manifest.abstain_below
        max_error = check_share("max_error", max_error, example="0.05")
        points = self._manifest.risk_coverage
        if not points:
            raise ModelError(
                f"{self._path}: its manifest has no error rates (risk_coverage), so max_error has no meaning. Export "
                "the model again with --data."
            )
        if allowed := [point for point in points if point.error <= max_error]:
            return max(allowed, key=lambda point: point.coverage).confidence
        lowest = min(points, key=lambda point: point.error)
        raise InputError(
            f"max_error is {max_error}; {self._manifest.name} reaches {math.ceil(lowest.error * 1e4) / 1e4} at best, "
            f"with a label for {lowest.coverage:.0%} of the faces."
        )

    def _explain(
        self, crops: np.ndarray, qualities: Sequence[Quality | None], options: Mapping[str, Any]
    ) -> list[Explanation]:
        logits, maps = self._run(crops, ["logits", "maps"])
        if maps.ndim != 4 or maps.shape[:2] != logits.shape:
            raise ModelError(
                f"{self._path} returned maps {maps.shape} for {len(crops)} crops and {logits.shape[1]} labels. Export "
                "the model again."
            )
        expressions = self.classify(crops, qualities=qualities, **options)
        alignment = self._manifest.alignment
        assert alignment is not None
        hidden = {
            region.name: self.classify(hide_region(crops, region), qualities=qualities, **options)
            for region in face_regions(alignment.margin)
        }
        return [
            Explanation(
                expression=expression,
                maps=class_maps,
                hidden={name: predictions[face].probabilities for name, predictions in hidden.items()},
            )
            for face, (expression, class_maps) in enumerate(zip(expressions, maps, strict=True))
        ]

    def _check_outputs(self, action: str, names: list[str]) -> None:
        present = [node.name for node in self.network.session.get_outputs()]
        if missing := [name for name in names if name not in present]:
            raise ModelError(
                f"{self._path} cannot {action}: it has no output {' or '.join(missing)}. "
                "Export it again with this version of mien."
            )

    def _batches(self, crops: np.ndarray) -> list[np.ndarray]:
        return [crops[start : start + self._batch] for start in range(0, len(crops), self._batch)]

    def _check_crops(self, crops: np.ndarray) -> None:
        size = self._manifest.input.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            raise InputError(f"expected crops (N, {size}, {size}, 3) uint8, got {crops.shape} {crops.dtype}.")

    def _run(self, crops: np.ndarray, names: list[str], flip_tta: bool = False) -> list[np.ndarray]:
        """Return the named outputs of the graph, `logits` first; other outputs are not computed."""
        outputs = self._run_once(crops, names)
        if not flip_tta:
            return outputs
        mirrored = self._run_once(crops[:, :, ::-1], names)
        return [(one + other) / 2 for one, other in zip(outputs, mirrored, strict=True)]

    def _run_once(self, crops: np.ndarray, names: list[str]) -> list[np.ndarray]:
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        outputs = self.network.run(names, {"images": images})
        if outputs[0].shape != (len(crops), len(self._manifest.labels)):
            raise ModelError(
                f"{self._path} returned logits {outputs[0].shape} for {len(crops)} crops; its manifest names "
                f"{len(self._manifest.labels)} labels. Export the model again."
            )
        for name, output in zip(names, outputs, strict=True):
            if not np.isfinite(output).all():
                raise ModelError(f"{self._path} returned {name} that are not finite: its weights are broken.")
        return outputs

    def _expressions(
        self,
        logits: np.ndarray,
        qualities: Sequence[Quality | None] | None,
        threshold: float,
        shift: np.ndarray | float = 0.0,
        affect: np.ndarray | None = None,
    ) -> list[Expression]:
        """Return calibrated expressions; `shift` (C,) is added to the log probabilities, `affect` is (N, 2)."""
        values = [None] * len(logits) if affect is None else [(float(v), float(a)) for v, a in affect]
        spec = self._manifest.quality_temperature
        qualities = self._match_qualities(qualities, len(logits))
        factors = [1.0 if spec is None or quality is None else spec.factor(quality) for quality in qualities]
        scaled = logits / np.asarray(factors).reshape(-1, 1) + self._manifest.temperature * shift
        expressions = []
        for probabilities, trained_affect in zip(softmax(scaled, self._manifest.temperature), values, strict=True):
            label, confidence = choose_label(self._manifest.labels, probabilities, threshold)
            expressions.append(
                Expression(
                    labels=self._manifest.labels,
                    probabilities=probabilities,
                    label=label,
                    confidence=confidence,
                    trained_affect=trained_affect,
                )
            )
        return expressions

    @staticmethod
    def _match_qualities(qualities: Sequence[Quality | None] | None, faces: int) -> Sequence[Quality | None]:
        if qualities is None:
            return [None] * faces
        if len(qualities) != faces:
            raise InputError(f"{len(qualities)} qualities for {faces} crops; expected one for each.")
        return qualities


def _check_graph(model: LoadedModel) -> None:
    """Raise ModelError if a network does not keep the contract of an expression model."""
    manifest = model.manifest
    spec = manifest.input
    if (spec.channels, spec.layout, spec.range) != ("RGB", "NCHW", (0.0, 255.0)):
        raise ModelError(f"{model.path}: an expression model expects NCHW RGB 0..255. Export the model again.")
    alignment = manifest.alignment
    if alignment is not None and alignment.template not in TEMPLATES:
        raise ModelError(
            f"{model.path}: unknown alignment template {alignment.template!r}; expected one of {', '.join(TEMPLATES)}."
        )
    if alignment is not None and not MARGINS[0] <= alignment.margin <= MARGINS[1]:
        raise ModelError(
            f"{model.path}: the alignment margin is {alignment.margin}; expected {MARGINS[0]} to {MARGINS[1]}."
        )
    inputs = {node.name: node.shape for node in model.session.get_inputs()}
    outputs = {node.name: node.shape for node in model.session.get_outputs()}
    if list(inputs) != ["images"] or "logits" not in outputs:
        raise ModelError(
            f"{model.path} has inputs {', '.join(inputs)} and outputs {', '.join(outputs)}; "
            "an expression model has the input 'images' and the output 'logits'. Export the model again."
        )
    expectations = (
        ("takes images", inputs["images"], (3, spec.size, spec.size), f"an input size of {spec.size}"),
        ("returns logits", outputs["logits"], (len(manifest.labels),), f"{len(manifest.labels)} labels"),
    )
    for action, shape, sizes, promise in expectations:
        if not _fits(shape, sizes):
            text = ", ".join(map(str, shape))
            raise ModelError(f"{model.path} {action} ({text}); its manifest names {promise}. Export the model again.")


def _fits(shape: Sequence[object], sizes: tuple[int, ...]) -> bool:
    """Return whether a graph's shape is (N, *sizes); a dynamic size fits every size, as does an unstated shape."""
    fits = [actual == size or not isinstance(actual, int) for actual, size in zip(shape[1:], sizes, strict=False)]
    return not shape or (len(shape) == 1 + len(sizes) and all(fits))
