"""FER2013 adapter: splits, pixels, and malformed rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from mien.datasets import count_classes, read_dataset, read_fer2013
from mien.emotions import BASIC_EXPRESSIONS
from mien.errors import AnnotationError, LayoutError
from support.datasets import FER2013, draw_face, write_fer2013, zip_folder


def test_rejects_empty_folder(tmp_path):
    with pytest.raises(LayoutError, match=r"fer2013\.csv"):
        read_fer2013(tmp_path)


def test_rejects_file_without_rows(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n\n")
    with pytest.raises(LayoutError, match="the file has no rows"):
        read_fer2013(tmp_path)


@pytest.mark.parametrize("kind", ["file", "folder", "zip"])
def test_reads_splits_classes_and_pixels(tmp_path, kind):
    file = write_fer2013(tmp_path / "deep", train=2, valid=1, test=1)
    path = {"file": file, "folder": tmp_path, "zip": zip_folder(tmp_path / "deep", tmp_path / "a.zip", top="x")}
    index = pickle.loads(pickle.dumps(read_dataset("fer2013", path[kind])))
    assert index.labels == BASIC_EXPRESSIONS
    assert [index.labels[sample.label] for sample in index.samples] == [*FER2013] * 4
    assert {split: set(counts.values()) for split, counts in count_classes(index).items()} == {
        "train": {2},
        "valid": {1},
        "test": {1},
    }
    assert [index.samples[row].id for row in (0, 20, 27)] == ["Training/00000", "PublicTest/00020", "PrivateTest/00027"]
    for row in (0, 13, 27):
        image = index.read(index.samples[row])
        seed = row if row < 14 else 100_000 + row - 21
        expected = Image.fromarray(draw_face(FER2013[row % 7], seed, 48)).convert("L")
        np.testing.assert_array_equal(image, np.repeat(np.array(expected)[:, :, None], 3, axis=2))
        assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("7,1 2 3,Training", "emotion is '7'"),
        ("happy,1 2 3,Training", "emotion is 'happy'"),
        ("3,1 2 3,Trained", "Usage is 'Trained'"),
        ("3", "Usage is '3'"),
    ],
)
def test_names_malformed_row(tmp_path, row, problem):
    file = write_fer2013(tmp_path, train=1, valid=1, test=1)
    with file.open("a") as stream:
        stream.write(f"{row}\n")
    with pytest.raises(AnnotationError, match=f"line 23: {problem}"):
        read_fer2013(file)


@pytest.mark.parametrize("pixels", ["1 2 3", "256 " * 2304, "-1 " * 2304, "x " * 2304])
def test_names_malformed_pixels_on_reading(tmp_path, pixels):
    file = write_fer2013(tmp_path, train=1, valid=1, test=1)
    with file.open("a") as stream:
        stream.write(f"3,{pixels},Training")
    index = read_fer2013(file)
    with pytest.raises(AnnotationError, match=r"fer2013.csv, line 23: the pixels are not 2304 values"):
        index.read(index.samples[-1])


def test_rejects_unexpected_header(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion, Usage, pixels\n3,Training,1 2 3\n")
    with pytest.raises(AnnotationError, match="line 1: the header"):
        read_fer2013(tmp_path)
