"""Every face of a data set found once, and kept for training.

A store is a folder:

- `store.json`: what it was made from. A store of other data or settings is refused rather than used.
- `patches.npy` (N, P, P, 3) uint8: the whole picture for data sets of face crops; otherwise the upright face with room
  around it.
- `landmarks.npy` (N, 5, 2) float32 in patch pixels; NaN where no face was found.

While it is being made, finished chunks stand in `chunks/`, each written whole or not at all, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mien.datasets.index import Index, Sample
from mien.errors import DatasetError, ImageReadError
from mien.faces.alignment import align_face, alignment_matrix, whole_face, whole_face_matrix
from mien.faces.detection import FaceDetector
from mien.geometry import transform_points
from mien.imaging import read_image

CHUNK = 256
ROOM = 0.5
"""Margin around the face that a patch of a whole photograph keeps: its face fills the middle half."""

Progress = Callable[[int, int], None]
"""Called with the number of samples done and of all samples."""


@dataclass(frozen=True, kw_only=True)
class FaceStore:
    """The faces of one data set, row by row as its samples.

    Attributes:
        patches: (N, P, P, 3) uint8, mapped from disk.
        landmarks_xy: (N, 5, 2) float32 in patch pixels; NaN where no face was found.
        unreadable: ids of the samples whose picture could not be read; their patch is black.
    """

    patches: np.ndarray
    landmarks_xy: np.ndarray
    unreadable: tuple[str, ...]

    @property
    def is_found(self) -> np.ndarray:
        """(N,) bool: whether a face was found."""
        return ~np.isnan(self.landmarks_xy[:, 0, 0])

    def crop(self, row: int, *, size: int, template: str, margin: float) -> np.ndarray:
        """The aligned crop (size, size, 3) of one row, or its whole patch where no face was found."""
        patch = self.patches[row]
        if not self.is_found[row]:
            return whole_face(patch, size=size)
        return align_face(patch, self.landmarks_xy[row], size=size, template=template, margin=margin)


def prepare_faces(
    index: Index, directory: Path, *, patch: int, workers: int = 0, progress: Progress | None = None
) -> FaceStore:
    """Find and cut the largest face of every sample, in parallel; goes on from where an earlier run stopped.

    Args:
        index: the data set.
        directory: where the store is kept; made when missing.
        patch: side of the stored patches in pixels.
        workers: processes; 0 takes one for each core.
        progress: told of every finished chunk.

    Raises:
        DatasetError: when the folder holds a store of other data or settings.
    """
    fingerprint = _fingerprint(index, patch)
    if (directory / "store.json").is_file():
        return _open(directory, fingerprint)
    _claim(directory, fingerprint)
    starts = range(0, len(index.samples), CHUNK)
    missing = [start for start in starts if not _chunk_path(directory, start).is_file()]
    done = len(index.samples) - sum(len(index.samples[start : start + CHUNK]) for start in missing)
    for start in _run(index, directory, patch, missing, workers):
        done += len(index.samples[start : start + CHUNK])
        if progress:
            progress(done, len(index.samples))
    _join(directory, list(starts), len(index.samples), patch, fingerprint)
    return _open(directory, fingerprint)


def _run(index: Index, directory: Path, patch: int, starts: list[int], workers: int) -> Iterator[int]:
    """Make the missing chunks; yields the start of each when it is on disk."""
    workers = min(workers or os.cpu_count() or 1, len(starts))
    if workers <= 1:
        detector = FaceDetector(threads=1)
        for start in starts:
            yield _make_chunk(index, directory, patch, start, detector)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(index, directory, patch),
    ) as pool:
        yield from pool.map(_work, starts)


_worker: tuple[Index, Path, int, FaceDetector]


def _start_worker(index: Index, directory: Path, patch: int) -> None:
    global _worker
    _worker = (index, directory, patch, FaceDetector(threads=1))


def _work(start: int) -> int:
    index, directory, patch, detector = _worker
    return _make_chunk(index, directory, patch, start, detector)


def _make_chunk(index: Index, directory: Path, patch: int, start: int, detector: FaceDetector) -> int:
    samples = index.samples[start : start + CHUNK]
    patches = np.zeros((len(samples), patch, patch, 3), dtype=np.uint8)
    landmarks = np.full((len(samples), 5, 2), np.nan, dtype=np.float32)
    unreadable = []
    for row, sample in enumerate(samples):
        try:
            patches[row], landmarks[row] = _cut(index, sample, patch, detector)
        except (ImageReadError, DatasetError):
            unreadable.append(sample.id)
    path = _chunk_path(directory, start)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, patches=patches, landmarks=landmarks, unreadable=np.array(unreadable, dtype=str))
    partial.replace(path)
    return start


def _cut(index: Index, sample: Sample, patch: int, detector: FaceDetector) -> tuple[np.ndarray, np.ndarray]:
    """The patch of one sample and the landmarks in it (NaN when there is no face)."""
    image = read_image(index.read(sample))
    faces = detector.detect(image)
    if index.is_cropped or not faces:
        matrix, pixels = whole_face_matrix(image.shape[:2], patch), whole_face(image, size=patch)
    else:
        matrix = alignment_matrix(faces[0].landmarks_xy, patch, margin=ROOM)
        pixels = align_face(image, faces[0].landmarks_xy, size=patch, margin=ROOM)
    landmarks = transform_points(matrix, faces[0].landmarks_xy) if faces else np.full((5, 2), np.nan)
    return pixels, landmarks


def _chunk_path(directory: Path, start: int) -> Path:
    return directory / "chunks" / f"{start:08d}.npz"


def _fingerprint(index: Index, patch: int) -> dict[str, object]:
    names = hashlib.sha256("\n".join(sample.id for sample in index.samples).encode()).hexdigest()
    return {"schema": 1, "dataset": index.name, "samples": len(index.samples), "ids": names, "patch": patch}


def _claim(directory: Path, fingerprint: dict[str, object]) -> None:
    """Mark the folder as being filled from this data; chunks left by other data are refused."""
    claim = directory / "chunks" / "claim.json"
    if claim.is_file() and json.loads(claim.read_text()) != fingerprint:
        raise _other_store(directory)
    claim.parent.mkdir(parents=True, exist_ok=True)
    claim.write_text(json.dumps(fingerprint))


def _join(directory: Path, starts: list[int], count: int, patch: int, fingerprint: dict[str, object]) -> None:
    """Put the chunks together; `store.json` comes last, so a folder with it is whole."""
    patches = np.lib.format.open_memmap(
        directory / "patches.npy", mode="w+", dtype=np.uint8, shape=(count, patch, patch, 3)
    )
    landmarks = np.empty((count, 5, 2), dtype=np.float32)
    unreadable: list[str] = []
    for start in starts:
        with np.load(_chunk_path(directory, start)) as chunk:
            rows = slice(start, start + len(chunk["landmarks"]))
            patches[rows], landmarks[rows] = chunk["patches"], chunk["landmarks"]
            unreadable += chunk["unreadable"].tolist()
    patches.flush()
    np.save(directory / "landmarks.npy", landmarks)
    record = {**fingerprint, "unreadable": unreadable}
    partial = directory / "store.json.partial"
    partial.write_text(json.dumps(record, indent=1))
    partial.replace(directory / "store.json")
    shutil.rmtree(directory / "chunks")


def _open(directory: Path, fingerprint: dict[str, object]) -> FaceStore:
    record = json.loads((directory / "store.json").read_text())
    unreadable = record.pop("unreadable")
    if record != fingerprint:
        raise _other_store(directory)
    return FaceStore(
        patches=np.load(directory / "patches.npy", mmap_mode="r"),
        landmarks_xy=np.load(directory / "landmarks.npy"),
        unreadable=tuple(unreadable),
    )


def _other_store(directory: Path) -> DatasetError:
    return DatasetError(
        f"{directory} holds faces of another data set or size. Remove it or name another folder."
    )
