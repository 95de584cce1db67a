from __future__ import annotations

import errno
import json
from dataclasses import replace

import pytest

from mien.batch import run as run_module
from mien.batch.run import BatchRun
from mien.errors import InputError
from support.batches import make_output, make_shard

pq = pytest.importorskip("pyarrow.parquet")
SETTINGS = {"model": "abc", "inputs": "123"}
SHARDS = [make_shard(number) for number in range(3)]


def test_continues_after_the_finished_shards(tmp_path):
    with BatchRun(tmp_path / "out", SETTINGS, SHARDS) as run:
        run.add(SHARDS[1], make_output("one", items=5, failures=2))
        assert run.remaining == [SHARDS[0], SHARDS[2]]
    assert (tmp_path / "out/images/000001.parquet").read_bytes() == b"one"
    with BatchRun(tmp_path / "out", SETTINGS, SHARDS) as run:
        assert run.remaining == [SHARDS[0], SHARDS[2]]
        assert vars(run.counts) == {"shards": 1, "items": 5, "faces": 2, "failures": 2, "incomplete": 0}
        run.add(SHARDS[0], make_output("zero"))
        run.add(SHARDS[2], make_output("two"))
        assert run.remaining == []
        assert run.counts.items == 7


def test_inputs_that_were_read_in_part_are_counted_apart(tmp_path):
    output = make_output(items=3, failures=2)
    failures = (*output.failures, {**output.failures[0], "is_partial": True})
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        run.add(SHARDS[0], replace(output, failures=failures))
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        assert (run.counts.failures, run.counts.incomplete) == (2, 1)


def test_errors_are_in_the_order_of_the_shards(tmp_path):
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        for number in (2, 0, 1):
            run.add(SHARDS[number], make_output(failures=number))
        run.write_errors()
    rows = pq.read_table(tmp_path / "errors.parquet").to_pylist()
    assert [row["shard"] for row in rows] == ["images/000001", "images/000002", "images/000002"]
    assert rows[0] == {
        "item": "a.jpg", "error": "image_unreadable", "message": "a.jpg is corrupt.", "is_partial": False,
        "shard": "images/000001",
    }  # fmt: skip


def test_refuses_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="has other files; give a new or empty folder"):
        BatchRun(tmp_path, SETTINGS, SHARDS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_refuses_the_folder_of_another_run(tmp_path):
    with BatchRun(tmp_path, SETTINGS, SHARDS):
        pass
    before = (tmp_path / "run.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"other settings \(model\); give the same as before"):
        BatchRun(tmp_path, {**SETTINGS, "model": "def"}, SHARDS)
    assert (tmp_path / "run.jsonl").read_bytes() == before


def test_refuses_a_run_of_another_command(tmp_path):
    (tmp_path / "run.jsonl").write_text('{"command": "mien video"}\n')
    (tmp_path / "video.partial").touch()
    with pytest.raises(InputError, match="not a journal of mien batch"):
        BatchRun(tmp_path, SETTINGS, SHARDS)
    assert (tmp_path / "video.partial").exists()


def test_refuses_the_folder_of_a_run_that_is_going_on(tmp_path):
    with BatchRun(tmp_path, SETTINGS, SHARDS), pytest.raises(InputError, match="in use by another run"):
        BatchRun(tmp_path, SETTINGS, SHARDS)


def test_a_shard_whose_file_is_gone_is_analyzed_again(tmp_path):
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        run.add(SHARDS[0], make_output())
    (tmp_path / "images/000000.parquet").unlink()
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        assert run.remaining == SHARDS
        run.add(SHARDS[0], make_output("again", items=3))
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        assert run.counts.items == 3


def test_removes_partial_files_of_a_killed_run(tmp_path):
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        run.add(SHARDS[0], make_output())
    partial = tmp_path / "images/000001.parquet.12345678.partial"
    partial.write_bytes(b"half")
    # a line that was cut off by the kill
    with (tmp_path / "run.jsonl").open("ab") as manifest:
        manifest.write(b'{"item":"images/0000')
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        assert run.remaining == SHARDS[1:]
        run.add(SHARDS[1], make_output())
    assert not partial.exists()
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in lines[1:]] == ["images/000000", "images/000001"]


def test_full_disk_is_one_line_and_the_run_can_be_continued(tmp_path, monkeypatch):
    def fail(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        run.add(SHARDS[0], make_output())
        monkeypatch.setattr(run_module, "write_atomic", fail)
        with pytest.raises(InputError, match=r"000001\.parquet: cannot be written: no space left on device\.$"):
            run.add(SHARDS[1], make_output())
    with BatchRun(tmp_path, SETTINGS, SHARDS) as run:
        assert run.remaining == SHARDS[1:]
