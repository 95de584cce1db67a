"""Files of data sets: without permission, and broken links."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from mien.datasets import check_dataset, read_dataset, read_leaks, write_leaks
from mien.datasets.face_store import prepare_faces
from mien.datasets.index import hold_out_validation
from mien.datasets.rafdb import LABEL_LIST
from mien.errors import DatasetError, InputError
from support.datasets import (
    encode_png,
    make_pixels,
    write_affectnet,
    write_fer2013,
    write_ferplus,
    write_image,
    write_kaggle,
    write_rafdb,
    zip_folder,
)
from support.permissions import deny

KINDS = ("ferplus", "rafdb", "affectnet", "fer2013", "folder", "table")


def break_link(path: Path) -> None:
    """Replace a file by a link to nothing."""
    path.unlink()
    path.symlink_to("nothing")


@pytest.mark.parametrize("kind", KINDS)
def test_path_without_permission_is_a_data_set_error(kind, tmp_path, monkeypatch):
    deny(monkeypatch, tmp_path / "locked")
    with pytest.raises(DatasetError, match=r"locked/data: cannot be read: permission denied\.$"):
        read_dataset(kind, tmp_path / "locked/data")


def test_zip_file_without_permission_is_not_called_another_file(tmp_path, monkeypatch):
    path = zip_folder(write_ferplus(tmp_path / "tree"), tmp_path / "data.zip")
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda *arguments: _refuse(path, original, *arguments))
    with pytest.raises(DatasetError, match=r"data\.zip: cannot be read: permission denied"):
        read_dataset("ferplus", path)


def test_pixel_table_without_permission_is_a_data_set_error(tmp_path, monkeypatch):
    path = write_fer2013(tmp_path, train=1, valid=1, test=1)
    index = read_dataset("fer2013", path)
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda *arguments: _refuse(path, original, *arguments))
    with pytest.raises(DatasetError, match=r"fer2013\.csv: cannot be read: permission denied"):
        read_dataset("fer2013", path)
    report = check_dataset(index, workers=1)
    assert len(report.unreadable) == len(index.samples)


def _refuse(path, function, *arguments):
    if arguments[0] == path:
        raise PermissionError(13, "Permission denied", str(path))
    return function(*arguments)


def test_folder_with_names_but_without_access_is_a_data_set_error(tmp_path, monkeypatch):
    """A folder that can be listed but not searched: mode 444."""
    write_image(tmp_path / "happy/a.png")
    (tmp_path / "happy/more").mkdir()
    deny(monkeypatch, tmp_path / "happy/a.png", tmp_path / "happy/more")
    with pytest.raises(DatasetError, match=r"happy/more: cannot be searched: permission denied\.$"):
        read_dataset("folder", tmp_path)


def test_broken_link_to_a_label_file_is_a_data_set_error(tmp_path):
    write_kaggle(tmp_path / "kaggle")
    break_link(tmp_path / "kaggle/fer2013new.csv")
    with pytest.raises(DatasetError, match=r"fer2013new\.csv: no such file; is it a broken link\?$"):
        read_dataset("ferplus", tmp_path / "kaggle")
    write_rafdb(tmp_path / "official", train=2, test=1)
    break_link(tmp_path / "official/basic" / LABEL_LIST)
    with pytest.raises(DatasetError, match=r"list_patition_label\.txt: no such file; is it a broken link\?$"):
        read_dataset("rafdb", tmp_path / "official")
    write_rafdb(tmp_path / "repacked", "repacked", train=2, test=1)
    break_link(tmp_path / "repacked/train_labels.csv")
    with pytest.raises(DatasetError, match=r"train_labels\.csv: no such file; is it a broken link\?$"):
        read_dataset("rafdb", tmp_path / "repacked")
    write_affectnet(tmp_path / "affectnet", train=2, test=1)
    break_link(tmp_path / "affectnet/val_set/annotations/3_exp.npy")
    with pytest.raises(DatasetError, match=r"3_exp\.npy: no such file; is it a broken link\?$"):
        read_dataset("affectnet", tmp_path / "affectnet")


def test_broken_link_to_an_optional_annotation_counts_as_missing(tmp_path):
    write_rafdb(tmp_path / "rafdb", images="original", train=2, test=1)
    break_link(tmp_path / "rafdb/basic/Annotation/manual/train_00003_manu_attri.txt")
    samples = read_dataset("rafdb", tmp_path / "rafdb").samples
    assert [Path(sample.id).stem for sample in samples if sample.landmarks_xy is None] == ["train_00003"]
    write_affectnet(tmp_path / "affectnet", train=2, test=1)
    break_link(tmp_path / "affectnet/val_set/annotations/3_lnd.npy")
    samples = read_dataset("affectnet", tmp_path / "affectnet").samples
    assert [sample.id for sample in samples if sample.landmarks_xy is None] == ["val_set/images/3.jpg"]


def write_zip(path: Path, entries: dict[str, str]) -> Path:
    """Write a zip archive with images by entry name, given the names of their pixels."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, pixels in entries.items():
            entry = zipfile.ZipInfo()
            entry.filename = name
            archive.writestr(entry, encode_png(make_pixels(pixels)))
    return path


@pytest.mark.parametrize(
    "names", [["happy\\1.png", "sad\\2.png"], ["happy/1.png", "sad\\2.png"], ["./happy/1.png", "./sad/./2.png"]]
)
def test_zip_entries_are_read_by_normalized_names(tmp_path, names):
    path = write_zip(tmp_path / "data.zip", {"happy\\": "folder", **{name: name for name in names}})
    index = read_dataset("folder", path)
    assert [sample.id for sample in index.samples] == ["happy/1.png", "sad/2.png"]
    for sample, name in zip(index.samples, names, strict=True):
        assert index.has(sample)
        assert index.read(sample) == encode_png(make_pixels(name))
    assert not index.images.has("happy/3.png")


def test_rejects_a_zip_entry_that_occurs_twice(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"happy/1.png": "a", "./happy/1.png": "b"})
    with pytest.raises(DatasetError, match=r"data\.zip: the file happy/1\.png occurs twice in the archive"):
        read_dataset("folder", path)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode")
def test_file_name_that_is_not_utf8_can_be_prepared_and_excluded(tmp_path):
    for split in ("train", "valid"):
        write_image(
            tmp_path / "data" / split / "happy" / os.fsdecode(f"caf\xe9-{split}.png".encode("latin-1")), "a.png"
        )
        write_image(tmp_path / "data" / split / "sad" / f"{split}.png")
    index = read_dataset("folder", tmp_path / "data")
    (tmp_path / "data/train/sad/train.png").write_bytes(b"")
    leaked = check_dataset(index).duplicates_in_later_splits
    write_leaks(tmp_path / "leaks.csv", index, leaked)
    assert read_leaks(tmp_path / "leaks.csv") == set(leaked) == {index.samples[0].id}
    assert len(hold_out_validation(index.samples, 0.1)) == 4
    prepare_faces(index, tmp_path / "store", patch=16, workers=1)
    assert prepare_faces(index, tmp_path / "store", patch=16).unreadable == ("train/sad/train.png",)


@pytest.mark.parametrize(
    "read", [read_leaks, lambda path: read_dataset("folder", path), lambda path: read_dataset("joined", path)]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_messages_omit_the_password_of_an_address(read, kind):
    with pytest.raises((DatasetError, InputError), match="host/data") as error:
        read(kind("https://user:secret@host/data"))
    assert "secret" not in str(error.value)
