"""Worker processes that detect the labeled faces and write their patches in chunks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mien.atomic import write_atomic
from mien.datasets.index import Index, Sample
from mien.datasets.labeled_face import find_labeled_landmarks
from mien.errors import DatasetError, ImageReadError
from mien.faces.alignment import align_face, alignment_matrix, letterbox, letterbox_matrix
from mien.faces.detection import FaceDetector
from mien.geometry import transform_points
from mien.imaging import read_image
from mien.runtime import usable_cores

MARGIN = 0.5
"""Margin around the face in a patch of a photograph: the face fills the middle half."""


def chunk_path(directory: Path, rows: range) -> Path:
    """Return the path of a chunk with these rows."""
    return directory / "chunks" / f"{rows.start:08d}-{rows.stop:08d}.npz"


def write_chunks(
    index: Index, directory: Path, patch: int, chunks: list[range], workers: int
) -> Iterator[range]:
    """Write chunks of patches, and yield the rows of each one after it is written.

    Args:
        index: the data set.
        directory: folder of the face store.
        patch: side of a patch in pixels.
        chunks: rows of each chunk.
        workers: number of processes; 0 uses one per core.
    """
    workers = min(workers or usable_cores(), len(chunks))
    if workers <= 1:
        detector = FaceDetector(threads=1)
        for rows in chunks:
            yield _write_chunk(index, directory, patch, rows, _samples(index, rows), detector)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        # the samples are sent with their chunks
        initargs=(replace(index, samples=()), directory, patch),
    ) as pool:
        yield from pool.map(_run_worker, chunks, [_samples(index, rows) for rows in chunks])


_worker: tuple[Index, Path, int, FaceDetector]


def _start_worker(index: Index, directory: Path, patch: int) -> None:
    global _worker
    _worker = (index, directory, patch, FaceDetector(threads=1))


def _run_worker(rows: range, samples: tuple[Sample, ...]) -> range:
    index, directory, patch, detector = _worker
    return _write_chunk(index, directory, patch, rows, samples, detector)


def _samples(index: Index, rows: range) -> tuple[Sample, ...]:
    return index.samples[rows.start : rows.stop]


def _write_chunk(
    index: Index,
    directory: Path,
    patch: int,
    rows: range,
    samples: tuple[Sample, ...],
    detector: FaceDetector,
) -> range:
    patches = np.zeros((len(samples), patch, patch, 3), dtype=np.uint8)
    landmarks = np.full((len(samples), 5, 2), np.nan, dtype=np.float32)
    unreadable: list[str] = []
    for row, sample in enumerate(samples):
        try:
            patches[row], landmarks[row] = _crop_patch(index, sample, patch, detector)
        except (ImageReadError, DatasetError):
            unreadable.append(sample.id)
    buffer = io.BytesIO()
    np.savez(buffer, patches=patches, landmarks=landmarks, unreadable=np.array(unreadable, dtype=str))
    write_atomic(chunk_path(directory, rows), buffer.getvalue())
    return rows


def _crop_patch(
    index: Index, sample: Sample, patch: int, detector: FaceDetector
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patch of a sample and the landmarks in it (5, 2), NaN without a face."""
    image = read_image(index.read(sample))
    landmarks = find_labeled_landmarks(image, sample, detector)
    if index.is_cropped or landmarks is None:
        matrix = letterbox_matrix(image.shape[:2], patch)
        pixels = letterbox(image, size=patch)
    else:
        matrix = alignment_matrix(landmarks, patch, margin=MARGIN)
        pixels = align_face(image, landmarks, size=patch, margin=MARGIN)
    return pixels, np.full((5, 2), np.nan) if landmarks is None else transform_points(matrix, landmarks)
