from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.batch.shards import list_shards
from mien.errors import InputError
from support.batches import make_shard

pytest.importorskip("pyarrow")


@pytest.fixture
def folder(tmp_path):
    for name in ("0.jpg", "1.PNG", "2.nef", "3.webp", "4.jpg", "a.tar", "b.TAR.GZ", "c.mp4", "notes.txt", ".d.jpg"):
        (tmp_path / name).write_bytes(b"12")
    return tmp_path


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match=f"no images or videos found in {tmp_path}; expected JPEG"):
        list_shards([str(tmp_path)])


def test_divides_images_and_gives_tar_files_and_videos_a_shard_each(folder):
    shards = list_shards([str(folder)], shard_size=2).shards
    assert [(shard.name, shard.kind, [Path(path).name for path in shard.paths]) for shard in shards] == [
        ("images/000000", "images", ["0.jpg", "1.PNG"]),
        ("images/000001", "images", ["2.nef", "3.webp"]),
        ("images/000002", "images", ["4.jpg"]),
        ("images/000003", "archive", ["a.tar"]),
        ("images/000004", "archive", ["b.TAR.GZ"]),
        ("videos/000000", "video", ["c.mp4"]),
    ]
    assert [shard.size for shard in shards] == [4, 4, 2, 2, 2, 2]


def test_numbers_continue_in_the_next_source(folder):
    names = [shard.name for shard in list_shards([str(folder / "0.jpg"), str(folder / "c.mp4"), str(folder)]).shards]
    assert names == [
        *("images/000000", "videos/000000", "images/000001", "images/000002", "images/000003", "videos/000001")
    ]
    assert len(set(names)) == len(names)


def test_digest_changes_with_names_sizes_and_times(folder):
    before = list_shards([str(folder)]).digest
    assert list_shards([str(folder)]).digest == before
    (folder / "0.jpg").write_bytes(b"123")
    grown = list_shards([str(folder)]).digest
    os.utime(folder / "0.jpg", (1, 1))
    touched = list_shards([str(folder)]).digest
    (folder / "0.jpg").rename(folder / "00.jpg")
    assert len({before, grown, touched, list_shards([str(folder)]).digest}) == 4


def test_addresses_of_urls_have_their_scheme_and_no_options():
    assert make_shard(source="s3://bucket/a?region=x").address("bucket/a/b.jpg") == "s3://bucket/a/b.jpg"
    assert make_shard(source="photos").address("/home/photos/b.jpg") == "/home/photos/b.jpg"


def test_empty_source_is_named_without_its_password(monkeypatch):
    monkeypatch.setattr("mien.batch.shards.list_files", lambda source: [])
    with pytest.raises(InputError, match=r"^no images or videos found in s3://bucket/a; expected"):
        list_shards(["s3://user:secret@bucket/a"])
