"""The analyzer: detect the faces of images and predict their perceived expression, head pose and quality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike, fsdecode
from pathlib import Path
from typing import Unpack

import numpy as np

from mien.action_units import ACTION_UNIT_NAMES
from mien.arguments import check_integer
from mien.devices import Precision
from mien.errors import MienError, ModelError
from mien.faces.attributes import measure_faces
from mien.faces.detection import DETECTOR_SIZE
from mien.faces.landmarks import MAX_TILT_DEG
from mien.faces.movements import estimate_movements
from mien.imaging import MAX_PIXELS, Color, ImageSource, check_image, is_array, read_image
from mien.inference.classifier import ExpressionClassifier
from mien.inference.hints import find_hints
from mien.inference.networks import Networks
from mien.inference.options import AnalysisOptions, OptionOverrides
from mien.inference.prefetch import DecodedImage, check_images, without_frames
from mien.inference.prefetch import decode_ahead as decode_in_background
from mien.inference.result import Result
from mien.manifest import Manifest
from mien.results import Face, with_expression
from mien.runtime import DEFAULT_MODEL, LoadedModel


class Analyzer:
    """Detect faces and predict their perceived expression, head pose and quality.

    Loading takes a moment: create one analyzer and use it for every image. It is immutable and thread-safe. All
    options but `threads`, `device` and `precision` are defaults that `analyze` and `analyze_many` override for one
    call. Pickled, it is opened again: in other processes, start them by spawn or forkserver, because ONNX Runtime can
    hang after a fork.

    Args:
        model: name of a shipped expression model, or path of an `.onnx` file with its manifest beside it.
        detector_size: images are shrunk to this long side in pixels for face detection; 1280 finds smaller faces in
            more time.
        threads: threads of every network; 0 lets ONNX Runtime choose.
        device: "cpu", "cuda", "cuda:1", "tensorrt", "openvino", "directml", "migraphx" or "coreml"; "auto" takes a GPU
            that the installed build of ONNX Runtime can use, else the CPU. See docs/devices.md.
        precision: "float32" or "int8"; "auto" takes int8 on CPUs with int8 dot products, where the model has it.
        pose: fit the landmark mesh and estimate the head pose. Without them a face takes less time, and rotated faces
            are not straightened and may be misclassified.
        action_units: estimate action units, blendshapes and gaze from the mesh. See docs/action-units.md.
        flip_tta: average the logits of each face and its mirror image (test-time augmentation).
        max_faces: number of faces to keep, the largest first; None keeps all.
        min_confidence: minimum confidence of the face detector, between 0 and 1.
        max_error: abstain unless a label is so confident that at most this share of such labels was wrong on validation
            faces; None uses the model's own `abstain_below`. See docs/reliability.md.
        max_pixels: maximum width x height of an image; larger images are refused before they are decoded.
        color: order of the channels of arrays; "bgr" for those of OpenCV, so that
            `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` is not needed. Files and Pillow images state their own.

    Raises:
        InputError: if an argument is out of range or of another type, or the model cannot reach `max_error`.
        DeviceError: if the named device is not available.
        ModelError: if the model is unknown or broken, or its manifest has no error rates for `max_error`.

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
        min_confidence: float = 0.6,
        max_error: float | None = None,
        max_pixels: int = MAX_PIXELS,
        color: Color = "rgb",
    ) -> None:
        threads = check_integer("threads", threads, 0, meaning="(0 is automatic)")
        self._options = AnalysisOptions(
            detector_size=detector_size,
            pose=pose,
            action_units=action_units,
            flip_tta=flip_tta,
            max_faces=max_faces,
            min_confidence=min_confidence,
            max_error=max_error,
            max_pixels=max_pixels,
            color=color,
        )
        self._model = model
        self._networks = Networks(model, threads=threads, device=device, precision=precision, with_mesh=pose)
        self._detector = self._networks.detector
        self._classifier = self._networks.classifier
        self._classifier.abstention_threshold(max_error)

    def __reduce__(self) -> tuple[object, tuple[()]]:
        """Open the analyzer again from its arguments, when it is copied or unpickled in another process."""
        is_file = Path(self._model).suffix == ".onnx"
        model = str(Path(self._model).resolve()) if is_file else self._model
        return partial(type(self), model, **self._networks.arguments, **vars(self._options)), ()

    def __repr__(self) -> str:
        network = self._classifier.network
        running = f"device={network.device!r}, precision={network.precision!r}"
        return f"Analyzer({str(self._model)!r}, {running}, options={self._options})"

    @property
    def detector_size(self) -> int:
        """Long side in pixels at which faces are detected."""
        return self._options.detector_size

    @property
    def options(self) -> AnalysisOptions:
        """Defaults of the options that may differ from call to call."""
        return self._options

    @property
    def classifier(self) -> ExpressionClassifier:
        """The expression classifier behind the analyzer."""
        return self._classifier

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
        threshold = self._classifier.abstention_threshold(self._options.max_error)
        return replace(self._classifier.manifest, abstain_below=threshold)

    def with_options(self, **overrides: Unpack[OptionOverrides]) -> Analyzer:
        """Return an analyzer with other defaults that shares the networks.

        Args:
            overrides: options of `Analyzer`, from `detector_size` on.

        Raises:
            InputError: if an option is out of range, or the model cannot reach `max_error`.
            ModelError: if the model's manifest has no error rates for `max_error`.
        """
        other = object.__new__(type(self))
        vars(other).update(vars(self), _options=self._override(**overrides))
        return other

    def analyze(self, image: ImageSource, **overrides: Unpack[OptionOverrides]) -> Result:
        """Detect the faces of an image and predict their expressions.

        An image without faces has an empty result. What keeps faces from being found is a `MienWarning`, and in
        `Result.warnings`.

        Args:
            image: a path, the bytes of a file, an open binary file, a Pillow image, or (H, W, 3) uint8 RGB pixels.
            overrides: options of `Analyzer`, from `detector_size` on, for this call.

        Raises:
            ImageReadError: if the file is missing, broken, too large or not an image.
            InputError: if an option is out of range, or the image has another type, shape or dtype.
            ModelError: if a network fails.
        """
        options = self._override(**overrides)
        pixels = read_image(image, max_pixels=options.max_pixels, color=options.color)
        detected = self._detect(pixels, options)
        hints = find_hints(self._detector, pixels, detected, options, is_array=is_array(image))
        faces, crops = self._prepare(pixels, detected, options)
        is_path = isinstance(image, str | PathLike)
        result = Result(
            source=fsdecode(image) if is_path else "image 0",
            width=pixels.shape[1],
            height=pixels.shape[0],
            faces=tuple(self._classify(faces, crops, options)),
            warnings=hints,
            image=image if is_path else pixels,
        )
        result.warn(stacklevel=2)
        return result

    def analyze_many(
        self,
        images: Iterable[ImageSource],
        *,
        batch_faces: int = 32,
        decode_ahead: int = 4,
        **overrides: Unpack[OptionOverrides],
    ) -> Iterator[Result]:
        """Yield the result of each image in order; an unreadable image has `Result.error`.

        Images are decoded in background threads, and faces of several images are classified in one batch. At most
        about `decode_ahead` + 1 images and `batch_faces` crops are in memory. Mutable inputs are copied before the next
        item is requested. If the iterable itself raises, the results of all items before are yielded first.

        Args:
            images: read lazily; see `analyze` for what an image may be.
            batch_faces: number of faces, or of images, that are collected before results are yielded.
            decode_ahead: number of images decoded before they are needed; 0 decodes each when it is needed.
            overrides: options of `Analyzer`, from `detector_size` on, for this call.

        Raises:
            InputError: if an option or `batch_faces` or `decode_ahead` is out of range, or a single image is passed.
            ModelError: if a network fails.
        """
        options = self._override(**overrides)
        batch_faces = check_integer("batch_faces", batch_faces, 1)
        decode_ahead = check_integer("decode_ahead", decode_ahead, 0)
        check_images(images)
        return self._analyze_many(images, batch_faces, decode_ahead, options)

    def _analyze_many(
        self, images: Iterable[ImageSource], batch_faces: int, decode_ahead: int, options: AnalysisOptions
    ) -> Iterator[Result]:
        batch = _Batch(self, options)
        with closing(decode_in_background(images, decode_ahead, options)) as decoded:
            while True:
                try:
                    item = next(decoded)
                except StopIteration:
                    break
                except Exception:
                    # the caller's own iterable failed: results of the images before it are complete
                    yield from batch.finish()
                    raise
                batch.add(item)
                # only the crops are needed from here on
                del item
                if len(batch) >= batch_faces:
                    yield from batch.finish()
        yield from batch.finish()

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
        self, image: np.ndarray, faces: Sequence[Face], *, max_tilt_deg: float = MAX_TILT_DEG, rotated: bool = True
    ) -> list[Face]:
        """Predict head pose, quality and expression of detected faces: the second half of `analyze`.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: faces of that image. A face with a head pose keeps it.
            max_tilt_deg: see `LandmarkMesh.fit`.
            rotated: see `LandmarkMesh.fit`. The landmarks of a face whose mesh contradicts the detector about its
                rotation are replaced by those of the mesh.

        Returns:
            The faces in the same order.

        Raises:
            InputError: if the image has another shape or type.
            ModelError: if a network fails.
        """
        check_image(image)
        measured, crops = self._prepare(image, faces, self._options, max_tilt_deg=max_tilt_deg, rotated=rotated)
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
            self._classifier.abstention_threshold(options.max_error)
        return options

    def _detect(self, image: np.ndarray, options: AnalysisOptions, *, rotated: bool = True) -> list[Face]:
        faces = self._detector.detect(
            image, rotated=rotated, min_confidence=options.min_confidence, max_side=options.detector_size
        )
        return faces[: options.max_faces]

    def _prepare(
        self,
        image: np.ndarray,
        faces: Sequence[Face],
        options: AnalysisOptions,
        *,
        max_tilt_deg: float = MAX_TILT_DEG,
        rotated: bool = True,
    ) -> tuple[list[Face], list[np.ndarray]]:
        mesh = self._networks.mesh() if options.pose and faces else None
        measured = measure_faces(image, faces, mesh, max_tilt_deg=max_tilt_deg, rotated=rotated)
        if options.action_units and measured:
            measured = estimate_movements(measured, self._networks.blendshapes())
        return measured, [self._classifier.crop(image, face) for face in measured]

    def _classify(self, faces: Sequence[Face], crops: Sequence[np.ndarray], options: AnalysisOptions) -> list[Face]:
        if not crops:
            return []
        expressions = self._classifier.classify(
            np.stack(crops),
            qualities=[face.quality for face in faces],
            flip_tta=options.flip_tta,
            max_error=options.max_error,
        )
        return [with_expression(face, one) for face, one in zip(faces, expressions, strict=True)]


