"""RAF-DB adapter: three layouts, held-out validation split, annotations, and malformed files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mien.datasets import count_classes, read_dataset, read_rafdb
from mien.datasets.face_store import prepare_faces
from mien.datasets.index import Index, Sample, hold_out_validation
from mien.datasets.rafdb import LABEL_LIST
from mien.emotions import BASIC_EXPRESSIONS
from mien.errors import AnnotationError, LayoutError
from mien.imaging import read_image
from support.datasets import FACE_POINTS, RAFDB, RAFDB_FACE_OFFSET, write_rafdb, zip_folder

LAYOUTS = ("official", "repacked", "efficientface")


def _stem(sample: Sample) -> str:
    return sample.id.rsplit("/", 1)[-1].removesuffix(".jpg").removesuffix("_aligned")


def _facts(index: Index) -> dict[str, tuple[str, str]]:
    """Return split and class of every image by its name in the official list."""
    return {_stem(s): (s.split, index.labels[s.label]) for s in index.samples if s.label is not None}


def test_rejects_empty_folder(tmp_path):
    with pytest.raises(LayoutError, match="list_patition_label"):
        read_rafdb(tmp_path)


def test_all_layouts_give_the_same_splits_and_classes(tmp_path):
    facts = []
    for layout in LAYOUTS:
        index = read_dataset("rafdb", write_rafdb(tmp_path / layout, layout, train=3, test=1))
        assert index.labels == BASIC_EXPRESSIONS
        assert index.is_cropped
        assert all(read_image(index.read(sample)).shape == (100, 100, 3) for sample in index.samples[::5])
        facts.append(_facts(index))
    assert facts[0] == facts[1] == facts[2]
    assert facts[0]["train_00001"][1] == facts[0]["test_0001"][1] == "surprise"
    assert [facts[0][f"test_{number:04d}"] for number in range(1, 8)] == [("test", name) for name in RAFDB]
    assert len(facts[0]) == 28


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_nested_and_zipped_layouts(tmp_path, layout):
    root = write_rafdb(tmp_path / "deep" / "er", layout, train=2, test=1)
    facts = _facts(read_rafdb(root))
    paths = [tmp_path / "deep", zip_folder(root, tmp_path / "a.zip", top="my/RAF-DB")]
    paths += [root / below for below in ("basic", "DATASET") if (root / below).is_dir()]
    for path in paths:
        index = read_rafdb(path)
        assert _facts(index) == facts
        assert all(index.has(sample) for sample in index.samples)


def test_holds_out_ten_percent_of_each_class(tmp_path):
    counts = count_classes(read_rafdb(write_rafdb(tmp_path, "efficientface", train=20, test=1)))
    assert set(counts["train"].values()) == {18}
    assert set(counts["valid"].values()) == {2}
    assert set(counts["test"].values()) == {1}


def test_held_out_samples_do_not_depend_on_the_order():
    samples = [
        Sample(id=f"train/{n % 3}/{n}.jpg", split="train", label=n % 3, label_distribution=None) for n in range(300)
    ]
    forward, backward = hold_out_validation(samples, 0.1), hold_out_validation(samples[::-1], 0.1)
    assert set(forward) == set(backward)
    assert [sample.id for sample in forward] == [sample.id for sample in samples]
    assert sum(sample.split == "valid" for sample in forward) == 30
    assert hold_out_validation([], 0.1) == ()
    assert [sample.split for sample in hold_out_validation(samples[:1], 0.1)] == ["train"]


def test_groups_have_names(tmp_path):
    sample = read_rafdb(write_rafdb(tmp_path, train=2, test=1)).samples[5]
    assert sample.groups == {"gender": "unsure", "race": "African-American", "age": "20-39"}
    assert (sample.line, sample.landmarks_xy) == (6, None)


def test_original_images_have_landmarks(tmp_path):
    index = read_rafdb(write_rafdb(tmp_path, images="original", train=2, test=1))
    assert not index.is_cropped
    expected = np.array(FACE_POINTS) * 100 + RAFDB_FACE_OFFSET
    for sample in index.samples:
        np.testing.assert_allclose(np.array(sample.landmarks_xy), expected, atol=0.01)


def test_prefers_aligned_images(tmp_path):
    write_rafdb(tmp_path, images="original", train=2, test=1)
    write_rafdb(tmp_path, images="aligned", train=2, test=1)
    assert read_rafdb(tmp_path).samples[0].id == "Image/aligned/train_00001_aligned.jpg"


@pytest.mark.parametrize("turn_deg", [0, 80, 180, 250])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (1, 0, 2, 4, 3), (1, 0, 2, 3, 4)])
def test_landmarks_start_with_the_subjects_right(tmp_path, order, turn_deg):
    write_rafdb(tmp_path, images="original", train=2, test=1)
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (np.array(FACE_POINTS) - 0.5) @ turn.T * 100 + 80
    file = tmp_path / "basic/Annotation/manual/train_00001_manu_attri.txt"
    lines = [f"{points[place][0]} {points[place][1]}" for place in order]
    file.write_text("\n".join([*lines, *file.read_text().splitlines()[5:]]))
    landmarks = read_rafdb(tmp_path).samples[0].landmarks_xy
    np.testing.assert_allclose(np.array(landmarks), points)


def test_uses_annotated_landmarks_without_a_detected_face(tmp_path):
    index = read_rafdb(write_rafdb(tmp_path / "data", images="original", train=2, test=1))
    store = prepare_faces(index, tmp_path / "store", patch=64, workers=1)
    assert store.is_found.all()
    eyes = store.landmarks_xy[:, :2]
    center = store.patches.shape[1] / 2
    np.testing.assert_allclose(eyes.mean(axis=1)[:, 0], center, atol=1)  # off-center in the photograph
    assert (eyes[:, 0, 0] < eyes[:, 1, 0]).all()


def test_missing_annotation_leaves_groups_empty(tmp_path):
    write_rafdb(tmp_path, train=2, test=1)
    shutil.rmtree(tmp_path / "basic/Annotation")
    assert {tuple(sample.groups) for sample in read_rafdb(tmp_path).samples} == {()}


@pytest.mark.parametrize(
    ("line", "text", "problem"),
    [
        (2, "train_00002.jpg 8", "class 1..7"),
        (2, "valid_00002.jpg 1", "train or test"),
        (2, "train_00002.jpg", "not like"),
        (2, "train_00001.jpg 1", "already listed in line 1"),
    ],
)
def test_names_malformed_line_of_the_label_list(tmp_path, line, text, problem):
    file = write_rafdb(tmp_path, train=2, test=1) / "basic" / LABEL_LIST
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[: line - 1], text, *lines[line:]]))
    with pytest.raises(AnnotationError, match=f"line {line}: .*{problem}"):
        read_rafdb(tmp_path)


@pytest.mark.parametrize(
    ("line", "text"),
    [(1, "12"), (2, "1 2 3"), (3, "nan 5"), (4, "a b"), (6, "3"), (7, "0 1"), (8, "old"), (8, ""), (9, "0")],
)
def test_malformed_annotation_counts_as_missing(tmp_path, line, text):
    write_rafdb(tmp_path, images="original", train=2, test=1)
    file = tmp_path / "basic/Annotation/manual/train_00003_manu_attri.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[: line - 1], text, *lines[line:]]))
    samples = read_rafdb(tmp_path).samples
    lacking = [_stem(sample) for sample in samples if sample.landmarks_xy is None or not sample.groups]
    assert lacking == ["train_00003"]


def test_rejects_label_list_without_images(tmp_path):
    shutil.rmtree(write_rafdb(tmp_path, train=2, test=1) / "basic/Image")
    with pytest.raises(LayoutError, match="Image/aligned/ or Image/original/"):
        read_rafdb(tmp_path)


def test_rejects_table_that_contradicts_its_folders(tmp_path):
    write_rafdb(tmp_path, "repacked", train=2, test=1)
    file = tmp_path / "test_labels.csv"
    file.write_text(file.read_text().replace("test_0002_aligned.jpg,2", "test_0002_aligned.jpg,5"))
    with pytest.raises(AnnotationError, match=r"test_labels.csv, line 3: .*'5' here but in folder 2\. Unpack"):
        read_rafdb(tmp_path)


def test_rejects_table_with_a_missing_image(tmp_path):
    write_rafdb(tmp_path, "repacked", train=2, test=1)
    (tmp_path / "DATASET/test/2/test_0002_aligned.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"test_labels.csv, line 3: .*test_0002.*incomplete"):
        read_rafdb(tmp_path)
    (tmp_path / "test_labels.csv").unlink()
    assert len(read_rafdb(tmp_path).samples) == 20


def test_rejects_ambiguous_class_numbers(tmp_path):
    write_rafdb(tmp_path, "efficientface", train=2, test=1)
    for split in ("train", "test"):
        shutil.rmtree(tmp_path / split / "0")
    with pytest.raises(LayoutError, match="without 0 and 7 the classes are ambiguous"):
        read_rafdb(tmp_path)
    write_rafdb(tmp_path / "both", "efficientface", train=1, test=1)
    shutil.copytree(tmp_path / "both/train/1", tmp_path / "both/train/7")
    with pytest.raises(LayoutError, match="0 and 7 both exist"):
        read_rafdb(tmp_path / "both")


def test_rejects_two_data_sets_in_one_folder(tmp_path):
    for name in ("one", "two"):
        write_rafdb(tmp_path / "folders" / name, "efficientface", train=1, test=1)
        write_rafdb(tmp_path / "lists" / name, train=1, test=1)
    for kind in ("folders", "lists"):
        with pytest.raises(LayoutError, match="found several"):
            read_rafdb(tmp_path / kind)
