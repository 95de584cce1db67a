from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.cli.inputs import find_images
from mien.errors import ModelError
from mien.imaging import read_image
from mien.runtime import find_model
from support.permissions import deny


def names(*arguments, skip=None):
    found = find_images(map(str, arguments), skip=skip)
    return [image.relative.as_posix() for image in found.images], [str(error) for _, error in found.failures]


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


@pytest.mark.parametrize("name", ["a.CR2", "b.dng", "c.nef", "d.jxl", "e.svg", "f.heif", "g.mpo", "h.exr", "i.psd"])
def test_includes_every_kind_of_image(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert names(tmp_path) == ([name], [])
    assert names(tmp_path / "*") == ([name], [])


def test_names_videos_and_linked_folders_that_are_left_out(folder):
    for name in ("x.mp4", "b/y.MOV"):
        (folder / name).write_bytes(b"")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    found = find_images([str(folder)])
    assert len(found.images) == 3
    assert found.notes == [
        f"left out videos (2): {folder / 'x.mp4'}, {folder / 'b' / 'y.MOV'}; mien video reads them",
        f"left out linked folders (1): {folder / 'loop'}; give them by name",
    ]
    for pattern in ("*", "**", "**/*"):
        matched = find_images([str(folder / pattern)])
        assert sorted(image.name for image in matched.images) == sorted(image.name for image in found.images)
        assert sorted(matched.videos) == sorted(found.videos)
    assert names(folder / "loop" / "b") == (["c.PNG"], [])


def test_names_what_a_folder_without_images_holds(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"")
    assert names(tmp_path)[1] == [
        f"no images found in {tmp_path}; left out videos (1): {tmp_path / 'x.mp4'}; mien video reads them"
    ]


def test_reports_a_folder_that_cannot_be_searched(folder, monkeypatch):
    scan = os.scandir

    def deny(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)
    images, failures = names(folder)
    assert images == ["a.jpg", "out/a.jpg"]
    assert failures == [f"{folder / 'b'} cannot be searched: permission denied."]


def test_includes_broken_links_so_that_reading_reports_them(tmp_path):
    (tmp_path / "gone.jpg").symlink_to("nothing.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert names(tmp_path) == (["gone.jpg", "self.jpg"], [])


@pytest.mark.parametrize("argument", ["", " ", "https://example.org/a.jpg", "s3://b/a.png", "data:image/png;base64,AA"])
def test_reports_empty_text_and_addresses(argument):
    images, [failure] = names(argument)
    assert images == []
    assert "is empty" in failure if not argument.strip() else failure.startswith(argument)


def test_no_arguments_give_no_images():
    found = find_images([])
    assert (found.images, found.failures, found.notes) == ([], [], [])


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
    found = find_images([name])
    [image] = found.images
    assert (image.name, found.failures) == (name, [])
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


def test_notes_of_one_argument_are_not_in_the_error_of_another(folder, tmp_path):
    (folder / "x.mp4").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert "x.mp4" not in names(folder, tmp_path / "empty")[1][0]


def test_closed_standard_input_is_reported(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert names("-") == ([], ["standard input is closed; give files."])


def test_includes_files_of_a_folder_that_can_be_listed_but_not_searched(folder, monkeypatch):
    """Mode 444: reading the files reports the reason, and the other folders are searched."""
    (folder / "b" / "more").mkdir()
    deny(monkeypatch, folder / "b" / "c.PNG", folder / "b" / "more")
    images, failures = names(folder)
    assert images == ["a.jpg", "b/c.PNG", "out/a.jpg"]
    assert failures == [f"{folder / 'b' / 'more'} cannot be searched: permission denied."]


def test_names_of_addresses_omit_the_password():
    [(name, error)] = find_images(["https://user:secret@host/a.jpg"]).failures
    assert name == "https://host/a.jpg"
    assert "secret" not in str(error)
