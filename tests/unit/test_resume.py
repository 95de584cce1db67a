"""Journals of interrupted runs."""

from unittest.mock import MagicMock

import pytest

from mien.errors import InputError
from mien.resume import Journal


def test_a_resumed_journal_has_the_items_of_before(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, "mien predict", {"model": "a"}) as journal:
        journal.add("1.jpg", {"faces": 2})
    with Journal(path, "mien predict", {"model": "a"}, resume=True) as journal:
        assert list(journal) == ["1.jpg"]
        assert journal["1.jpg"]["faces"] == 2
        journal.add("2.jpg", {"faces": 0})
        assert [journal[name]["faces"] for name in journal] == [2, 0]


def test_a_new_journal_replaces_the_old_one(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, "mien predict", {}) as journal:
        journal.add("1.jpg", {})
    with Journal(path, "mien predict", {}) as journal:
        assert not list(journal)


def test_two_runs_cannot_share_a_journal(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "run.jsonl"
    with Journal(path, "mien predict", {}) as journal:
        journal.add("1.jpg", {})
        with pytest.raises(InputError, match="in use by another run"):
            Journal(path, "mien predict", {})
    with Journal(path, "mien predict", {}, resume=True) as journal:
        assert list(journal) == ["1.jpg"]


def test_other_settings_are_refused_and_the_file_is_free_again(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, "mien predict", {"model": "a"}):
        pass
    with pytest.raises(InputError, match=r"other settings \(model\)"):
        Journal(path, "mien predict", {"model": "b"}, resume=True)
    with Journal(path, "mien predict", {"model": "a"}, resume=True):
        pass


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "content",
    [b'{"command": "mien batch"}\n', b"thesis", b"\n", b"[]\n", b"\xff\n", pytest.param(b"[" * 100_000, id="nested")],
)
def test_a_file_of_another_command_is_refused_and_kept(tmp_path, content, resume):
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"run\.jsonl is damaged or not a journal of mien predict; move it away"):
        Journal(path, "mien predict", {}, resume=resume)
    assert path.read_bytes() == content


def test_a_journal_without_locks_is_written(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Journal(tmp_path / "run.jsonl", "mien predict", {}) as journal:
        journal.add("1.jpg", {})
        assert list(journal) == ["1.jpg"]


def test_the_later_entry_of_an_item_counts(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, "mien predict", {}) as journal:
        journal.add("1.jpg", {"faces": 1})
        journal.add("1.jpg", {"faces": 2})
    with Journal(path, "mien predict", {}, resume=True) as journal:
        assert [journal[name]["faces"] for name in journal] == [2]


def test_a_full_disk_is_an_error_with_the_name_of_the_journal(tmp_path, monkeypatch):
    with Journal(tmp_path / "run.jsonl", "mien predict", {}) as journal:
        full = MagicMock(wraps=journal._file)
        full.flush.side_effect = OSError(28, "No space left on device")
        monkeypatch.setattr(journal, "_file", full)
        with pytest.raises(InputError, match=r"run\.jsonl: cannot be written: no space left on device"):
            journal.add("1.jpg", {})
