from __future__ import annotations

from pathlib import Path

import pytest

from mien.cli.inputs import find_images
from mien.errors import ModelError
from mien.imaging import read_image
from mien.runtime import find_model


def names(*arguments, skip=None):
    images, failures = find_images(map(str, arguments), skip=skip)
    return [image.relative.as_posix() for image in images], [str(error) for _, error in failures]


@pytest.fixture
def folder(tmp_path):
    for name in ("pics/a.jpg", "pics/b/c.PNG", "pics/out/a.jpg", "pics/notes.txt", "pics/d.pdf"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "pics"


def test_includes_image_formats_that_cannot_be_read(folder):
    (folder / "e.HEIC").write_bytes(b"")
    assert names(folder)[0] == ["a.jpg", "e.HEIC", "b/c.PNG", "out/a.jpg"]


def test_no_arguments_give_no_images():
    assert find_images([]) == ([], [])


def test_skips_the_output_inside_the_searched_folder(folder):
    assert names(folder, skip=folder / "out") == (["a.jpg", "b/c.PNG"], [])
    assert names(folder / "**" / "*.jpg", skip=folder / "out") == (["a.jpg"], [])
    assert names(folder, skip=folder / "out" / "..") == (["a.jpg", "b/c.PNG", "out/a.jpg"], [])


def test_searches_the_output_if_it_contains_the_searched_folder(folder):
    everything = (["a.jpg", "b/c.PNG", "out/a.jpg"], [])
    assert names(folder, skip=folder) == names(folder, skip=folder.parent) == everything
    assert names(folder / "*.jpg", skip=folder) == (["a.jpg"], [])
    assert names(folder / "b", skip=folder) == (["c.PNG"], [])


@pytest.mark.parametrize("name", ["x" * 5000, f"{'y' * 300}.jpg", "a\0b.jpg"])
def test_an_impossible_name_is_reported_when_it_is_read(name):
    [image], failures = find_images([name])
    assert (image.name, failures) == (name, [])
    with pytest.raises(ValueError, match=r"too long|null"):
        read_image(image.source)


def test_an_impossible_pattern_matches_nothing():
    assert names("x" * 5000 + "*")[0] == []


def test_includes_files_without_permission_so_that_reading_reports_it(folder, monkeypatch):
    def deny(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    assert len(names(folder)[0]) == 3
    monkeypatch.setattr(Path, "is_file", deny)
    assert len(names(folder)[0]) == 3
    monkeypatch.setattr(Path, "is_dir", deny)
    assert names(folder / "a.jpg") == (["a.jpg"], [])
    with pytest.raises(ModelError, match=r"m\.onnx: cannot be read: permission denied"):
        find_model(folder / "m.onnx")
