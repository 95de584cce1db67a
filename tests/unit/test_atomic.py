import pytest

from mien.atomic import write_whole, written_whole


def test_an_empty_file_is_whole_too(tmp_path):
    write_whole(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_bytes() == b""


def stop_half_way(path):
    with written_whole(path) as file:
        file.write(b"ne")
        assert path.read_text() == "old"
        raise KeyboardInterrupt


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    with pytest.raises(KeyboardInterrupt):
        stop_half_way(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_two_that_write_the_same_file_do_not_mix(tmp_path):
    """Two runs of a sweep may keep what the same teacher says at once: the later one stays, whole."""
    path = tmp_path / "a"
    with written_whole(path) as one:
        one.write(b"one" * 1000)
        with written_whole(path) as two:
            two.write(b"two")
        assert path.read_bytes() == b"two"
    assert path.read_bytes() == b"one" * 1000
    assert list(tmp_path.iterdir()) == [path]
