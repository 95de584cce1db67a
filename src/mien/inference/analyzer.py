"""From images to faces: the whole pipeline behind one object."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field, replace
from itertools import islice
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import InputError, MienError, ModelError
from mien.faces import LandmarkMesh
from mien.faces.attributes import measure_faces
from mien.faces.detection import FaceDetector, check_detector_size
from mien.faces.landmarks import MAX_TILT_DEG
from mien.imaging import ImageSource, check_image, is_pillow, read_image
from mien.inference.classifier import ExpressionClassifier, check_max_error
from mien.manifest import Manifest
from mien.results import Face
from mien.runtime import DEFAULT_MODEL, usable_cores


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What one image of many gave.

    Attributes:
        source: the path as it was handed over, or `image 3` for pixels and bytes, counted from 0.
        width: in pixels, upright; 0 when the image could not be read.
        height: likewise.
        faces: largest first; empty when there is none or the image could not be read.
        error: why it could not be read, or None.
    """

    source: str
    width: int = 0
    height: int = 0
    faces: tuple[Face, ...] = ()
    error: MienError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: one line of `mien predict --json`."""
        return {
            "image": self.source,
            "width": self.width,
            "height": self.height,
            "faces": [face.to_dict() for face in self.faces],
            "error": {"code": self.error.code, "message": str(self.error)} if self.error else None,
        }


@dataclass(frozen=True, eq=False)
class Analyzer:
    """Finds the faces of an image and reads their perceived expression, head pose and quality.

    Loading takes a moment; keep one and use it for every image. It never changes, and threads may share it.

    Args:
        model: a shipped expression model's name or the path of an `.onnx` file with its manifest beside it.
        detector_size: images are shrunk to this long side to find faces; 1280 finds smaller ones, slowly.
        min_confidence: least confidence of a face, 0..1.
        max_faces: keep only the largest ones; None keeps all.
        pose: fit the landmark mesh and the head pose; without them a face takes less time, and one that lies on its
            side or upside down is not straightened and may be read wrongly.
        flip_tta: read every face twice, mirrored too, and average: a little better, and slower.
        max_error: give a label only to faces so sure that at most this share of such labels was wrong on validation
            faces; None: the model's own `abstain_below`. See docs/reliability.md for what it costs.
        threads: of every network; 0 lets ONNX Runtime choose.

    Raises:
        InputError: when an argument is out of its range, or the model cannot reach `max_error`.
        ModelError: when the model is unknown or broken, or does not tell its error for `max_error`.

    Example:
        >>> analyzer = Analyzer()  # doctest: +SKIP
        >>> [face.expression.label for face in analyzer.analyze("photo.jpg")]  # doctest: +SKIP
        ['happiness']
    """

    model: str | Path = DEFAULT_MODEL
    _: KW_ONLY
    detector_size: int = 640
    min_confidence: float = 0.6
    max_faces: int | None = None
    pose: bool = True
    flip_tta: bool = False
    max_error: float | None = None
    threads: int = 0
    _detector: FaceDetector = field(init=False, repr=False)
    _mesh: LandmarkMesh | None = field(init=False, repr=False)
    _classifier: ExpressionClassifier = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_faces is not None and self.max_faces < 1:
            raise InputError(f"max_faces is {self.max_faces}; expected 1 or more.")
        if self.threads < 0:
            raise InputError(f"threads is {self.threads}; expected 0 (automatic) or more.")
        check_detector_size("detector_size", self.detector_size)
        check_max_error(self.max_error)
        with ThreadPoolExecutor(3) as pool:  # ONNX Runtime loads side by side: half the time to start
            detector = pool.submit(
                FaceDetector,
                max_size=self.detector_size,
                min_confidence=self.min_confidence,
                threads=self.threads,
            )
            classifier = pool.submit(
                ExpressionClassifier, self.model, threads=self.threads, max_error=self.max_error
            )
            mesh = pool.submit(LandmarkMesh, threads=self.threads) if self.pose else None
        # the only writes: a frozen dataclass sets what it builds itself this way
        object.__setattr__(self, "_detector", detector.result())
        object.__setattr__(self, "_classifier", classifier.result())
        object.__setattr__(self, "_mesh", mesh.result() if mesh else None)

    @property
    def manifest(self) -> Manifest:
        """What the expression model promises: labels, calibration, the data behind it."""
        return self._classifier.manifest

    def analyze(self, image: ImageSource) -> list[Face]:
        """The faces of one image, largest first; an empty list when there is none.

        Args:
            image: a path, the bytes of a file, an open binary file, a Pillow image, or pixels (H, W, 3)
                uint8 RGB.

        Raises:
            ImageReadError: when the file is missing, broken, too large or no image.
            InputError: when pixels of another shape or type, or something else, are handed over.
            ModelError: when a network fails.
        """
        waiting = _Waiting(self, batch_faces=1)
        waiting.add("", read_image(image))
        analysis = next(waiting.finish())
        if analysis.error is not None:
            raise analysis.error
        return list(analysis.faces)

    def analyze_many(
        self, images: Iterable[ImageSource], *, batch_faces: int = 32, decode_ahead: int = 4
    ) -> Iterator[Analysis]:
        """The faces of many images, in the images' order; a bad image is told in its `Analysis.error`.

        Images are decoded ahead in other threads, and the faces of several images go through the network
        together. Only about `decode_ahead` + 1 images and `batch_faces` crops are in memory at once. What the caller
        goes on to change or close, an array, an open file or a Pillow image, is taken over before the next one is asked
        for. When the iterable itself fails, what came before is given first, then its error is raised.

        Args:
            images: read lazily; see `analyze` for what one may be.
            batch_faces: results come when this many faces, or images, have gathered.
            decode_ahead: images decoded before they are needed.

        Raises:
            InputError: when `batch_faces` or `decode_ahead` is below 1, or one image is given instead of several.
            ModelError: when a network itself fails: no image's fault.
        """
        if batch_faces < 1 or decode_ahead < 1:
            raise InputError("batch_faces and decode_ahead must be 1 or more.")
        if _is_one_image(images):
            raise InputError(
                "analyze_many wants several images, a list or a generator; one image goes to analyze."
            )
        return self._analyze_many(images, batch_faces, decode_ahead)

    def _analyze_many(
        self, images: Iterable[ImageSource], batch_faces: int, decode_ahead: int
    ) -> Iterator[Analysis]:
        waiting = _Waiting(self, batch_faces=batch_faces)
        with closing(_decoded_ahead(images, decode_ahead)) as pictures:
            while True:
                try:
                    source, decoded = next(pictures)
                except StopIteration:
                    break
                except Exception:  # the caller's own: what was read before it is still theirs
                    yield from waiting.finish()
                    raise
                waiting.add(source, decoded)
                del decoded  # the pixels: from here on only the crops are needed
                if waiting.is_full:
                    yield from waiting.finish()
        yield from waiting.finish()

    def detect(self, image: np.ndarray, *, rotated: bool = True) -> list[Face]:
        """Boxes and landmarks of the faces in an image (H, W, 3) uint8 RGB, largest first: the first half of `analyze`.

        Args:
            image: to search.
            rotated: see `FaceDetector.detect`.

        Raises:
            InputError: when pixels of another shape or type are handed over.
            ModelError: when the network fails.
        """
        return self._detector.detect(image, rotated=rotated)[: self.max_faces]

    def predict_faces(
        self,
        image: np.ndarray,
        faces: Sequence[Face],
        *,
        max_tilt_deg: float = MAX_TILT_DEG,
        rotated: bool = True,
    ) -> list[Face]:
        """Faces of an image (H, W, 3) uint8 RGB with pose, quality and expression, in order: the second half.

        A face that comes with a head pose keeps it. `max_tilt_deg` and `rotated` are those of `LandmarkMesh.fit`. One
        whose mesh is rotated against its landmarks gets the landmarks of the mesh.

        Raises:
            InputError: when pixels of another shape or type are handed over.
            ModelError: when a network fails.
        """
        if not faces:
            return []
        check_image(image)
        measured = measure_faces(image, faces, self._mesh, max_tilt_deg=max_tilt_deg, rotated=rotated)
        crops = np.stack([self._classifier.crop(image, face) for face in measured])
        expressions = self._classifier.classify(
            crops, qualities=[face.quality for face in measured], flip_tta=self.flip_tta
        )
        return [replace(face, expression=seen) for face, seen in zip(measured, expressions, strict=True)]


class _Waiting:
    """Images whose faces are found and cut out, and wait for the network to read them together."""

    def __init__(self, analyzer: Analyzer, batch_faces: int) -> None:
        self._analyzer, self._batch_faces = analyzer, batch_faces
        self._analyses: list[Analysis] = []
        self._crops: list[np.ndarray] = []

    @property
    def is_full(self) -> bool:
        return max(len(self._crops), len(self._analyses)) >= self._batch_faces

    def add(self, source: str, decoded: np.ndarray | MienError) -> None:
        if isinstance(decoded, MienError):
            self._analyses.append(Analysis(source=source, error=decoded))
            return
        try:
            faces = measure_faces(decoded, self._analyzer.detect(decoded), self._analyzer._mesh)
            crops = [self._analyzer._classifier.crop(decoded, face) for face in faces]
        except ModelError:
            raise
        except MienError as error:
            self._analyses.append(Analysis(source=source, error=error))
            return
        self._crops += crops
        height, width = decoded.shape[:2]
        self._analyses.append(Analysis(source=source, width=width, height=height, faces=tuple(faces)))

    def finish(self) -> Iterator[Analysis]:
        """Read all waiting faces and give their images in order; nothing waits afterwards."""
        analyses, crops = self._analyses, self._crops
        self._analyses, self._crops = [], []
        analyzer, qualities = (
            self._analyzer,
            [face.quality for analysis in analyses for face in analysis.faces],
        )
        seen = (
            analyzer._classifier.classify(np.stack(crops), qualities=qualities, flip_tta=analyzer.flip_tta)
            if crops
            else []
        )
        expressions = iter(seen)
        for analysis in analyses:
            faces = (replace(face, expression=next(expressions)) for face in analysis.faces)
            yield replace(analysis, faces=tuple(faces))


def _decoded_ahead(
    images: Iterable[ImageSource], decode_ahead: int
) -> Generator[tuple[str, np.ndarray | MienError]]:
    """Names and pixels in order; while one is in use, the next ones are being decoded.

    An error of the iterable is raised after all that it gave before.
    """
    numbered, failure = iter(enumerate(images)), None
    queue: deque[tuple[str, Future[np.ndarray | MienError]]] = deque()
    pool = ThreadPoolExecutor(min(decode_ahead, usable_cores()), thread_name_prefix="mien-decode")
    try:
        while True:
            try:
                for index, image in islice(numbered, decode_ahead + 1 - len(queue)):
                    name = fsdecode(image) if isinstance(image, str | PathLike) else f"image {index}"
                    queue.append((name, pool.submit(_read_or_error, _taken_over(image))))
                    del image
            except Exception as error:
                numbered, failure = iter(()), error
            if not queue:
                if failure is not None:
                    raise failure
                return
            source, future = queue.popleft()
            decoded = future.result()
            del future  # it holds the pixels
            yield source, decoded
            del decoded
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _is_one_image(images: object) -> bool:
    """Whether this is one image rather than several; text, bytes, pixels and files can all be iterated over."""
    one = isinstance(images, str | bytes | bytearray | memoryview | PathLike) or hasattr(images, "read")
    return one or is_pillow(images) or (isinstance(images, np.ndarray) and images.ndim == 3)


def _taken_over(image: ImageSource) -> ImageSource | MienError:
    """What can be read later in another thread, whatever becomes of the original meanwhile."""
    if isinstance(image, np.ndarray):
        return image.copy()
    return image if isinstance(image, str | bytes | PathLike) else _read_or_error(image)


def _read_or_error(image: ImageSource | MienError) -> np.ndarray | MienError:
    if isinstance(image, MienError):
        return image
    try:
        return read_image(image)
    except MienError as error:
        return error
