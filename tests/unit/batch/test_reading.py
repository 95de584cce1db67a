from __future__ import annotations

import os
import tarfile

import pytest

from mien.batch.reading import read_images
from mien.batch.shards import Shard, list_shards
from mien.errors import ImageReadError
from support.batches import make_shard, write_tar

pytest.importorskip("pyarrow")


def read(path) -> dict[str, object]:
    (shard,) = list_shards([str(path)]).shards
    prefix = f"{path}/"
    return {
        name.removeprefix(prefix): str(content).removeprefix(prefix) if isinstance(content, ImageReadError) else content
        for name, content in read_images(shard)
    }


def test_reads_files_in_order(tmp_path):
    paths = [tmp_path / f"{number:02}.jpg" for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode())
    assert list(read(tmp_path).items()) == [(path.name, path.name.encode()) for path in paths]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "raw.nef").write_bytes(b"II*")
    shard: Shard = make_shard(0, str(tmp_path / "raw.nef"), str(tmp_path / "gone.jpg"), source=str(tmp_path))
    (_, raw), (_, gone) = read_images(shard)
    assert str(raw).endswith("raw.nef is a raw camera file; export it as JPEG or TIFF.")
    assert str(gone) == f"{tmp_path / 'gone.jpg'} cannot be read: no such file or directory."


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.gz"])
def test_numbers_repeated_names_of_a_tar_file(tmp_path, name):
    path = write_tar(
        tmp_path / name, ("x/1.jpg", b"1"), ("x/1.json", b"{}"), ("x/1.jpg", b"2"), (".2.jpg", b""), ("x/1.jpg", b"3")
    )
    assert read(path) == {"x/1.jpg": b"1", "x/1.jpg#2": b"2", "x/1.jpg#3": b"3"}


def test_names_that_are_not_utf8(tmp_path):
    path = write_tar(tmp_path / "a.tar", ("c\udce9.jpg", b"1"), ("c\udcea.jpg", b"2"), ("C\udce9.nef", b"3"))
    assert read(path) == {
        "c\ufffd.jpg": b"1",
        "c\ufffd.jpg#2": b"2",
        "C\ufffd.nef": "C\ufffd.nef is a raw camera file; export it as JPEG or TIFF.",
    }


def test_links_of_a_tar_file_are_errors(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")
    (tmp_path / "c.jpg").symlink_to("a.jpg")
    (tmp_path / "c.json").symlink_to("a.json")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a.jpg", "b.jpg", "c.jpg", "c.json"):
            archive.add(tmp_path / name, name)
    assert read(path) == {
        "a.jpg": b"1",
        "b.jpg": "b.jpg is a link in a tar file; extract it.",
        "c.jpg": "c.jpg is a link in a tar file; extract it.",
    }


def test_members_that_are_not_read(tmp_path):
    path = write_tar(tmp_path / "a.tar", ("1.mp4", b"1"), ("2.nef", b"2"))
    assert read(path) == {
        "1.mp4": "1.mp4 is a video in a tar file; extract it.",
        "2.nef": "2.nef is a raw camera file; export it as JPEG or TIFF.",
    }


def test_truncated_tar_file_gives_what_is_before_the_end(tmp_path):
    path = write_tar(tmp_path / "a.tar", ("1.jpg", b"1" * 600), ("2.jpg", b"2" * 6000))
    path.write_bytes(path.read_bytes()[:3000])
    contents = read(path)
    assert contents["1.jpg"] == b"1" * 600
    assert "cannot be read: " in contents[str(path)]


@pytest.mark.parametrize("data", [b"", b"not a tar file"])
def test_file_that_is_not_a_tar_file(tmp_path, data):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    assert list(read(path)) == [str(path)]


def test_empty_tar_file(tmp_path):
    assert read(write_tar(tmp_path / "a.tar")) == {}
