"""Every face of a data set found once, and kept for training.

A store is a folder:

- `store.json`: what it was made from. A store of other data or settings is refused rather than used.
- `patches.npy` (N, P, P, 3) uint8: the whole image for data sets of face crops; otherwise the upright face with room
  around it, and P is twice what was asked for, so that the face has as many pixels.
- `landmarks.npy` (N, 5, 2) float32 in patch pixels; NaN where no face was found.

While it is being made, finished chunks stand in `chunks/`, each written whole or not at all, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mien.atomic import write_atomic
from mien.datasets.index import Index, Sample
from mien.errors import DatasetError, ImageReadError
from mien.faces.alignment import align_face, alignment_matrix, letterbox, letterbox_matrix
from mien.faces.detection import FaceDetector
from mien.geometry import transform_points
from mien.imaging import read_image
from mien.manifest import read_manifest
from mien.progress import Progress
from mien.results import Face
from mien.runtime import find_model, usable_cores

CHUNK = 256
ROOM = 0.5
"""Margin around the face that a patch of a whole photograph keeps: its face fills the middle half."""

ROOMY = 2
"""How much wider a patch with that margin is, for a face of the same size."""

MIN_EYES_PX = 2.0
"""Stated landmarks whose eyes are nearer to each other count as not given."""


@dataclass(frozen=True, kw_only=True)
class FaceStore:
    """The faces of one data set, row by row as its samples.

    Attributes:
        patches: (N, P, P, 3) uint8, mapped from disk.
        landmarks_xy: (N, 5, 2) float32 in patch pixels; NaN where no face was found.
        unreadable: ids of the samples whose image could not be read; their patch is black. They stay so in this store
            when the images are repaired.
        is_cropped: whether the images are face crops, which can be read whole, or photographs.
    """

    patches: np.ndarray
    landmarks_xy: np.ndarray
    unreadable: tuple[str, ...]
    is_cropped: bool = True

    @property
    def is_found(self) -> np.ndarray:
        """(N,) bool: whether a face was found."""
        return ~np.isnan(self.landmarks_xy[:, 0, 0])

    def crop(self, row: int, *, size: int, template: str, margin: float) -> np.ndarray:
        """The aligned crop (size, size, 3) of one row, or its whole patch where no face was found."""
        patch = self.patches[row]
        if not self.is_found[row]:
            return letterbox(patch, size=size)
        return align_face(patch, self.landmarks_xy[row], size=size, template=template, margin=margin)


def prepare_faces(
    index: Index, directory: Path, *, patch: int, workers: int = 0, progress: Progress | None = None
) -> FaceStore:
    """Find and cut the face of every sample, in parallel; goes on from where an earlier run stopped.

    It is the one that evaluation reads (`labeled_face`). Where none is found, landmarks that the data set states
    stand for it.

    Args:
        index: the data set.
        directory: where the store is kept; made when missing.
        patch: side in pixels at which a face is stored: that of the patches of face crops, half that of photographs'.
        workers: processes; 0 takes one for each core.
        progress: told of every finished chunk.

    Raises:
        DatasetError: when the folder holds a store of other data or settings.
    """
    patch = patch if index.is_cropped else ROOMY * patch
    fingerprint = _fingerprint(index, patch)
    if (directory / "store.json").is_file():
        return _open(directory, fingerprint)
    _claim(directory, fingerprint)
    count = len(index.samples)
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    missing = [rows for rows in chunks if not _chunk_path(directory, rows).is_file()]
    done = count - sum(map(len, missing))
    for rows in _run(index, directory, patch, missing, workers):
        done += len(rows)
        if progress:
            progress(done, count)
    _join(directory, chunks, patch, fingerprint)
    return _open(directory, fingerprint)


def _run(index: Index, directory: Path, patch: int, chunks: list[range], workers: int) -> Iterator[range]:
    """Make the missing chunks; yields the rows of each when it is on disk."""
    workers = min(workers or usable_cores(), len(chunks))
    if workers <= 1:
        detector = FaceDetector(threads=1)
        for rows in chunks:
            yield _make_chunk(index, directory, patch, rows, _samples(index, rows), detector)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(replace(index, samples=()), directory, patch),  # a chunk's samples go with the chunk
    ) as pool:
        yield from pool.map(_work, chunks, [_samples(index, rows) for rows in chunks])


_worker: tuple[Index, Path, int, FaceDetector]


def _start_worker(index: Index, directory: Path, patch: int) -> None:
    global _worker
    _worker = (index, directory, patch, FaceDetector(threads=1))


def _samples(index: Index, rows: range) -> tuple[Sample, ...]:
    return index.samples[rows.start : rows.stop]


def _work(rows: range, samples: tuple[Sample, ...]) -> range:
    index, directory, patch, detector = _worker
    return _make_chunk(index, directory, patch, rows, samples, detector)


def _make_chunk(
    index: Index,
    directory: Path,
    patch: int,
    rows: range,
    samples: tuple[Sample, ...],
    detector: FaceDetector,
) -> range:
    patches = np.zeros((len(samples), patch, patch, 3), dtype=np.uint8)
    landmarks = np.full((len(samples), 5, 2), np.nan, dtype=np.float32)
    unreadable = []
    for row, sample in enumerate(samples):
        try:
            patches[row], landmarks[row] = _cut(index, sample, patch, detector)
        except (ImageReadError, DatasetError):
            unreadable.append(sample.id)
    buffer = io.BytesIO()
    np.savez(buffer, patches=patches, landmarks=landmarks, unreadable=np.array(unreadable, dtype=str))
    write_atomic(_chunk_path(directory, rows), buffer.getvalue())
    return rows


def _cut(index: Index, sample: Sample, patch: int, detector: FaceDetector) -> tuple[np.ndarray, np.ndarray]:
    """The patch of one sample and the landmarks in it (NaN when there is no face)."""
    image = read_image(index.read(sample))
    found = _landmarks(image, sample, detector)
    if index.is_cropped or found is None:
        matrix, pixels = letterbox_matrix(image.shape[:2], patch), letterbox(image, size=patch)
    else:
        matrix = alignment_matrix(found, patch, margin=ROOM)
        pixels = align_face(image, found, size=patch, margin=ROOM)
    return pixels, np.full((5, 2), np.nan) if found is None else transform_points(matrix, found)


def labeled_face(image: np.ndarray, sample: Sample, detector: FaceDetector) -> Face | None:
    """The face that a sample is about, for training and evaluation alike; None where none is found.

    Of the faces found, the largest around the stated landmarks' middle; the largest of all where none are stated.
    """
    faces, stated = detector.detect(image), _stated_landmarks(image, sample)
    if stated is not None:
        middle = stated.mean(axis=0)
        faces = [
            face
            for face in faces
            if (face.bbox_xyxy[:2] <= middle).all() and (middle < face.bbox_xyxy[2:]).all()
        ]
    return faces[0] if faces else None


def _landmarks(image: np.ndarray, sample: Sample, detector: FaceDetector) -> np.ndarray | None:
    """Those of the labeled face; the stated ones only where none is found there."""
    face = labeled_face(image, sample, detector)
    return _stated_landmarks(image, sample) if face is None else face.landmarks_xy


def _stated_landmarks(image: np.ndarray, sample: Sample) -> np.ndarray | None:
    """Those that the data set gives, unless they cannot be a face's in this image."""
    if sample.landmarks_xy is None:
        return None
    points = np.array(sample.landmarks_xy, dtype=np.float64)
    height, width = image.shape[:2]
    middle, spread = points.mean(axis=0), np.ptp(points, axis=0)
    is_inside = (middle >= 0).all() and (middle < (width, height)).all()
    is_face_sized = (
        np.linalg.norm(points[1] - points[0]) >= MIN_EYES_PX and (spread <= (2 * width, 2 * height)).all()
    )
    return points if is_inside and is_face_sized else None