@dataclass
class _Batch:
    """Images whose faces are detected, measured and cropped, and wait to be classified together."""

    analyzer: Analyzer
    options: AnalysisOptions
    results: list[Result] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return max(len(self.crops), len(self.results))

    def add(self, item: DecodedImage) -> None:
        """Detect and crop the faces of one image, or record why it has no pixels."""
        result = Result(source=item.name, image=item.path)
        pixels = item.pixels
        if isinstance(pixels, MienError):
            self.results.append(replace(result, error=pixels))
            return
        analyzer = self.analyzer
        try:
            detected = analyzer._detect(pixels, self.options)
            hints = find_hints(analyzer._detector, pixels, detected, self.options, is_array=item.is_array)
            faces, crops = analyzer._prepare(pixels, detected, self.options)
        except ModelError:
            raise
        except MienError as error:
            self.results.append(replace(result, error=without_frames(error)))
            return
        self.crops += crops
        height, width = pixels.shape[:2]
        self.results.append(replace(result, width=width, height=height, faces=tuple(faces), warnings=hints))

    def finish(self) -> Iterator[Result]:
        """Classify all faces, empty the batch and yield the results in order."""
        results, crops = self.results, self.crops
        self.results, self.crops = [], []
        faces = [face for result in results for face in result.faces]
        predicted = iter(self.analyzer._classify(faces, crops, self.options))
        for result in results:
            result.warn(stacklevel=3)
            yield replace(result, faces=tuple(next(predicted) for _ in result.faces))
