"""Face store: the faces of a data set, detected once and kept on disk for training.

A store is a folder of three files:

- `store.json`: fingerprint of the data set and the settings. A store with another fingerprint is rejected.
- `patches.npy` (N, P, P, 3) uint8: the whole image for data sets of face crops; for photographs the upright face with a
  margin, in patches of twice the requested side, so that the face has as many pixels.
- `landmarks.npy` (N, 5, 2) float32 in patch pixels; NaN where no face was detected.

While a store is prepared, finished chunks are written atomically to `chunks/`, so that an interrupted run can resume.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.atomic import write_atomic
from mien.datasets.face_patches import chunk_path, write_chunks
from mien.datasets.index import Index
from mien.errors import DatasetError, InputError, reason
from mien.faces.alignment import align_face, letterbox
from mien.manifest import read_manifest
from mien.progress import Progress
from mien.runtime import find_model

CHUNK_SIZE = 256
"""Faces in a chunk."""

PHOTOGRAPH_SCALE = 2
"""Side of a patch of a photograph, with its margin, over that of a patch of a face crop."""


@dataclass(frozen=True, kw_only=True)
class FaceStore:
    """Faces of a data set, one row per sample.

    Attributes:
        patches: (N, P, P, 3) uint8, mapped from disk.
        landmarks_xy: (N, 5, 2) float32 in patch pixels; NaN where no face was detected.
        unreadable: ids of the samples with a missing or broken image, also after it is repaired; their patch is black.
        is_cropped: whether the images are face crops; otherwise photographs.
    """

    patches: np.ndarray
    landmarks_xy: np.ndarray
    unreadable: tuple[str, ...]
    is_cropped: bool = True

    @property
    def is_found(self) -> np.ndarray:
        """(N,) bool: whether a face was detected."""
        return ~np.isnan(self.landmarks_xy[:, 0, 0])

    def crop(self, row: int, *, size: int, template: str, margin: float) -> np.ndarray:
        """Return the aligned crop (size, size, 3) of a row, or its whole patch where no face was detected."""
        patch = self.patches[row]
        if not self.is_found[row]:
            return letterbox(patch, size=size)
        return align_face(patch, self.landmarks_xy[row], size=size, template=template, margin=margin)


def prepare_faces(
    index: Index, directory: Path, *, patch: int, workers: int = 0, progress: Progress | None = None
) -> FaceStore:
    """Detect and crop the labeled face of every sample in parallel, resuming an interrupted run.

    The face is that of `detect_labeled_face`, as in evaluation; where it is not detected, annotated landmarks are used.

    Args:
        index: the data set.
        directory: folder of the store; created if missing.
        patch: side of the stored faces in pixels. Patches of photographs have twice this side.
        workers: number of processes; 0 uses one per core.
        progress: called after each chunk.

    Raises:
        InputError: the side is below 1.
        DatasetError: the folder contains a store of another data set or other settings, or a broken one.
    """
    if patch < 1:
        raise InputError(f"patch is {patch}; expected 1 or more pixels.")
    patch = patch if index.is_cropped else PHOTOGRAPH_SCALE * patch
    fingerprint = _fingerprint(index, patch)
    if (directory / "store.json").is_file():
        return _open(directory, fingerprint)
    claim = directory / "chunks" / "claim.json"
    if claim.is_file():
        _check_fingerprint(directory, _read_json(claim), fingerprint)
    else:
        claim.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(claim, json.dumps(fingerprint))
    count = len(index.samples)
    chunks = [range(start, min(start + CHUNK_SIZE, count)) for start in range(0, count, CHUNK_SIZE)]
    missing = [rows for rows in chunks if not chunk_path(directory, rows).is_file()]
    done = count - sum(map(len, missing))
    for rows in write_chunks(index, directory, patch, missing, workers):
        done += len(rows)
        if progress:
            progress(done, count)
    _join_chunks(directory, chunks, patch, fingerprint)
    return _open(directory, fingerprint)


def _fingerprint(index: Index, patch: int) -> dict[str, object]:
    """Return the inputs of a store. Changed pixels under the same names are not detected."""
    annotated = sum(sample.landmarks_xy is not None for sample in index.samples)
    # file names need not be UTF-8
    ids = "\n".join(sample.id for sample in index.samples).encode("utf-8", "surrogateescape")
    return {
        "schema": 2,
        "data set": index.name,
        "samples": len(index.samples),
        "ids": hashlib.sha256(ids).hexdigest(),
        "face crops": index.is_cropped,
        "patch": patch,
        "detector": read_manifest(find_model("face-detector")).sha256,
        **({"landmarks where no face is found": annotated} if annotated else {}),
    }


def _join_chunks(directory: Path, chunks: list[range], patch: int, fingerprint: dict[str, object]) -> None:
    """Write the store from its chunks; `store.json` comes last and marks a complete store."""
    count = sum(map(len, chunks))
    patches = np.lib.format.open_memmap(
        directory / "patches.npy", mode="w+", dtype=np.uint8, shape=(count, patch, patch, 3)
    )
    landmarks = np.empty((count, 5, 2), dtype=np.float32)
    unreadable: list[str] = []
    for rows in chunks:
        with np.load(chunk_path(directory, rows)) as chunk:
            patches[rows.start : rows.stop] = chunk["patches"]
            landmarks[rows.start : rows.stop] = chunk["landmarks"]
            unreadable += chunk["unreadable"].tolist()
    patches.flush()
    np.save(directory / "landmarks.npy", landmarks)
    write_atomic(directory / "store.json", json.dumps({**fingerprint, "unreadable": unreadable}, indent=1))
    shutil.rmtree(directory / "chunks")


def _open(directory: Path, fingerprint: dict[str, object]) -> FaceStore:
    record = _read_json(directory / "store.json")
    unreadable = record.pop("unreadable", ())
    _check_fingerprint(directory, record, fingerprint)
    try:
        patches = np.load(directory / "patches.npy", mmap_mode="r")
        landmarks = np.load(directory / "landmarks.npy")
    except (OSError, ValueError, EOFError) as error:
        raise _broken_error(directory, error) from None
    return FaceStore(
        patches=patches,
        landmarks_xy=landmarks,
        unreadable=tuple(unreadable),
        is_cropped=bool(record.get("face crops", True)),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _broken_error(path, error) from None


def _broken_error(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path} is broken: {reason(error)}. Remove the folder of the store to prepare it again.")


def _check_fingerprint(directory: Path, actual: dict[str, Any], expected: dict[str, object]) -> None:
    """Raise for a store of another data set or other settings, and name the first difference."""
    for key in {**expected, **actual}:
        if actual.get(key) != expected.get(key):
            raise DatasetError(
                f"{directory} contains faces of another data set or size "
                f"({key}: {actual.get(key)}, expected {expected.get(key)}). "
                "Remove it or choose another folder."
            )
