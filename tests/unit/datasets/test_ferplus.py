"""FER+ adapter: label protocols, layouts, leak lists, and malformed files."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.datasets import (
    argmax_label,
    argmax_labels,
    find_duplicates,
    majority_label,
    majority_labels,
    read_ferplus,
    read_leaks,
    vote_distributions,
)
from mien.emotions import EXPRESSIONS
from mien.errors import AnnotationError, DatasetError, InputError, LayoutError
from mien.imaging import read_image
from support.datasets import FERPLUS, encode_png, make_pixels, write_ferplus, write_kaggle, write_new_csv, zip_folder

REAL = Path(__file__).parents[4] / "shared" / "data"

vote_rows = st.lists(
    st.lists(st.integers(0, 10), min_size=10, max_size=10).filter(lambda votes: sum(votes) > 0), min_size=1, max_size=8
)


def test_labels_of_no_votes_are_empty():
    empty = np.zeros((0, 10))
    assert majority_labels(empty).shape == argmax_labels(empty).shape == (0,)
    assert vote_distributions(empty)[0].shape == (0, 8)


def test_rejects_empty_folder(tmp_path):
    with pytest.raises(LayoutError, match="FER2013Train"):
        read_ferplus(tmp_path)
    with pytest.raises(LayoutError, match="does not exist"):
        read_ferplus(tmp_path / "absent")
    (tmp_path / "labels.txt").write_text("not a zip")
    with pytest.raises(LayoutError, match="neither"):
        read_ferplus(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("votes", "majority", "argmax"),
    [
        ((0, 9, 0, 1, 0, 0, 0, 0, 0, 0), 1, 1),
        ((4, 4, 2, 0, 0, 0, 0, 0, 0, 0), None, 0),  # less than half
        ((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), None, 0),  # exactly half
        ((4, 1, 1, 1, 1, 1, 1, 0, 0, 0), 0, 0),  # votes of 1 are dropped
        ((2, 0, 0, 1, 0, 0, 0, 0, 7, 0), None, None),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 10), None, None),
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), None, 0),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 0), None, None),
    ],
)
def test_label_of_each_protocol(votes, majority, argmax):
    assert majority_label(votes) == majority
    assert argmax_label(votes) == argmax


def test_rejects_votes_of_wrong_shape():
    with pytest.raises(InputError, match="10"):
        majority_label([1, 2, 3])


@settings(max_examples=50, deadline=None)
@given(vote_rows)
def test_majority_label_matches_the_paper(rows):
    for votes, label in zip(rows, majority_labels(np.array(rows)), strict=True):
        remaining = [vote if vote > 1 else 0 for vote in votes]
        winners = [c for c in range(8) if 2 * remaining[c] > sum(remaining)]
        assert [int(label)] == (winners or [-1])


@settings(max_examples=50, deadline=None)
@given(vote_rows)
def test_usable_target_sums_to_one(rows):
    votes = np.array(rows)
    distributions, is_usable = vote_distributions(votes)
    np.testing.assert_allclose(distributions.sum(axis=1), is_usable.astype(float), atol=1e-12)
    labels = majority_labels(votes)
    assert is_usable[labels >= 0].all()
    assert (distributions.argmax(axis=1) == labels)[labels >= 0].all()


def _layouts(tmp_path: Path) -> dict[str, Path]:
    folder = write_ferplus(tmp_path / "official")
    labels_only = write_ferplus(tmp_path / "labels", with_table=False)
    write_ferplus(tmp_path / "above" / "inside")
    write_ferplus(tmp_path / "beside" / "two" / "tops")
    (tmp_path / "beside" / "README.md").write_text("read me")
    (tmp_path / "beside" / "two" / "LICENSE").write_text("free")
    write_kaggle(tmp_path / "pair" / "fer2013")
    (tmp_path / "pair" / "README.md").write_text("read me")
    return {
        "official": folder,
        "labels": labels_only,
        "nested": tmp_path / "above",
        "zip": zip_folder(folder, tmp_path / "flat.zip"),
        "zip below a top folder": zip_folder(folder, tmp_path / "top.zip", top="ferplus"),
        "beside other files": tmp_path / "beside",
        "zip beside other files": zip_folder(tmp_path / "beside", tmp_path / "beside.zip", top="a/b"),
        "kaggle": write_kaggle(tmp_path / "kaggle"),
        "kaggle beside other files": tmp_path / "pair",
    }


def test_all_layouts_give_the_same_samples_and_pixels(tmp_path):
    names = [(f"{folder}/{name}", votes) for folder, images in FERPLUS.items() for name, votes in images if name]
    for layout, path in _layouts(tmp_path).items():
        index = read_ferplus(path)
        assert [(sample.id, sample.votes) for sample in index.samples] == names, layout
        assert index.labels == EXPRESSIONS
        assert index.is_cropped
        for sample in index.samples:
            assert index.has(sample)
            image = read_image(index.read(sample))
            np.testing.assert_array_equal(image[:, :, 0], make_pixels(sample.id))


def test_rejects_two_data_sets_in_one_folder(tmp_path):
    write_ferplus(tmp_path / "one")
    write_kaggle(tmp_path / "two")
    with pytest.raises(LayoutError, match="several: one, two"):
        read_ferplus(tmp_path)


def test_finds_folders_below_a_stray_table(tmp_path):
    write_ferplus(tmp_path / "data", with_table=False)
    write_new_csv(tmp_path / "fer2013new.csv")
    assert len(read_ferplus(tmp_path).samples) == 6


def test_reads_labels_targets_and_splits(tmp_path):
    index = read_ferplus(write_ferplus(tmp_path))
    assert [(s.split, s.label) for s in index.samples] == [
        ("train", 1),
        ("train", 3),
        ("valid", None),
        ("valid", 1),
        ("test", None),
        ("test", 3),
    ]
    happy, sad, tied, _, unknown, _ = (sample.label_distribution for sample in index.samples)
    assert happy == (0, 1, 0, 0, 0, 0, 0, 0)
    assert sad == (0.2, 0, 0, 0.8, 0, 0, 0, 0)
    assert tied == (0.4, 0.4, 0.2, 0, 0, 0, 0, 0)
    assert unknown is None


@pytest.mark.parametrize("with_table", [True, False])
@pytest.mark.parametrize("as_zip", [True, False])
def test_reads_test_split_without_the_others(tmp_path, with_table, as_zip):
    path = write_ferplus(tmp_path / "held", ("FER2013Test",), with_table=with_table)
    if with_table:
        (path / "FER2013Test" / "label.csv").unlink()
    if as_zip:
        path = zip_folder(path, tmp_path / "held.zip")
    index = read_ferplus(path)
    assert [sample.id for sample in index.select("test").samples] == [sample.id for sample in index.samples]
    assert index.read(index.samples[0]) == encode_png(make_pixels("fer0032220.png"))
    with pytest.raises(DatasetError, match=r"'train'.*It has: test"):
        index.select("train")
    with pytest.raises(InputError, match="train, valid, test"):
        index.select("PublicTest")


def test_reads_only_splits_with_a_folder(tmp_path):
    write_ferplus(tmp_path, ("FER2013Valid",), with_table=False)
    write_new_csv(tmp_path / "fer2013new.csv")
    assert {sample.split for sample in read_ferplus(tmp_path).samples} == {"valid"}


def test_excludes_images_by_name_or_id(tmp_path):
    write_ferplus(tmp_path)
    index = read_ferplus(tmp_path, exclude={"fer0000000.png", "FER2013Valid/fer0028639.png"})
    assert [s.id for s in index.samples if s.split != "test"] == [
        "FER2013Train/fer0000001.png",
        "FER2013Valid/fer0028638.png",
    ]


def test_names_missing_image_and_its_line(tmp_path):
    index = read_ferplus(write_ferplus(tmp_path))
    (tmp_path / "FER2013Train" / "fer0000001.png").unlink()
    assert not index.has(index.samples[1])
    with pytest.raises(DatasetError, match=r"fer0000001.png \(line 3"):
        index.read(index.samples[1])


def test_reads_zip_from_threads_and_after_pickling(tmp_path):
    index = read_ferplus(zip_folder(write_ferplus(tmp_path / "tree"), tmp_path / "data.zip", top="a"))
    expected = [encode_png(make_pixels(sample.id)) for sample in index.samples] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(index.read, index.samples * 20)) == expected
    copy = pickle.loads(pickle.dumps(index))
    assert copy == index
    assert [copy.read(sample) for sample in copy.samples] == expected[:6]


def test_opens_zip_again_in_another_process(tmp_path, monkeypatch):
    index = read_ferplus(zip_folder(write_ferplus(tmp_path / "tree"), tmp_path / "data.zip"))
    index.read(index.samples[0])
    parent = index.source._opened
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert index.read(index.samples[1]) == encode_png(make_pixels("fer0000001.png"))
    assert index.source._opened[2] is not parent[2]
    assert index.source._opened[1] is not parent[1]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("Training,x.png,1,2,3", "5 columns"),
        ("Training,x.png,1,2,3,4,5,6,7,8,9,many", "numbers"),
        ("Training,x.png,1,2,3,4,5,6,7,8,9,-1", "numbers"),
        ("Training,x.png,1,2,3,4,5,6,7,8,9,nan", "numbers"),
        ("Trained,x.png,1,2,3,4,5,6,7,8,9,0", "Usage is 'Trained'"),
        ("Training,fer0000000.png,1,2,3,4,5,6,7,8,9,0", "other votes than in line 2"),
        ('"Training,\n', "Usage is"),
    ],
)
def test_names_malformed_row(tmp_path, row, problem):
    write_ferplus(tmp_path)
    with (tmp_path / "fer2013new.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(AnnotationError, match=f"fer2013new.csv, line 9: .*{problem}"):
        read_ferplus(tmp_path)


def test_reads_repeated_image_once(tmp_path):
    write_ferplus(tmp_path)
    table = tmp_path / "fer2013new.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1], ""]))
    assert len(read_ferplus(tmp_path).samples) == 6


def test_rejects_labels_that_are_not_utf8(tmp_path):
    write_ferplus(tmp_path)
    (tmp_path / "fer2013new.csv").write_bytes(b"Usage,\n\xff\xfe\n")
    with pytest.raises(AnnotationError, match="line 2: is not UTF-8"):
        read_ferplus(tmp_path)


def test_rejects_split_without_label_file(tmp_path):
    write_ferplus(tmp_path, with_table=False)
    (tmp_path / "FER2013Valid" / "label.csv").write_text("")
    assert {sample.split for sample in read_ferplus(tmp_path).samples} == {"train", "test"}
    (tmp_path / "FER2013Valid" / "label.csv").unlink()
    with pytest.raises(LayoutError, match="FER2013Valid"):
        read_ferplus(tmp_path)


def test_rejects_kaggle_pair_with_different_rows(tmp_path):
    write_kaggle(tmp_path)
    pixels = tmp_path / "fer2013.csv"
    lines = pixels.read_text().splitlines()
    pixels.write_text("\n".join(lines[:-1]))
    with pytest.raises(LayoutError, match="the same rows"):
        read_ferplus(tmp_path)
    pixels.write_text("\n".join([*lines[:-1], "3,1 2 3,Training"]))
    with pytest.raises(AnnotationError, match="line 8: Usage is 'Training'"):
        read_ferplus(tmp_path)
    pixels.write_text("\n".join([*lines[:-1], "3,1 2 3,PrivateTest"]))
    index = read_ferplus(tmp_path)
    with pytest.raises(AnnotationError, match=r"line 8: the pixels"):
        index.read(index.samples[-1])
    pixels.write_text("\n".join(["a,b,c", *lines[1:]]))
    with pytest.raises(AnnotationError, match="header"):
        read_ferplus(tmp_path)


def test_names_image_that_cannot_be_unpacked(tmp_path):
    path = zip_folder(write_ferplus(tmp_path / "tree"), tmp_path / "data.zip")
    data = bytearray(path.read_bytes())
    place = data.find(encode_png(make_pixels("fer0000000.png")))
    data[place + 100] ^= 255
    path.write_bytes(data)
    index = read_ferplus(path)
    with pytest.raises(DatasetError, match=r"fer0000000.png cannot be unpacked"):
        index.read(index.samples[0])


def test_reads_leak_list(tmp_path):
    path = tmp_path / "leaks.csv"
    with pytest.raises(InputError, match=r"leaks.csv"):
        read_leaks(path)
    path.write_text("Usage,Image name\nTraining,a.png\nPublicTest,b.png\n")
    assert read_leaks(path) == {"a.png", "b.png"}
    assert read_leaks(path, split="valid") == {"b.png"}
    path.write_text("Usage,Image name\nTrain,a.png\n")
    with pytest.raises(AnnotationError, match="line 2"):
        read_leaks(path)


def test_synthetic_faces_have_no_duplicates(tmp_path):
    assert find_duplicates(read_ferplus(write_ferplus(tmp_path))) == []


@pytest.mark.skipif(not (REAL / "ferplus.zip").exists(), reason="the real FER+ is not beside the repository")
def test_counts_of_real_ferplus():
    leaks = read_leaks(REAL / "ferplus_leaks.csv")
    index = read_ferplus(REAL / "ferplus.zip")
    train, valid = index.select("train").samples, index.select("valid").samples
    assert (len(train), len(valid)) == (28_558, 3_579)
    assert sum(sample.label is not None for sample in valid) == 3_199
    argmax = argmax_labels(np.array([sample.votes for sample in valid]))
    assert (argmax >= 0).sum() == 3_553
    assert (len(leaks), len(read_leaks(REAL / "ferplus_leaks.csv", split="valid"))) == (738, 46)
    without_leaks = read_ferplus(REAL / "ferplus.zip", exclude=leaks)
    assert len(index.samples) - len(without_leaks.samples) == len(leaks)
    assert read_image(index.read(valid[-1])).shape == (48, 48, 3)
