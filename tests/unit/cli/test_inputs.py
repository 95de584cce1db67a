from __future__ import annotations

from pathlib import Path

import pytest

from mien.cli.inputs import find_images
from mien.errors import ModelError
from mien.imaging import read_image
from mien.runtime import find_model


def names(*words, skip=None):
    images, empty = find_images(map(str, words), skip=skip)
    return [image.relative.as_posix() for image in images], [str(error) for _, error in empty]


@pytest.fixture
def folder(tmp_path):
    for name in ("pics/a.jpg", "pics/b/c.PNG", "pics/out/a.jpg", "pics/notes.txt", "pics/d.pdf"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "pics"


def test_images_that_cannot_be_read_are_not_passed_over(folder):
    (folder / "e.HEIC").write_bytes(b"")
    assert names(folder)[0] == ["a.jpg", "e.HEIC", "b/c.PNG", "out/a.jpg"]


def test_no_words_mean_no_images():
    assert find_images([]) == ([], [])


def test_the_output_inside_the_searched_folder_is_left_out(folder):
    assert names(folder, skip=folder / "out") == (["a.jpg", "b/c.PNG"], [])
    assert names(folder / "**" / "*.jpg", skip=folder / "out") == (["a.jpg"], [])
    assert names(folder, skip=folder / "out" / "..") == (["a.jpg", "b/c.PNG", "out/a.jpg"], [])


def test_the_output_that_is_the_searched_folder_or_above_it_is_searched(folder):
    everything = (["a.jpg", "b/c.PNG", "out/a.jpg"], [])
    assert names(folder, skip=folder) == names(folder, skip=folder.parent) == everything
    assert names(folder / "*.jpg", skip=folder) == (["a.jpg"], [])
    assert names(folder / "b", skip=folder) == (["c.PNG"], [])


@pytest.mark.parametrize("word", ["x" * 5000, f"{'y' * 300}.jpg", "a\0b.jpg"])
def test_a_name_that_cannot_be_is_told_when_it_is_read(word):
    [image], empty = find_images([word])
    assert (image.name, empty) == (word, [])
    with pytest.raises(ValueError, match=r"too long|null"):
        read_image(image.source)


def test_a_pattern_that_cannot_be_matches_nothing():
    assert names("x" * 5000 + "*")[0] == []


def test_what_may_not_be_looked_at_stays_so_that_reading_it_tells_why(folder, monkeypatch):
    def deny(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    assert len(names(folder)[0]) == 3
    monkeypatch.setattr(Path, "is_file", deny)
    assert len(names(folder)[0]) == 3
    monkeypatch.setattr(Path, "is_dir", deny)
    assert names(folder / "a.jpg") == (["a.jpg"], [])
    with pytest.raises(ModelError, match=r"m\.onnx: cannot be read: permission denied"):
        find_model(folder / "m.onnx")
