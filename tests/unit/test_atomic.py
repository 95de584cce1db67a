import pytest

from mien.atomic import open_atomic, write_atomic


def test_an_empty_file_is_whole_too(tmp_path):
    write_atomic(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_bytes() == b""


def stop_half_way(path):
    with open_atomic(path) as file:
        file.write(b"ne")
        assert path.read_text() == "old"
        raise KeyboardInterrupt


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    with pytest.raises(KeyboardInterrupt):
        stop_half_way(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_two_that_write_the_same_file_do_not_mix(tmp_path):
    """Two runs of a sweep may keep what the same teacher says at once: the later one stays, whole."""
    path = tmp_path / "a"
    with open_atomic(path) as one:
        one.write(b"one" * 1000)
        with open_atomic(path) as two:
            two.write(b"two")
        assert path.read_bytes() == b"two"
    assert path.read_bytes() == b"one" * 1000
    assert list(tmp_path.iterdir()) == [path]
