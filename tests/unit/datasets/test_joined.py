"""Joined data sets: ids, common labels, targets, and leak lists."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from mien.datasets import ADAPTERS, DatasetKind, Index, Sample, join, read_dataset, read_ferplus, read_rafdb
from mien.datasets.files import FolderFiles
from mien.emotions import BASIC_EXPRESSIONS, EXPRESSIONS
from mien.errors import DatasetError, InputError
from mien.imaging import read_image
from support.datasets import write_affectnet, write_fer2013, write_ferplus, write_image, write_rafdb, zip_folder


def test_rejects_empty_list():
    with pytest.raises(InputError, match="no data set"):
        join([])


def test_command_line_lists_every_kind():
    assert get_args(DatasetKind) == tuple(ADAPTERS)


@pytest.fixture
def parts(tmp_path):
    ferplus = zip_folder(write_ferplus(tmp_path / "tree"), tmp_path / "ferplus.zip")
    return ferplus, write_rafdb(tmp_path / "rafdb", train=2, test=1)


def test_prefixes_ids_adds_groups_and_reads_pixels(parts):
    ferplus, rafdb = read_ferplus(parts[0]), read_rafdb(parts[1])
    index = pickle.loads(pickle.dumps(read_dataset("joined", f"ferplus={parts[0]},rafdb={parts[1]}")))
    assert (index.name, index.labels, index.is_cropped) == ("ferplus+rafdb", BASIC_EXPRESSIONS, True)
    assert len({sample.id for sample in index.samples}) == len(index.samples)
    for source in (ferplus, rafdb):
        for sample in source.samples:
            joined = [s for s in index.samples if s.id == f"{source.name}/{sample.id}"]
            assert len(joined) == (sample.label_distribution is not None)
            for copy in joined:
                assert index.has(copy)
                assert index.read(copy) == source.read(sample)
                assert copy.groups == {**sample.groups, "dataset": source.name}
                assert copy.votes is None
    assert not index.has(replace(index.samples[0], id="other/a.png"))
    assert not index.has(replace(index.samples[0], id="rafdb/a.png"))


def test_accepts_parts_as_a_path(parts):
    index = read_dataset("joined", Path(f"ferplus={parts[0]},rafdb={parts[1]}"))
    assert {sample.groups["dataset"] for sample in index.samples} == {"ferplus", "rafdb"}


def _index(*samples: Sample, labels: tuple[str, ...] = EXPRESSIONS, name: str = "made") -> Index:
    return Index(
        name=name,
        root=Path(name),
        labels=labels,
        samples=samples,
        license="CC0",
        is_cropped=True,
        source=FolderFiles(Path(name)),
    )


def _sample(label: int | None, distribution: tuple[float, ...] | None) -> Sample:
    return Sample(id="a.png", split="train", label=label, label_distribution=distribution)


@pytest.mark.parametrize(
    ("label", "distribution", "expected"),
    [
        (0, (0.6, 0.1, 0.0, 0.3), (0, (0.6 / 0.7, 0.1 / 0.7))),
        (0, None, (0, None)),
        (3, (0.4, 0.0, 0.0, 0.6), None),
        (None, (0.25, 0.25, 0.0, 0.5), (None, (0.5, 0.5))),
        (None, (0.25, 0.0, 0.25, 0.5), None),
        (None, None, None),
    ],
)
def test_keeps_samples_of_common_labels(label, distribution, expected):
    labels = ("neutral", "happiness", "fear", "contempt")
    other = _index(_sample(0, (1.0, 0.0)), labels=("happiness", "neutral"), name="other")
    index = join([_index(_sample(label, distribution), labels=labels), other])
    assert index.labels == ("neutral", "happiness")
    assert (index.samples[-1].label, index.samples[-1].label_distribution) == (1, (0.0, 1.0))
    joined = [(s.label, s.label_distribution) for s in index.samples if s.groups["dataset"] == "made"]
    assert joined == ([] if expected is None else [expected])


def test_accepts_explicit_labels():
    one = _index(_sample(1, (0.0, 1.0)), labels=("neutral", "happiness"), name="one")
    two = _index(_sample(0, (1.0,)), labels=("contempt",), name="two")
    index = join([one, two], labels=("happiness", "contempt"))
    assert [(s.label, s.label_distribution) for s in index.samples] == [(0, (1.0, 0.0)), (1, (0.0, 1.0))]
    with pytest.raises(DatasetError, match="no expression in common"):
        join([one, two])
    for labels in ((), ("joy",), ("happiness", "happiness")):
        with pytest.raises(InputError, match="distinct names among contempt, happiness, neutral"):
            join([one, two], labels=labels)
    with pytest.raises(DatasetError, match="no sample of neutral"):
        join([one], labels=("neutral",))


def test_equal_names_get_a_suffix(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / name / "happy" / "same.png", name)
    index = read_dataset("joined", f"folder={tmp_path / 'a'}, folder={tmp_path / 'b'}")
    assert [sample.id for sample in index.samples] == ["folder/happy/same.png", "folder-2/happy/same.png"]
    assert index.read(index.samples[0]) != index.read(index.samples[1])


def test_column_named_dataset_is_renamed(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "one.csv").write_text("image,label,dataset,dataset-2\na.png,happy,studio,left\n")
    (tmp_path / "two.csv").write_text("image,label\na.png,happy\n")
    index = read_dataset("joined", f"table={tmp_path / 'one.csv'},table={tmp_path / 'two.csv'}")
    assert [dict(sample.groups) for sample in index.samples] == [
        {"dataset": "table", "dataset-2": "left", "dataset-3": "studio"},
        {"dataset": "table-2"},
    ]


def test_leak_list_matches_joined_images_by_file_name(tmp_path, parts):
    from mien.training.config import DataConfig
    from mien.training.data import load_faces, read_index

    leaks = tmp_path / "leaks.csv"
    leaks.write_text("Usage,Image name\nTraining,fer0000000.png\n")
    path = f"ferplus={parts[0]},rafdb={parts[1]}"
    data = DataConfig(dataset="joined", path=path, patch=48, store=str(tmp_path / "store"))
    whole, valid = load_faces(read_index(data), data, tmp_path)
    without, _ = load_faces(read_index(data), replace(data, exclude=str(leaks)), tmp_path)
    assert (len(whole.rows), len(without.rows), len(valid.rows)) == (9, 8, 9)
    assert whole.names == BASIC_EXPRESSIONS


def test_rejects_crops_with_photographs(tmp_path, parts):
    originals = write_rafdb(tmp_path / "originals", images="original", train=1, test=1)
    with pytest.raises(DatasetError, match="face crops: ferplus; whole photographs: rafdb"):
        read_dataset("joined", f"ferplus={parts[0]},rafdb={originals}")


def test_joins_affectnet_and_fer2013(tmp_path):
    affectnet, fer2013 = (write_affectnet(tmp_path / "a", train=2, test=1), write_fer2013(tmp_path / "f", train=1))
    index = read_dataset("joined", f"affectnet={affectnet},affectnet7={affectnet},fer2013={fer2013}")
    assert index.labels == BASIC_EXPRESSIONS
    assert {read_image(index.read(sample)).shape for sample in index.samples} == {(112, 112, 3), (48, 48, 3)}


@pytest.mark.parametrize("text", ["", "ferplus", "ferplus=", "=a", "ferplus=a,,rafdb=b"])
def test_rejects_malformed_parts(text):
    with pytest.raises(InputError, match="KIND=PATH"):
        read_dataset("joined", text)


def test_rejects_unknown_or_joined_part():
    with pytest.raises(InputError, match="unknown kind of data set 'cats'"):
        read_dataset("joined", "cats=/a")
    with pytest.raises(InputError, match="cannot be joined again"):
        read_dataset("joined", "joined=/a")
