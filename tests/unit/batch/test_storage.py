from __future__ import annotations

import os
import sys

import pytest

from mien.batch.storage import list_files, open_storage, read_file
from mien.errors import InputError, MissingExtraError

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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_file_name_that_is_not_utf_8(tmp_path):
    (tmp_path / "\udcff.jpg").write_bytes(b"1")
    with pytest.raises(InputError, match="not UTF-8; rename them"):
        list_files(str(tmp_path))


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
