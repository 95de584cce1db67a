"""Face store: preparation, resuming, and rejection of stores of other data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.datasets import face_store, read_dataset
from mien.datasets.face_store import prepare_faces
from mien.errors import DatasetError, InputError
from support.training import write_stripes


@pytest.fixture
def index(tmp_path):
    root = write_stripes(tmp_path / "data", train=3, valid=1)
    (root / "train/neutral/broken.png").write_bytes(b"no image")
    return read_dataset("folder", root)


def test_keeps_whole_crops_and_lists_unreadable_images(index, tmp_path):
    store = prepare_faces(index, tmp_path / "store", patch=32, workers=1)
    assert store.patches.shape == (13, 32, 32, 3)
    assert not store.is_found.any()
    assert store.unreadable == ("train/neutral/broken.png",)
    assert store.crop(0, size=16, template="ferplus", margin=0.0).shape == (16, 16, 3)


def test_resumes_interrupted_run(index, tmp_path, monkeypatch):
    monkeypatch.setattr(face_store, "CHUNK_SIZE", 4)
    calls = []

    def stop_after_two(done, count):
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_faces(index, tmp_path / "store", patch=32, workers=1, progress=stop_after_two)
    resumed_calls = []
    store = prepare_faces(
        index, tmp_path / "store", patch=32, workers=1, progress=lambda done, _: resumed_calls.append(done)
    )
    uninterrupted = prepare_faces(index, tmp_path / "uninterrupted", patch=32, workers=1)
    assert calls == [4, 8]
    assert resumed_calls == [12, 13]
    np.testing.assert_array_equal(store.patches, uninterrupted.patches)


def test_rejects_store_of_other_data(index, tmp_path):
    prepare_faces(index, tmp_path / "store", patch=32, workers=1)
    with pytest.raises(DatasetError, match="another data set or size"):
        prepare_faces(index, tmp_path / "store", patch=16, workers=1)


def test_fingerprint_contains_the_number_of_annotated_landmarks(index, tmp_path):
    file = tmp_path / "store" / "store.json"
    prepare_faces(index, tmp_path / "store", patch=32, workers=1)
    record = json.loads(file.read_text())
    plain = {"schema", "data set", "samples", "ids", "face crops", "patch", "detector", "unreadable"}
    assert set(record) == plain
    points = ((9.0, 9.0), (20.0, 9.0), (15.0, 15.0), (10.0, 22.0), (20.0, 22.0))
    annotated = replace(index, samples=tuple(replace(s, landmarks_xy=points) for s in index.samples))
    with pytest.raises(DatasetError, match="another data set or size"):
        prepare_faces(annotated, tmp_path / "store", patch=32, workers=1)


@pytest.mark.parametrize("patch", [0, -3])
def test_a_side_below_one_pixel_does_not_claim_the_folder(index, tmp_path, patch):
    with pytest.raises(InputError, match=f"patch is {patch}; expected 1 or more pixels"):
        prepare_faces(index, tmp_path / "store", patch=patch)
    assert not (tmp_path / "store").exists()


def test_two_processes_write_the_same_store(index, tmp_path, monkeypatch):
    one = prepare_faces(index, tmp_path / "one", patch=32, workers=1)
    monkeypatch.setattr(face_store, "CHUNK_SIZE", 4)
    two = prepare_faces(index, tmp_path / "two", patch=32, workers=2)
    np.testing.assert_array_equal(one.patches, two.patches)
    np.testing.assert_array_equal(one.landmarks_xy, two.landmarks_xy)
    assert one.unreadable == two.unreadable == ("train/neutral/broken.png",)


@pytest.mark.parametrize("name", ["store.json", "patches.npy", "landmarks.npy"])
def test_rejects_broken_store(index, tmp_path, name):
    prepare_faces(index, tmp_path / "store", patch=32, workers=1)
    (tmp_path / "store" / name).write_bytes(b"")
    with pytest.raises(DatasetError, match="Remove the folder"):
        prepare_faces(index, tmp_path / "store", patch=32, workers=1)
