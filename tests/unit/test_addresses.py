from __future__ import annotations

from pathlib import Path

import pytest

from mien.addresses import path_problem, public_name
from mien.datasets import read_dataset
from mien.errors import InputError, MienError
from mien.imaging import read_image
from mien.table_files import check_table_path
from mien.video.analysis import analyze_video

ADDRESSES = (
    *("https://example.org/a.jpg", "HTTP://example.org/a.jpg", "http:", "s3://bucket/a.jpg", "gs://bucket/a.jpg"),
    *("ftp://example.org/a.jpg", "memory://a.jpg"),
)


@pytest.mark.parametrize(
    "path", ["a.jpg", "C:/photos/a.jpg", r"C:\photos\a.jpg", "a:b.jpg", "12:30.png", "/", ".", "~"]
)
def test_paths_have_no_problem(path):
    assert path_problem(path) is None
    assert path_problem(Path(path)) is None


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_keeps_its_slashes(address):
    assert path_problem(address) == f"{address}: addresses are not fetched; download the file and give its path."
    assert address in path_problem(Path(address))


@pytest.mark.parametrize(
    "address", ["file:///photos/a%20b.jpg", "file:/photos/a%20b.jpg", "file://localhost/photos/a b.jpg"]
)
def test_a_file_address_names_the_path_to_give(address):
    assert path_problem(address).endswith("give /photos/a b.jpg")


def test_a_data_address_is_not_repeated_in_full():
    assert len(path_problem("data:image/png;base64," + "A" * 10_000)) < 200


@pytest.mark.parametrize(
    "read",
    [
        read_image,
        lambda path: list(analyze_video(path)),
        lambda path: read_dataset("folder", path),
        lambda path: read_dataset("table", path),
        lambda path: read_dataset("ferplus", path),
        lambda path: check_table_path(Path(path)) if path else check_table_path(path),
    ],
    ids=["image", "video", "folder", "table", "ferplus", "output"],
)
@pytest.mark.parametrize("path", ["", "file:///faces.csv", "s3://bucket/faces.csv"])
def test_every_reader_reports_empty_text_and_addresses(read, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MienError, match=path or "empty") as error:
        read(path)
    assert "unexpected layout" not in str(error.value)


def test_an_existing_file_with_the_name_of_an_address_is_read(tmp_path, monkeypatch, portrait):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.fromarray(portrait).save("http:a.png")
    assert read_image("http:a.png").shape == portrait.shape
    with pytest.raises(InputError, match="not fetched"):
        read_image("http:b.png")


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("address", ["https://user:secret@host/a.jpg", "s3://user:sec/ret@host/a.jpg"])
def test_messages_omit_user_name_and_password(kind, address):
    problem = path_problem(kind(address))
    assert problem.startswith(f"{address.partition(':')[0]}://host/a.jpg: addresses are not fetched")
    with pytest.raises(InputError) as error:
        read_image(kind(address))
    assert str(error.value) == problem


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://user:secret@host:554/one", "rtsp://host:554/one"),
        ("rtsp://user:pass/word@host/one", "rtsp://host/one"),
        ("rtsp://user:p@ss/word@host/one", "rtsp://host/one"),
        ("rtsp://user:p?s#w@host/one", "rtsp://host/one"),
        ("rtsp://user:1234@host/one", "rtsp://host/one"),
        ("rtsp://:secret@[::1]:554/one", "rtsp://[::1]:554/one"),
        ("rtsp://user@host/one", "rtsp://host/one"),
        ("https://user:secret@host/one?mail=a@b", "https://host/one?mail=a@b"),
        ("https://host:8080/one@two?mail=a@b", "https://host:8080/one@two?mail=a@b"),
        ("https://host/@one", "https://host/@one"),
        ("rtsp://[::1]:554/one@two", "rtsp://[::1]:554/one@two"),
        ("https:/user:secret@host/one", "https:/host/one"),
        ("clips//a:b@c.mp4", "clips//a:b@c.mp4"),
        ("clips/a:b@c.mp4", "clips/a:b@c.mp4"),
        ("C://clips/a:b@c.mp4", "C://clips/a:b@c.mp4"),
    ],
)
def test_public_name_omits_credentials_only(source: str, name: str):
    assert public_name(source) == name
