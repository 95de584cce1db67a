"""The analyzer: detect the faces of images and predict their perceived expression, head pose and quality."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from mien.action_units import ACTION_UNIT_NAMES
from mien.class_prior import Prior, log_ratios
from mien.devices import Precision
from mien.errors import MienError, ModelError
from mien.faces.attributes import pose_faces
from mien.faces.landmarks import SINGLE_IMAGE, LandmarkMesh, MeshOptions
from mien.faces.movements import estimate_movements
from mien.faces.quality import SHARPNESS_CROP, face_quality
from mien.imaging import MAX_PIXELS, Color, ImageSource, check_image, is_array
from mien.inference.classifier import ExpressionClassifier
from mien.inference.hints import find_hints
from mien.inference.inputs import InputImage, check_images, read_inputs, without_frames
from mien.inference.networks import Networks, check_unchanged
from mien.inference.options import AnalysisOptions, OptionOverrides
from mien.inference.reduced import enlarge_face, read_detailed
from mien.inference.result import Result
from mien.manifest import Manifest
from mien.parallel import map_in_order
from mien.results import Face, with_expression
from mien.runtime import DEFAULT_MODEL, DETECTOR_SIZE, MIN_CONFIDENCE, LoadedModel, count_workers
from mien.schema import table_columns


class Analyzer:
    """Detect faces and predict their perceived expression, head pose and quality.

    Loading takes a moment: create one analyzer and use it for every image. It is immutable and thread-safe. All
    options but `model`, `threads`, `device` and `precision` are defaults that `analyze` and `analyze_many` override for
    one call. A pickled analyzer loads its networks again; `ModelError` if the `.onnx` file was replaced. Start worker
    processes with spawn or forkserver, because ONNX Runtime can hang after a fork.

    Args:
        model: name of a shipped expression model, or path of an `.onnx` file with its manifest beside it.
        detector_size: images are shrunk to this long side in pixels for face detection; 1280 finds smaller faces in
            more time.
        threads: threads of every network; 0 lets ONNX Runtime choose.
        device: "cpu", "cuda", "cuda:1", "tensorrt", "openvino", "directml", "migraphx" or "coreml"; "auto" takes a GPU
            that the installed build of ONNX Runtime can use, else the CPU. See docs/devices.md.
        precision: "float32" or "int8"; "auto" takes int8 on CPUs on which it is faster, where the model has it.
        pose: fit the landmark mesh and estimate the head pose. Without them a face takes less time, and rotated faces
            are not straightened and may be misclassified.
        action_units: estimate action units, blendshapes and gaze from the mesh. See docs/action-units.md.
        flip_tta: average the logits of each face and its mirror image (test-time augmentation).
        max_faces: number of faces to keep, largest first; None keeps all. 1 is faster, and its box may differ slightly.
        min_confidence: minimum confidence of the face detector, between 0 and 1.
        max_error: abstain unless a label is so confident that at most this share of such labels was wrong on validation
            faces; None uses the model's own `abstain_below`. See docs/reliability.md.
        prior: class frequencies of your images, for which the probabilities are corrected: shares or counts by class,
            "uniform", or a .json or .csv file. See docs/class-priors.md.
        max_pixels: maximum width x height of an image or array; larger files are refused before they are decoded.
        color: order of the channels of arrays; "bgr" for those of OpenCV, so that
            `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` is not needed. Files and Pillow images state their own.

    Raises:
        InputError: if an argument is out of range or of another type, or the model cannot reach `max_error` or lacks a
            class of `prior`.
        DeviceError: if the named device is not available.
        ModelError: if the model is unknown or broken, or its manifest has no error rates for `max_error`, or no class
            frequencies for `prior`.

    Example:
        >>> analyzer = Analyzer()  # doctest: +SKIP
        >>> [face.expression.label for face in analyzer.analyze("photo.jpg")]  # doctest: +SKIP
        ['happiness']
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        detector_size: int = DETECTOR_SIZE,
        threads: int = 0,
        device: str = "auto",
        precision: Precision = "auto",
        pose: bool = True,
        action_units: bool = False,
        flip_tta: bool = False,
        max_faces: int | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        max_error: float | None = None,
        prior: Prior | None = None,
        max_pixels: int = MAX_PIXELS,
        color: Color = "rgb",
    ) -> None:
        self._options = AnalysisOptions(
            detector_size=detector_size,
            pose=pose,
            action_units=action_units,
            flip_tta=flip_tta,
            max_faces=max_faces,
            min_confidence=min_confidence,
            max_error=max_error,
            prior=prior,
            max_pixels=max_pixels,
            color=color,
        )
        self._model = model
        self._networks = Networks(model, threads=threads, device=device, precision=precision, with_mesh=pose)
        self._check_model(self._options)

    def __reduce__(self) -> tuple[object, tuple[()]]:
        """Open the analyzer again from its arguments, when it is copied or unpickled in another process."""
        model = self._networks.model
        # another machine may take the other precision of a shipped model
        manifest = self.classifier.manifest.to_json() if Path(model).suffix == ".onnx" else None
        arguments = {**self._networks.arguments, **vars(self._options)}
        return partial(_reopen, type(self), model, manifest, **arguments), ()

    def __repr__(self) -> str:
        network = self.classifier.network
        running = f"device={network.device!r}, precision={network.precision!r}"
        return f"Analyzer({str(self._model)!r}, {running}, options={self._options})"

    @property
    def options(self) -> AnalysisOptions:
        """Defaults of the options that may differ from call to call."""
        return self._options

    @property
    def classifier(self) -> ExpressionClassifier:
        """The expression classifier behind the analyzer."""
        return self._networks.classifier

    @property
    def mesh(self) -> LandmarkMesh:
        """The landmark mesh; opened on first use with `pose=False`."""
        return self._networks.mesh()

    @property
    def networks(self) -> dict[str, LoadedModel]:
        """The open networks by their role, with the file, device and precision that each one uses."""
        return self._networks.loaded()

    @property
    def action_unit_names(self) -> tuple[str, ...]:
        """Names of the estimated action units; empty without `action_units`."""
        return ACTION_UNIT_NAMES if self._options.action_units else ()

    @property
    def manifest(self) -> Manifest:
        """The manifest of the expression model: labels, calibration, training data.

        With `max_error`, its `abstain_below` is the threshold in use, not the file's.
        """
        threshold = self.classifier.abstention_threshold(self._options.max_error)
        return replace(self.classifier.manifest, abstain_below=threshold)

    def with_options(self, **overrides: Unpack[OptionOverrides]) -> Analyzer:
        """Return an analyzer with other defaults that shares the networks.

        Args:
            overrides: any option of `Analyzer` except `model`, `threads`, `device` and `precision`.

        Raises:
            InputError: if an option is out of range, or the model cannot reach `max_error`.
            ModelError: if the model's manifest has no error rates for `max_error`.
        """
        return self._copy(_options=self._override(**overrides))

    def analyze(self, image: ImageSource, **overrides: Unpack[OptionOverrides]) -> Result:
        """Detect the faces of an image and predict their expressions.

        An image without faces has an empty result. Conditions under which faces may be missed are issued as
        `MienWarning` and listed in `Result.warnings`.

        Args:
            image: a path, the bytes of a file, an open binary file, a Pillow image, or (H, W, 3) uint8 RGB pixels.
            overrides: any option of `Analyzer` except `model`, `threads`, `device` and `precision`, for this call.

        Raises:
            ImageReadError: if the file is missing, broken, too large or not an image.
            InputError: if an option is out of range, or the image has another type, shape or dtype.
            ModelError: if a network fails.
        """
        options = self._override(**overrides)
        result = self._analyze(image, options, options.color, is_array=is_array(image))
        if isinstance(image, str | os.PathLike):
            result = replace(result, source=os.fsdecode(image), image=image)
        result.warn(stacklevel=2)
        return result

    def analyze_many(
        self, images: Iterable[ImageSource], *, workers: int = 0, **overrides: Unpack[OptionOverrides]
    ) -> Iterator[Result]:
        """Yield the result of each image in order; an unreadable image has `Result.error`.

        Images are analyzed in parallel, each by one thread: with several workers and `threads=0` the networks are
        loaded a second time with one thread each. At most `workers` files are decoded at a time, and at most
        4 x `workers` are taken from the iterable before their results are requested. Mutable inputs are copied before
        the next item is requested. If the iterable itself raises, the results of all items before are yielded first.
        Results do not depend on the number of workers.

        Args:
            images: read lazily; see `analyze` for what an image may be.
            workers: number of images analyzed at a time; 0 is one per usable core, 1 analyzes in the calling
                thread, with the networks on all cores.
            overrides: any option of `Analyzer` except `model`, `threads`, `device` and `precision`, for this call.

        Raises:
            InputError: if an option or `workers` is out of range, or a single image is passed.
            ModelError: if a network fails, or the model file was replaced before it is loaded a second time.
        """
        options = self._override(**overrides)
        workers = count_workers(workers)
        check_images(images)
        return self._analyze_many(images, workers, options)

    def _analyze_many(self, images: Iterable[ImageSource], workers: int, options: AnalysisOptions) -> Iterator[Result]:
        analyzer = self if workers == 1 else self._copy(_networks=self._networks.with_one_thread())
        items = read_inputs(images, options, copy=workers > 1)
        with closing(map_in_order(partial(analyzer._analyze_item, options), items, workers)) as results:
            for result in results:
                result.warn(stacklevel=2)
                yield result

    def _copy(self, **changes: object) -> Analyzer:
        other = object.__new__(type(self))
        vars(other).update(vars(self), **changes)
        return other

    def _analyze_item(self, options: AnalysisOptions, item: InputImage) -> Result:
        """Return the result of one image of several, or why it cannot be read."""
        error = item.source
        if not isinstance(error, MienError):
            try:
                result = self._analyze(error, options, item.color, is_array=item.is_array)
                return replace(result, source=item.name, image=item.path)
            except ModelError:
                raise
            except MienError as raised:
                error = without_frames(raised)
        return Result(source=item.name, image=item.path, error=error, columns=self._columns(options))

    def _analyze(self, image: ImageSource, options: AnalysisOptions, color: Color, *, is_array: bool) -> Result:
        decoded, detected = read_detailed(image, partial(self._detect, options=options), options, color=color)
        hints = find_hints(self._networks.detector, decoded.pixels, detected, options, is_array=is_array)
        measured, crops = self._prepare(decoded.pixels, detected, options)
        height, width = decoded.size_hw
        return Result(
            source="image 0",
            width=width,
            height=height,
            faces=tuple(self._classify([enlarge_face(face, decoded.scale) for face in measured], crops, options)),
            warnings=hints,
            image=decoded.pixels if decoded.scale == 1 else image,
            max_faces=options.max_faces,
            columns=self._columns(options),
        )

    def _columns(self, options: AnalysisOptions) -> dict[str, type]:
        return table_columns(self.classifier.manifest.labels, ACTION_UNIT_NAMES if options.action_units else ())

    def detect(self, image: np.ndarray, *, rotated: bool = True) -> list[Face]:
        """Detect the faces of an image, largest first: the first half of `analyze`.

        Args:
            image: (H, W, 3) uint8 RGB.
            rotated: search the image rotated by 90 degrees either way when it shows no upright face.

        Returns:
            Faces with box, landmarks and confidence.

        Raises:
            InputError: if the image has another shape or type.
            ModelError: if the network fails.
        """
        return self._detect(image, self._options, rotated=rotated)

    def predict_faces(
        self, image: np.ndarray, faces: Sequence[Face], mesh_options: MeshOptions = SINGLE_IMAGE
    ) -> list[Face]:
        """Predict head pose, quality and expression of detected faces: the second half of `analyze`.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: faces of that image. A face with a head pose keeps it; with `action_units=True`, one with blendshapes
                does.
            mesh_options: how the mesh is fitted, and the rotation above which its landmarks replace those of the
                detector; `mien.faces.VIDEO_FRAME` for frames of a video.

        Returns:
            The faces in the same order.

        Raises:
            InputError: if the image has another shape or type.
            ModelError: if a network fails.
        """
        check_image(image)
        measured, crops = self._prepare(image, faces, self._options, mesh_options)
        return self._classify(measured, crops, self._options)

    def crop_faces(self, image: np.ndarray, faces: Sequence[Face]) -> tuple[list[Face], list[np.ndarray]]:
        """Return detected faces with head pose and quality, and their aligned crops (S, S, 3) uint8 RGB.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: faces of that image.
        """
        return self._prepare(image, faces, self._options)

    def _override(self, **overrides: Unpack[OptionOverrides]) -> AnalysisOptions:
        options = self._options.override(**overrides)
        if overrides:
            self._check_model(options)
        return options

    def _check_model(self, options: AnalysisOptions) -> None:
        """Raise unless the manifest of the model has what the options need."""
        self.classifier.abstention_threshold(options.max_error)
        if options.prior is not None:
            log_ratios(self.classifier.manifest, options.prior)

    def _detect(self, image: np.ndarray, options: AnalysisOptions, *, rotated: bool = True) -> list[Face]:
        return self._networks.detector.detect(
            image,
            rotated=rotated,
            min_confidence=options.min_confidence,
            max_side=options.detector_size,
            max_faces=options.max_faces,
        )

    def _prepare(
        self,
        image: np.ndarray,
        faces: Sequence[Face],
        options: AnalysisOptions,
        mesh_options: MeshOptions = SINGLE_IMAGE,
    ) -> tuple[list[Face], list[np.ndarray]]:
        mesh = self._networks.mesh() if options.pose and faces else None
        posed = pose_faces(image, faces, mesh, mesh_options, detailed=options.action_units)
        if options.action_units and posed:
            posed = estimate_movements(posed, self._networks.blendshapes())
        crops = [self.classifier.crop(image, face) for face in posed]
        aligned = crops if self.classifier.framing == SHARPNESS_CROP else [None] * len(crops)
        qualities = [face_quality(image, face, crop=crop) for face, crop in zip(posed, aligned, strict=True)]
        return [replace(face, quality=quality) for face, quality in zip(posed, qualities, strict=True)], crops

    def _classify(self, faces: Sequence[Face], crops: Sequence[np.ndarray], options: AnalysisOptions) -> list[Face]:
        if not crops:
            return []
        expressions = self.classifier.classify(
            np.stack(crops),
            qualities=[face.quality for face in faces],
            flip_tta=options.flip_tta,
            max_error=options.max_error,
            prior=options.prior,
        )
        return [with_expression(face, one) for face, one in zip(faces, expressions, strict=True)]


def _reopen(kind: type[Analyzer], model: str | Path, manifest: str | None, **arguments: Any) -> Analyzer:
    """Return an analyzer from its arguments, with the model of the JSON manifest unless it is None."""
    analyzer = kind(model, **arguments)
    if manifest is not None:
        check_unchanged(analyzer.classifier.network.path, manifest, analyzer.classifier.manifest)
    return analyzer
