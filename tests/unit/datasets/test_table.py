"""Table adapter: CSV and Parquet, splits, groups, and malformed rows."""

from __future__ import annotations

import sys

import pytest

from mien.datasets import read_dataset, read_table
from mien.errors import AnnotationError, DatasetError, LayoutError, MissingExtraError
from support.datasets import encode_png, make_pixels, write_image


def _write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "problem"), [("", "the file is empty"), ("image,label\n\n", "the file has no rows")])
def test_rejects_empty_table(tmp_path, text, problem):
    with pytest.raises(LayoutError, match=problem):
        read_table(_write(tmp_path / "t.csv", text))


def test_rejects_folder_and_missing_file(tmp_path):
    with pytest.raises(LayoutError, match="a folder"):
        read_table(tmp_path)
    with pytest.raises(LayoutError, match="does not exist"):
        read_table(tmp_path / "absent.csv")


def test_reads_splits_and_groups(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    text = '\ufeffImage, Label,SPLIT,gender,Age\nimages/a.png,Happy,val,female,20-29\n"b, c.png",sad,train,,\n'
    index = read_dataset("table", _write(tmp_path / "t.csv", text))
    assert index.labels == ("happiness", "sadness")
    assert not index.is_cropped
    first, second = index.samples
    assert (first.id, first.split, first.label, first.line) == ("images/a.png", "valid", 0, 2)
    assert first.groups == {"gender": "female", "Age": "20-29"}
    assert (second.id, second.split, second.label_distribution) == ("b, c.png", "train", (0.0, 1.0))
    assert len({first, second}) == 2
    assert index.read(first) == encode_png(make_pixels("a.png"))
    assert not index.has(second)
    with pytest.raises(DatasetError, match=r"b, c.png \(line 3"):
        index.read(second)


def test_columns_without_a_name_are_no_groups(tmp_path):
    """The index of a table that pandas has saved, and the empty columns of a spreadsheet."""
    index = read_table(_write(tmp_path / "t.csv", ",image,label,age,\n0,a.png,Happy,20,\n1,b.png,Sad,30,\n"))
    assert [sample.groups for sample in index.samples] == [{"age": "20"}, {"age": "30"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_reads_tables_of_spreadsheets(tmp_path, delimiter, newline, start):
    """Separators, line ends and byte order marks as Excel writes them; paths of Windows."""
    write_image(tmp_path / "images" / "a.png")
    absolute = tmp_path / "elsewhere" / "b.png"
    write_image(absolute)
    rows = [("image", "label", "split"), ("images\\a.png", "Angry", "train"), (str(absolute), "Surprise", "valid")]
    text = start + newline.join(delimiter.join(cells) for cells in rows) + newline
    (tmp_path / "t.csv").write_bytes(text.encode())
    index = read_table(tmp_path / "t.csv")
    assert [(index.labels[s.label], s.split) for s in index.samples] == [("anger", "train"), ("surprise", "valid")]
    assert [index.read(sample) for sample in index.samples] == [encode_png(make_pixels(n)) for n in ("a.png", "b.png")]


def test_row_without_split_belongs_to_every_split(tmp_path):
    index = read_table(_write(tmp_path / "t.csv", "image,label\na.png,neutral\n"))
    assert index.select("valid") == index.select("test") == index


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("file,label\na.png,sad\n", 1, "the column 'image' is missing in file, label"),
        ("image,label,age,age\na.png,sad,1,2\n", 1, "'age' is repeated"),
        ("image,label\na.png,sad\nb.png\n", 3, "has 1 columns, the header 2"),
        ("image,label\na.png,sad\n\n ,sad\n", 4, "has no valid path"),
        ("image,label\na.png,cat\n", 2, "the label 'cat' is not one of neutral"),
        ("image,label\na.png,3\n", 2, "the label '3' is not one of neutral.*: write names"),
        ("image,label,split\na.png,sad,dev\n", 2, "the split 'dev' is not one of train"),
        ("image,label\na.png,sad\n./a.png,happy\n", 3, "already listed in line 2"),
    ],
)
def test_names_malformed_row(tmp_path, text, line, problem):
    with pytest.raises(AnnotationError, match=problem) as caught:
        read_table(_write(tmp_path / "t.csv", text))
    assert caught.value.line == line


def test_rejects_binary_file(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"image,label\n\x89PNG\xff\xd8")
    with pytest.raises(AnnotationError, match="line 2: is not UTF-8"):
        read_table(tmp_path / "t.csv")


def test_folder_or_overlong_name_is_a_missing_image(tmp_path):
    (tmp_path / "a.png").mkdir()
    index = read_table(_write(tmp_path / "t.csv", f"image,label\na.png,sad\n{'x' * 400}.png,sad\n"))
    for sample in index.samples:
        assert not index.has(sample)
        with pytest.raises(DatasetError):
            index.read(sample)


def test_reads_parquet_like_csv(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {"image": ["a.png", "b.png"], "label": ["happy", "fear"], "age": [31, None]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    index = read_table(tmp_path / "t.parquet")
    assert [(s.id, s.label, dict(s.groups)) for s in index.samples] == [
        ("a.png", 0, {"age": "31"}),
        ("b.png", 1, {"age": ""}),
    ]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(DatasetError, match="Parquet"):
        read_table(tmp_path / "bad.parquet")


def test_parquet_names_the_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="table"):
        read_table(_write(tmp_path / "t.parquet", ""))
