"""Journals of interrupted runs."""

import pytest

from mien.errors import InputError
from mien.resume import Journal


def test_a_resumed_journal_has_the_items_of_before(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, {"model": "a"}) as journal:
        journal.add("1.jpg", {"faces": 2})
    with Journal(path, {"model": "a"}, resume=True) as journal:
        assert list(journal) == ["1.jpg"]
        assert journal["1.jpg"]["faces"] == 2
        journal.add("2.jpg", {"faces": 0})
        assert [journal[name]["faces"] for name in journal] == [2, 0]


def test_a_new_journal_replaces_the_old_one(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, {}) as journal:
        journal.add("1.jpg", {})
    with Journal(path, {}) as journal:
        assert not list(journal)


def test_two_runs_cannot_share_a_journal(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "run.jsonl"
    with Journal(path, {}) as journal:
        journal.add("1.jpg", {})
        with pytest.raises(InputError, match="in use by another run"):
            Journal(path, {})
    with Journal(path, {}, resume=True) as journal:
        assert list(journal) == ["1.jpg"]


def test_other_settings_are_refused_and_the_file_is_free_again(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal(path, {"model": "a"}):
        pass
    with pytest.raises(InputError, match="another model"):
        Journal(path, {"model": "b"}, resume=True)
    with Journal(path, {"model": "a"}, resume=True):
        pass
