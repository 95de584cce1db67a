"""Tables in three formats with the same content, written atomically."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from mien.errors import InputError, MissingExtraError
from mien.table_files import PARQUET_BATCH_ROWS, TableFile, check_table_path, json_line, read_table
from support.permissions import deny

COLUMNS = {"name": str, "count": int, "share": float}
RECORDS = [
    {"name": 'a "b", c\nd', "count": 1, "share": 0.1},
    {"name": "Zoë", "count": None, "share": None},
    {"count": 2**31 - 1},
    {},
]
FULL = [{name: record.get(name) for name in COLUMNS} for record in RECORDS]
SUFFIXES = [".csv", ".jsonl", ".parquet"]


def read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: COLUMNS[name](text) if text else None for name, text in row.items()} for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writes_an_empty_table(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    with TableFile(path, COLUMNS):
        pass
    assert read(path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_in_every_format(tmp_path, suffix):
    path = tmp_path / "new" / f"table{suffix.upper() if suffix == '.csv' else suffix}"
    with TableFile(path, COLUMNS) as table:
        table.write(RECORDS[:1])
        table.write([])
        table.write(RECORDS[1:])
        assert not path.exists()
    assert read(path) == FULL
    assert list(path.parent.iterdir()) == [path]


def test_writes_more_rows_than_a_parquet_batch(tmp_path):
    path = tmp_path / "table.parquet"
    with TableFile(path, {"count": int}) as table:
        for start in range(0, 2 * PARQUET_BATCH_ROWS + 10, 1000):
            table.write([{"count": start + row} for row in range(1000)])
    assert [row["count"] for row in read(path)] == list(range(9000))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_error_keeps_the_existing_table(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    path.write_text("precious")

    def fail():
        with TableFile(path, COLUMNS) as table:
            table.write(RECORDS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["table.xlsx", "table", "csv"])
def test_rejects_unknown_suffixes(tmp_path, name):
    with pytest.raises(InputError, match=r"\.csv or \.(jsonl|parquet) or \.(jsonl|parquet)"):
        TableFile(tmp_path / name, COLUMNS)


def test_rejects_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "file" / "t.csv", tmp_path / "folder.csv"):
        with pytest.raises(InputError, match=path.name), TableFile(path, COLUMNS):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_is_an_input_error(tmp_path, suffix, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    def fill():
        with TableFile(tmp_path / f"table{suffix}", COLUMNS) as table:
            monkeypatch.setattr(table._writer, "write", full)
            table.write(RECORDS)

    with pytest.raises(InputError, match="cannot be written: no space left on device"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_parquet_needs_its_extra(tmp_path, monkeypatch):
    check_table_path(Path("faces.csv"))
    check_table_path(Path("faces.jsonl"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    check_table_path(Path("faces.csv"))
    with pytest.raises(MissingExtraError, match=r"mien\[table\]"):
        check_table_path(Path("faces.parquet"))
    with pytest.raises(MissingExtraError), TableFile(tmp_path / "t.parquet", COLUMNS):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_table_is_named_as_given(tmp_path, suffix):
    path = tmp_path / f"Faces{suffix}"
    with pytest.raises(InputError) as caught:
        read_table(path, {})
    assert str(caught.value) == f"{path}: cannot be read: no such file or directory."


def test_json_line_is_compact_ascii():
    assert json_line({"a": None, "b": "ß", "c": 0.5}) == b'{"a":null,"b":"\\u00df","c":0.5}\n'


def test_reads_the_byte_order_mark_of_excel(tmp_path):
    path = tmp_path / "faces.csv"
    path.write_text("\ufeffimage,label\na.jpg,anger\n", encoding="utf-8")
    assert read_table(path, {"image": str, "label": str})[0] == ("image", "label")


def test_table_without_permission_is_not_called_unwritable(tmp_path, monkeypatch):
    deny(monkeypatch, tmp_path)
    with pytest.raises(InputError, match=r"t\.csv: permission denied\.$"):
        read_table(tmp_path / "t.csv", {})
