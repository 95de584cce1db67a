from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import tarfile
from pathlib import Path

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


def two_members(tmp_path) -> tuple[bytes, int]:
    """Return a tar file with 1.jpg and 2.jpg, and the place of its end marker."""
    data = write_tar(tmp_path / "two.tar", ("1.jpg", b"1" * 600), ("2.jpg", b"2" * 600)).read_bytes()
    return data, 2 * (512 + 1024)


@pytest.mark.parametrize("place", [1536, 1537, 2000, 3072])
def test_tar_file_cut_in_a_header_or_before_its_end_marker_is_an_error(tmp_path, place):
    data, _ = two_members(tmp_path)
    (tmp_path / "a.tar").write_bytes(data[:place])
    contents = read(tmp_path / "a.tar")
    assert contents["1.jpg"] == b"1" * 600
    assert "expected a header or the end marker at byte" in contents[str(tmp_path / "a.tar")]


def test_damaged_header_of_a_tar_file_is_an_error(tmp_path):
    data, _ = two_members(tmp_path)
    (tmp_path / "a.tar").write_bytes(data[:1536] + b"x" + data[1537:])
    assert read(tmp_path / "a.tar") == {
        "1.jpg": b"1" * 600,
        str(tmp_path / "a.tar"): f"{tmp_path / 'a.tar'} cannot be read: expected a header or the end marker at byte "
        "1,536: bad checksum.",
    }


@pytest.mark.parametrize("padding", [512, 1024, 20_480])
def test_end_marker_of_any_length_is_valid(tmp_path, padding):
    data, end = two_members(tmp_path)
    (tmp_path / "a.tar").write_bytes(data[:end] + bytes(padding))
    assert read(tmp_path / "a.tar") == {"1.jpg": b"1" * 600, "2.jpg": b"2" * 600}


def test_joined_tar_files_are_an_error_after_the_first(tmp_path):
    data, _ = two_members(tmp_path)
    (tmp_path / "a.tar").write_bytes(data + data)
    assert list(read(tmp_path / "a.tar")) == ["1.jpg", "2.jpg", str(tmp_path / "a.tar")]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tar_file_of_several_parts(tmp_path, compress):
    data, _ = two_members(tmp_path)
    path = tmp_path / "a.tgz"
    path.write_bytes(compress(data[:700]) + compress(data[700:2000]) + compress(data[2000:]))
    assert read(path) == {"1.jpg": b"1" * 600, "2.jpg": b"2" * 600}
    path.write_bytes(compress(data)[:-5])
    assert str(path) in read(path)


def test_plain_tar_file_that_begins_as_bzip2(tmp_path):
    path = write_tar(tmp_path / "a.tar", ("BZh/1.jpg", b"1"))
    assert read(path) == {"BZh/1.jpg": b"1"}


def test_wrong_crc_of_a_compressed_tar_file_is_an_error(tmp_path):
    data, _ = two_members(tmp_path)
    path = tmp_path / "a.tgz"
    compressed = bytearray(gzip.compress(data))
    compressed[-8] ^= 1
    path.write_bytes(compressed)
    contents = read(path)
    assert list(contents) == ["1.jpg", "2.jpg", str(path)]
    assert "CRC check failed" in contents[str(path)]


@pytest.mark.parametrize("data", [b"", b"not a tar file"])
def test_file_that_is_not_a_tar_file(tmp_path, data):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    assert list(read(path)) == [str(path)]


@pytest.mark.parametrize("members", [[], [("a.txt", b"1"), (".b.jpg", b"2")]])
def test_tar_file_without_images_is_an_error(tmp_path, members):
    path = write_tar(tmp_path / "a.tar", *members)
    assert read(path) == {str(path): f"no images found in {path}; expected JPEG, PNG or others."}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("name", [str, Path.as_uri])
def test_reads_files_with_names_that_are_not_utf8(tmp_path, name):
    (tmp_path / "\udcff.jpg").write_bytes(b"1")
    (tmp_path / "\udcff.txt").write_bytes(b"2")
    write_tar(tmp_path / "\udcff.tar", ("2.jpg", b"3"))
    shards = list_shards([name(tmp_path)]).shards
    contents = {item.removeprefix(name(tmp_path)): content for shard in shards for item, content in read_images(shard)}
    replaced = "\ufffd" if name is str else "%EF%BF%BD"
    assert contents == {f"/{replaced}.jpg": b"1", f"/{replaced}.tar/2.jpg": b"3"}
