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


def write_chunks(index: Index, directory: Path, patch: int, chunks: list[range], workers: int) -> Iterator[range]:
    """Write chunks of patches, and yield the rows of each one after it is written.

    Args:
        index: the data set.
        directory: folder of the face store.
        patch: side of a patch in pixels.
        chunks: rows of each chunk.
        workers: number of processes; 0 uses one per core.
    """
    workers = min(workers or usable_cores(), len(chunks))
    samples = [index.samples[rows.start : rows.stop] for rows in chunks]
    # the samples are sent with their chunks
    arguments = (replace(index, samples=()), directory, patch)
    if workers <= 1:
        yield from map(_ChunkWriter(*arguments), chunks, samples)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=arguments
    ) as pool:
        yield from pool.map(_run_worker, chunks, samples)


class _ChunkWriter:
    """Detects and crops the faces of a chunk, and writes it."""

    def __init__(self, index: Index, directory: Path, patch: int) -> None:
        self.index = index
        self.directory = directory
        self.patch = patch
        self.detector = FaceDetector(threads=1, device="cpu", precision="float32")

    def __call__(self, rows: range, samples: tuple[Sample, ...]) -> range:
        patches = np.zeros((len(samples), self.patch, self.patch, 3), dtype=np.uint8)
        landmarks = np.full((len(samples), 5, 2), np.nan, dtype=np.float32)
        unreadable: list[str] = []
        for row, sample in enumerate(samples):
            try:
                patches[row], landmarks[row] = self._crop(sample)
            except (ImageReadError, DatasetError):
                unreadable.append(sample.id)
        buffer = io.BytesIO()
        np.savez(buffer, patches=patches, landmarks=landmarks, unreadable=np.array(unreadable, dtype=str))
        write_atomic(chunk_path(self.directory, rows), buffer.getvalue())
        return rows

    def _crop(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """Return the patch of a sample and the landmarks in it (5, 2), NaN without a face."""
        image = read_image(self.index.read(sample))
        landmarks = find_labeled_landmarks(image, sample, self.detector)
        if self.index.is_cropped or landmarks is None:
            matrix = letterbox_matrix(image.shape[:2], self.patch)
            patch = letterbox(image, size=self.patch)
        else:
            matrix = alignment_matrix(landmarks, self.patch, margin=MARGIN)
            patch = align_face(image, landmarks, size=self.patch, margin=MARGIN)
        return patch, np.full((5, 2), np.nan) if landmarks is None else transform_points(matrix, landmarks)


_writer: _ChunkWriter
"""Writer of this worker process."""


def _start_worker(index: Index, directory: Path, patch: int) -> None:
    global _writer
    _writer = _ChunkWriter(index, directory, patch)


def _run_worker(rows: range, samples: tuple[Sample, ...]) -> range:
    return _writer(rows, samples)
