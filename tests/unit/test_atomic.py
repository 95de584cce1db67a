import pytest

from mien.atomic import open_atomic, write_atomic


def test_writes_an_empty_file(tmp_path):
    write_atomic(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_bytes() == b""


def interrupt_writing(path):
    with open_atomic(path) as file:
        file.write(b"ne")
        assert path.read_text() == "old"
        raise KeyboardInterrupt


def test_error_keeps_the_existing_file_and_removes_the_partial_file(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    with pytest.raises(KeyboardInterrupt):
        interrupt_writing(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_concurrent_writers_do_not_mix_and_the_last_wins(tmp_path):
    path = tmp_path / "a"
    with open_atomic(path) as first:
        first.write(b"one" * 1000)
        with open_atomic(path) as second:
            second.write(b"two")
        assert path.read_bytes() == b"two"
    assert path.read_bytes() == b"one" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_the_maximum_length_is_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".csv")
    write_atomic(path, "content")
    assert path.read_text() == "content"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file_and_not_the_partial_one(tmp_path):
    path = tmp_path / "missing" / "a.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(path, "x")
    assert caught.value.filename == str(path)
