from __future__ import annotations

import os
import sys

import pytest

from mien.batch.storage import file_address, list_files, open_storage, read_file
from mien.errors import InputError, MissingExtraError
from support.permissions import deny

pytest.importorskip("pyarrow")


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_lists_a_folder_sorted_and_without_hidden_files(tmp_path):
    for name in ("b.jpg", "a/c.jpg", ".hidden.jpg", ".cache/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12")
    files = list_files(str(tmp_path))
    assert [file.path for file in files] == [str(tmp_path / "a/c.jpg"), str(tmp_path / "b.jpg")]
    assert {file.size for file in files} == {2}


def test_a_folder_inside_a_hidden_one_is_listed_when_it_is_given(tmp_path):
    folder = tmp_path / ".photos" / "new"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"1")
    assert [file.path for file in list_files(str(folder))] == [str(folder / "a.jpg")]


def test_lists_a_single_file_by_its_relative_path(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    assert [file.path for file in list_files("a.jpg")] == [str(tmp_path / "a.jpg")]


def test_reads_file_urls(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(b"1")
    url = (tmp_path).as_uri()
    (file,) = list_files(url)
    assert read_file(url, file.path) == b"1"


def test_reads_the_file_systems_of_fsspec(memory):
    memory.pipe("/photos/b.jpg", b"22")
    memory.pipe("/photos/a/c.jpg", b"1")
    files = list_files("memory://photos")
    assert [(file.path, file.size) for file in files] == [("/photos/a/c.jpg", 1), ("/photos/b.jpg", 2)]
    assert read_file("memory://photos", files[1].path) == b"22"


def test_addresses_of_file_urls_open_again(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "c d.jpg").write_bytes(b"1")
    (file,) = list_files((tmp_path / "a b").as_uri())
    address = file_address((tmp_path / "a b").as_uri(), file.path)
    assert address == (tmp_path / "a b" / "c d.jpg").as_uri()
    assert list_files(address) == [file]


def test_addresses_of_urls_keep_the_place_and_omit_password_and_options(tmp_path, memory, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"1")
    (file,) = list_files(f"local://{tmp_path}")
    assert file_address(f"local://{tmp_path}", file.path) == f"local://{tmp_path}/a.jpg"
    memory.pipe("/photos/a.jpg", b"1")
    assert file_address("memory://photos", "/photos/a.jpg") == "memory://photos/a.jpg"
    assert file_address("memory:///", "/photos/a.jpg") == "memory:///photos/a.jpg"
    assert file_address("s3://key:secret@bucket/a?region=x", "bucket/a/b.jpg") == "s3://bucket/a/b.jpg"
    # pyarrow gives paths without the host
    monkeypatch.setattr("mien.batch.storage.open_storage", lambda source: (None, "/data"))
    assert file_address("hdfs://user@host:8020/data?replication=1", "/data/a.jpg") == "hdfs://host:8020/data/a.jpg"


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such file or folder\.$"):
        list_files(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("url", ["nonsense://a/b", "s3:///"])
def test_names_a_url_that_cannot_be_opened(url):
    with pytest.raises(InputError, match=f"^{url}"):
        open_storage(url)


def test_names_the_extra_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    monkeypatch.delattr("pyarrow.fs", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[table\]'"):
        list_files("photos")


def test_folders_and_files_without_permission_are_listed_to_be_reported(tmp_path, monkeypatch):
    for name in ("a.jpg", "locked/b.jpg", "secret.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    deny(monkeypatch, tmp_path / "locked", tmp_path / "secret.jpg")
    files = [(file.path.removeprefix(f"{tmp_path}/"), file.is_folder) for file in list_files(str(tmp_path))]
    assert files == [("a.jpg", False), ("locked", True), ("secret.jpg", False)]


def test_source_without_permission_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    deny(monkeypatch, tmp_path / "locked")
    with pytest.raises(InputError, match=r"locked cannot be listed: permission denied\.$"):
        list_files(str(tmp_path / "locked"))


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there")
def test_links_and_pipes(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"1")
    (tmp_path / "photos/loop").symlink_to(tmp_path / "photos")
    (tmp_path / "linked.jpg").symlink_to(tmp_path / "photos/a.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    paths = [file.path.removeprefix(f"{tmp_path}/") for file in list_files(str(tmp_path))]
    assert paths == ["broken.jpg", "linked.jpg", "photos/a.jpg"]


@pytest.mark.parametrize(
    "url", ["ftp://user:secret@127.0.0.1:1/a", "s3://user:sec/ret@bucket/a", "nonsense://user:secret@a"]
)
def test_messages_omit_the_password_of_a_url(url):
    with pytest.raises(InputError) as error:
        list_files(url)
    assert str(error.value).startswith(f"{url.partition(':')[0]}://")
    assert "user" not in str(error.value)
    assert "secret" not in str(error.value).replace("sec/ret", "secret")


def test_listing_errors_omit_the_password_of_a_url(memory):
    with pytest.raises(InputError, match=r"^memory://nowhere: no such file or folder\.$"):
        list_files("memory://user:secret@nowhere")
