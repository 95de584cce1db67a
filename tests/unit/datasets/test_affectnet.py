"""AffectNet adapter: splits, annotations, and malformed files."""

from __future__ import annotations

import numpy as np
import pytest

from mien.datasets import count_classes, read_affectnet, read_dataset
from mien.datasets.files import FolderFiles
from mien.emotions import BASIC_EXPRESSIONS, EXPRESSIONS
from mien.errors import DatasetError, LayoutError
from mien.imaging import read_image
from support.datasets import EXPRESSION_SHAPES, FACE_POINTS, write_affectnet, zip_folder


def test_rejects_empty_folder(tmp_path):
    with pytest.raises(LayoutError, match="train_set/ or val_set/"):
        read_affectnet(tmp_path)


def test_reads_splits_and_classes(tmp_path):
    index = read_affectnet(write_affectnet(tmp_path, train=30, test=1))
    counts = count_classes(index)
    assert index.labels == tuple(counts["train"]) == EXPRESSIONS
    assert set(counts["train"].values()) == {28}
    assert set(counts["valid"].values()) == {2}
    assert set(counts["test"].values()) == {1}
    assert {s.id.split("/")[0] for s in index.samples if s.split == "test"} == {"val_set"}


def test_affectnet7_has_no_contempt(tmp_path):
    index = read_dataset("affectnet7", write_affectnet(tmp_path, train=2, test=1))
    assert index.labels == BASIC_EXPRESSIONS
    assert len(index.samples) == 7 * 3
    assert all(len(sample.label_distribution or ()) == 7 for sample in index.samples)


@pytest.mark.parametrize("as_zip", [True, False])
def test_reads_valence_arousal_and_landmarks(tmp_path, as_zip):
    root = write_affectnet(tmp_path / "deep" / "tree", train=2, test=1)
    index = read_affectnet(zip_folder(root, tmp_path / "a.zip", top="x/y") if as_zip else tmp_path / "deep")
    [sample] = [sample for sample in index.samples if sample.id == "val_set/images/2.jpg"]
    assert (sample.split, index.labels[sample.label]) == ("test", "happiness")
    assert sample.valence_arousal == pytest.approx(
        (EXPRESSION_SHAPES["happiness"][0] * 10, EXPRESSION_SHAPES["happiness"][1] * 4)
    )
    np.testing.assert_allclose(np.array(sample.landmarks_xy), np.array(FACE_POINTS) * 112)
    assert read_image(index.read(sample)).shape == (112, 112, 3)


def test_accepts_missing_landmarks_valence_and_image(tmp_path):
    root = write_affectnet(tmp_path, train=2, test=1, landmarks=False)
    notes = root / "val_set/annotations"
    (notes / "1_val.npy").unlink()
    np.save(notes / "2_aro.npy", np.array("-2"))
    np.save(notes / "2_lnd.npy", np.zeros(10))
    (root / "val_set/images/1.jpg").unlink()
    index = read_affectnet(root)
    first, second = (s for s in index.samples if s.id in ("val_set/images/1.jpg", "val_set/images/2.jpg"))
    assert first.valence_arousal is second.valence_arousal is None
    assert first.landmarks_xy is second.landmarks_xy is None
    assert not index.has(first)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("3_exp", np.array("11"), "class number 0..10"),
        ("3_exp", np.array("sad"), "not a .npy file of numbers"),
        ("3_exp", np.array(["1", "2"]), "one class number"),
        ("3_exp", np.array([None]), "not a .npy file of numbers"),
    ],
)
def test_names_file_with_invalid_label(tmp_path, name, value, problem):
    root = write_affectnet(tmp_path, train=2, test=1)
    np.save(root / "train_set/annotations" / f"{name}.npy", value)
    with pytest.raises(DatasetError, match=f"{name}.npy: .*{problem}"):
        read_affectnet(root)


@pytest.mark.parametrize("kind", ["val", "aro", "lnd"])
@pytest.mark.parametrize("value", [None, "1.5", "nan", "calm", ["0", "0"]])
def test_broken_optional_annotation_counts_as_missing(tmp_path, kind, value):
    file = write_affectnet(tmp_path, train=2, test=1) / f"val_set/annotations/3_{kind}.npy"
    if value is None:
        file.write_bytes(file.read_bytes()[:-5])
    else:
        np.save(file, np.array(value))
    index = read_affectnet(tmp_path)
    lacking = {s.id for s in index.samples if s.landmarks_xy is None or s.valence_arousal is None}
    assert (len(index.samples), lacking) == (24, {"val_set/images/3.jpg"})


def test_lists_names_without_looking_up_files(tmp_path, monkeypatch):
    root = write_affectnet(tmp_path, train=2, test=1)
    monkeypatch.setattr(FolderFiles, "has", lambda *_: pytest.fail("looked up a file"))
    assert len(read_affectnet(root).samples) == 24


def test_rejects_two_data_sets_in_one_folder(tmp_path):
    for name in ("one", "two"):
        write_affectnet(tmp_path / name, train=1, test=1)
    with pytest.raises(LayoutError, match="found in several folders"):
        read_affectnet(tmp_path)
