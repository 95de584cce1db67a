"""Folder adapter: splits, class names, nested folders, and stray files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.datasets import ADAPTERS, check_dataset, read_dataset, read_folder
from mien.errors import DatasetError, InputError, LayoutError
from support.datasets import encode_png, make_pixels, write_image, zip_folder


def test_rejects_empty_folder(tmp_path):
    (tmp_path / "happy").mkdir()
    with pytest.raises(LayoutError, match="there are no images"):
        read_folder(tmp_path)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "faces"
    for name in ("train/Happy/a.jpg", "train/sad/b.PNG", "val/fear/deep/c.png", "test/HAPPINESS/a.jpg"):
        write_image(root / name)
    (root / "README.txt").write_text("not an image")
    (root / ".hidden").mkdir()
    write_image(root / ".hidden" / "d.png")
    return root


@pytest.mark.parametrize("kind", ["folder", "nested", "zip", "top", "two tops"])
def test_reads_splits_and_classes(tree, tmp_path, kind):
    path = {
        "folder": lambda: tree,
        "nested": lambda: tmp_path,
        "zip": lambda: zip_folder(tree, tmp_path / "flat.zip"),
        "top": lambda: zip_folder(tree, tmp_path / "top.zip", top="my faces"),
        "two tops": lambda: zip_folder(tree, tmp_path / "top.zip", top="download/my faces"),
    }[kind]()
    index = read_dataset("folder", path)
    assert index.labels == ("happiness", "sadness", "fear")
    assert [(s.id, s.split, s.label) for s in index.samples] == [
        ("test/HAPPINESS/a.jpg", "test", 0),
        ("train/Happy/a.jpg", "train", 0),
        ("train/sad/b.PNG", "train", 1),
        ("val/fear/deep/c.png", "valid", 2),
    ]
    assert index.samples[2].label_distribution == (0, 1, 0)
    assert [index.read(s) for s in index.samples] == [
        encode_png(make_pixels(s.id.split("/")[-1])) for s in index.samples
    ]


def test_image_without_split_belongs_to_every_split(tmp_path):
    write_image(tmp_path / "happy" / "a.png")
    write_image(tmp_path / "sad" / "b.png")
    index = read_folder(tmp_path)
    assert index.select("train") == index.select("test") == index


def test_single_class_or_split_is_not_a_top_folder(tmp_path):
    write_image(tmp_path / "happy" / "a.png")
    assert read_folder(tmp_path).samples[0].id == "happy/a.png"
    write_image(tmp_path / "one" / "test" / "sad" / "a.png")
    assert read_folder(tmp_path / "one").select("test").samples[0].id == "test/sad/a.png"


@pytest.mark.parametrize("name", ["cat/a.png", "train/cat/a.png", "train/cat.png"])
def test_names_unknown_class_and_lists_expected_ones(tree, name):
    write_image(tree / name)
    with pytest.raises(LayoutError, match=r"cat.*neutral, happiness, .*contempt"):
        read_folder(tree)


@pytest.mark.parametrize("as_zip", [True, False])
def test_skips_stray_files_above_the_class_folders(tmp_path, as_zip):
    root = tmp_path / "download"
    write_image(root / "deep" / "er" / "happy" / "a.png")
    for stray in ("logo.png", "deep/logo.png", "deep/er/logo.png"):
        write_image(root / stray)
    (root / "LICENSE").write_text("free")
    index = read_folder(zip_folder(root, tmp_path / "a.zip") if as_zip else root)
    assert [sample.id for sample in index.samples] == ["happy/a.png"]
    assert index.read(index.samples[0]) == encode_png(make_pixels("a.png"))


def test_names_full_path_of_unknown_class(tmp_path):
    write_image(tmp_path / "one" / "two" / "happy" / "a.png")
    write_image(tmp_path / "one" / "two" / "cat" / "a.png")
    with pytest.raises(LayoutError, match=r"one.two.cat: "):
        read_folder(tmp_path)


def test_rejects_images_without_class_folders(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    with pytest.raises(LayoutError, match="images"):
        read_folder(tmp_path)


def test_unknown_kind_lists_available_kinds(tmp_path):
    with pytest.raises(InputError, match=", ".join(ADAPTERS)):
        read_dataset("imagenet", tmp_path)


def test_counts_images_that_are_not_read_as_unreadable(tmp_path):
    write_image(tmp_path / "happy" / "a.png")
    for name in ("b.CR2", "c.heic", "d.svg"):
        (tmp_path / "happy" / name).write_bytes(b"x")
    report = check_dataset(read_folder(tmp_path))
    assert (report.n, list(report.unreadable)) == (4, ["happy/b.CR2", "happy/c.heic", "happy/d.svg"])


def test_follows_links_but_not_in_circles(tmp_path):
    write_image(tmp_path / "elsewhere" / "b.png")
    write_image(tmp_path / "faces" / "happy" / "a.png")
    (tmp_path / "faces" / "sad").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "faces" / "happy" / "loop").symlink_to(tmp_path / "faces", target_is_directory=True)
    (tmp_path / "faces" / "self").symlink_to("self")
    index = read_folder(tmp_path / "faces")
    assert [sample.id for sample in index.samples] == ["happy/a.png", "sad/b.png"]


def test_reports_a_folder_that_cannot_be_searched(tmp_path, monkeypatch):
    write_image(tmp_path / "happy" / "a.png")
    write_image(tmp_path / "sad" / "b.png")
    scan = os.scandir

    def deny(path):
        if Path(path).name == "sad":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(DatasetError, match=r"sad: cannot be searched: permission denied"):
        read_folder(tmp_path)