def _chunk_path(directory: Path, rows: range) -> Path:
    return directory / "chunks" / f"{rows.start:08d}-{rows.stop:08d}.npz"


def _fingerprint(index: Index, patch: int) -> dict[str, object]:
    """What a store depends on. Pixels changed under the same names are not noticed: remove the store yourself."""
    given = sum(sample.landmarks_xy is not None for sample in index.samples)
    return {
        "schema": 2,
        "data set": index.name,
        "samples": len(index.samples),
        "ids": hashlib.sha256("\n".join(sample.id for sample in index.samples).encode()).hexdigest(),
        "face crops": index.is_cropped,
        "patch": patch,
        "detector": read_manifest(find_model("face-detector")).sha256,
        **({"landmarks where no face is found": given} if given else {}),
    }


def _claim(directory: Path, fingerprint: dict[str, object]) -> None:
    """Mark the folder as being filled from this data; chunks left by other data are refused."""
    claim = directory / "chunks" / "claim.json"
    if claim.is_file():
        _check_same(directory, _read_record(claim), fingerprint)
        return
    claim.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(claim, json.dumps(fingerprint))


def _join(directory: Path, chunks: list[range], patch: int, fingerprint: dict[str, object]) -> None:
    """Put the chunks together; `store.json` comes last, so a folder with it is whole."""
    count = sum(map(len, chunks))
    patches = np.lib.format.open_memmap(
        directory / "patches.npy", mode="w+", dtype=np.uint8, shape=(count, patch, patch, 3)
    )
    landmarks = np.empty((count, 5, 2), dtype=np.float32)
    unreadable: list[str] = []
    for rows in chunks:
        with np.load(_chunk_path(directory, rows)) as chunk:
            patches[rows.start : rows.stop] = chunk["patches"]
            landmarks[rows.start : rows.stop] = chunk["landmarks"]
            unreadable += chunk["unreadable"].tolist()
    patches.flush()
    np.save(directory / "landmarks.npy", landmarks)
    write_atomic(directory / "store.json", json.dumps({**fingerprint, "unreadable": unreadable}, indent=1))
    shutil.rmtree(directory / "chunks")


def _open(directory: Path, fingerprint: dict[str, object]) -> FaceStore:
    record = _read_record(directory / "store.json")
    unreadable = record.pop("unreadable", ())
    _check_same(directory, record, fingerprint)
    try:
        patches = np.load(directory / "patches.npy", mmap_mode="r")
        landmarks = np.load(directory / "landmarks.npy")
    except (OSError, ValueError, EOFError) as error:
        raise _broken(directory, error) from None
    return FaceStore(
        patches=patches,
        landmarks_xy=landmarks,
        unreadable=tuple(unreadable),
        is_cropped=bool(record.get("face crops", True)),
    )


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path} is broken ({error}). Remove the folder; it will be made again.")


def _check_same(directory: Path, found: dict[str, Any], wanted: dict[str, object]) -> None:
    """Refuse faces of other data or settings, naming the first difference."""
    for key in {**wanted, **found}:
        if found.get(key) != wanted.get(key):
            raise DatasetError(
                f"{directory} holds faces of another data set or size ({key}: {found.get(key)}, "
                f"wanted {wanted.get(key)}). "
                "Remove it or name another folder."
            )
