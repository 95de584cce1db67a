"""Data set check: missing and unreadable images, duplicates, leaks, and its console output."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from mien.cli.console import print_check
from mien.datasets import (
    Index,
    check_dataset,
    count_classes,
    count_groups,
    find_duplicates,
    read_dataset,
    read_ferplus,
    read_folder,
    read_leaks,
    without_duplicates,
    write_leaks,
)
from mien.errors import DatasetError, InputError
from support.datasets import write_affectnet, write_ferplus, write_image, write_rafdb, zip_folder


def _printed(report) -> str:
    with redirect_stdout(io.StringIO()) as output:
        print_check(report)
    return output.getvalue()


def test_checks_index_without_samples():
    index = Index(name="none", root=Path("none"), labels=(), samples=(), license="", is_cropped=True)
    report = check_dataset(index)
    assert (report.n, dict(report.counts), report.is_usable) == (0, {}, True)
    assert find_duplicates(index) == []
    assert "0 images" in _printed(report)


def test_clean_data_set_has_no_findings(tmp_path):
    index = read_ferplus(write_ferplus(tmp_path))
    calls = []
    report = check_dataset(index, progress=lambda done, total: calls.append((done, total)))
    assert report.is_usable
    assert report.duplicates == report.leaks == report.duplicates_in_later_splits == ()
    assert calls == [(done, 6) for done in range(7)]
    assert report.counts["valid"] == count_classes(index)["valid"]
    assert report.counts["valid"]["happiness"] == report.counts["valid"]["not counted"] == 1
    assert sum(sum(counts.values()) for counts in report.counts.values()) == 6


@pytest.mark.parametrize("as_zip", [True, False])
def test_reports_every_kind_of_problem(tmp_path, as_zip):
    root = write_ferplus(tmp_path / "tree")
    train, valid, test = (root / f"FER2013{split}" for split in ("Train", "Valid", "Test"))
    write_image(train / "fer0000001.png", "fer0000000.png")  # a duplicate, and a leak with the next
    write_image(valid / "fer0028638.png", "fer0000000.png")
    (valid / "fer0028639.png").unlink()
    (test / "fer0032220.png").write_bytes(b"no image")
    (test / "fer0032221.png").write_bytes(b"")
    index = read_ferplus(zip_folder(root, tmp_path / "faulty.zip") if as_zip else root)
    report = check_dataset(index, workers=3)
    assert report.missing == ("FER2013Valid/fer0028639.png",)
    assert set(report.unreadable) == {"FER2013Test/fer0032220.png", "FER2013Test/fer0032221.png"}
    assert report.duplicates == (("FER2013Train/fer0000000.png", "FER2013Train/fer0000001.png"),)
    assert report.leaks == ((*report.duplicates[0], "FER2013Valid/fer0028638.png"),)
    assert report.duplicates_in_later_splits == report.duplicates[0]
    assert not report.is_usable
    assert json.loads(json.dumps(report.to_dict()))["missing"] == ["FER2013Valid/fer0028639.png"]
    output = _printed(report)
    assert "1 missing images: FER2013Valid/fer0028639.png" in output
    assert "2 images with an exact duplicate in a later split" in output


def test_same_pixels_in_another_format_are_duplicates(tmp_path):
    from PIL import Image

    write_image(tmp_path / "train" / "happy" / "a.png")
    with Image.open(tmp_path / "train" / "happy" / "a.png") as image:
        (tmp_path / "test" / "sad").mkdir(parents=True)
        image.convert("RGB").save(tmp_path / "test" / "sad" / "[b].bmp")
    index = read_folder(tmp_path)
    assert find_duplicates(index) == [("test/sad/[b].bmp", "train/happy/a.png")]
    report = check_dataset(index)
    assert report.duplicates_in_later_splits == ("train/happy/a.png",)
    assert "[b].bmp" in _printed(report)


def test_leak_list_excludes_the_reported_leaks(tmp_path):
    root = write_ferplus(tmp_path / "tree")
    write_image(root / "FER2013Valid/fer0028638.png", "fer0000000.png")
    index, path = read_ferplus(root), tmp_path / "leaks.csv"
    write_leaks(path, index, check_dataset(index).duplicates_in_later_splits)
    assert path.read_text() == "Usage,Image name\nTraining,FER2013Train/fer0000000.png\n"
    assert check_dataset(read_ferplus(root, exclude=read_leaks(path))).leaks == ()
    with pytest.raises(InputError, match=r"none/leaks\.csv: cannot be written: no such file or directory\.$"):
        write_leaks(tmp_path / "none/leaks.csv", index, ())


def test_a_split_of_duplicates_only_is_named(tmp_path):
    write_image(tmp_path / "train" / "happy" / "a.png")
    write_image(tmp_path / "test" / "sad" / "b.png", "a.png")
    with pytest.raises(DatasetError, match="every image of the split test has an exact duplicate in another split"):
        without_duplicates(read_folder(tmp_path), "test")


def test_duplicates_without_splits_are_not_leaks(tmp_path):
    write_image(tmp_path / "happy" / "a.png")
    write_image(tmp_path / "sad" / "b.png", "a.png")
    report = check_dataset(read_folder(tmp_path))
    assert report.duplicates == (("happy/a.png", "sad/b.png"),)
    assert report.leaks == report.duplicates_in_later_splits == ()
    assert "any" in report.counts


def test_counts_groups(tmp_path):
    rafdb = write_rafdb(tmp_path / "rafdb", train=2, test=1)
    affectnet = write_affectnet(tmp_path / "affectnet", train=1, test=1)
    report = check_dataset(read_dataset("joined", f"rafdb={rafdb},affectnet={affectnet}"))
    assert report.is_usable
    assert report.groups["dataset"] == {"rafdb": 21, "affectnet": 14}
    assert sum(report.groups["gender"].values()) == 21
    assert list(report.groups) == ["gender", "race", "age", "dataset"]
    assert "dataset: rafdb 21, affectnet 14" in _printed(report)
    assert count_groups(read_dataset("affectnet", affectnet)) == {}


def test_prints_most_frequent_values_of_a_column(tmp_path):
    text = "".join(f"{n}.png,sad,{n or ''}\n" for n in range(20))
    (tmp_path / "t.csv").write_text(f"image,label,who\n{text}")
    output = _printed(check_dataset(read_dataset("table", tmp_path / "t.csv")))
    assert "who: (none) 1, 1 1, " in output
    assert "and 12 more" in output
