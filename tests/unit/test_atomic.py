import os
import stat
import subprocess
import sys

import pytest

from mien.atomic import open_atomic, write_atomic
from mien.errors import InputError
from mien.table_files import TableFile

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the numbers of devices differ")


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


def test_the_target_of_a_link_is_replaced(tmp_path):
    (tmp_path / "shelf").mkdir()
    target, link = tmp_path / "shelf" / "a.csv", tmp_path / "a.csv"
    target.write_text("old")
    link.symlink_to(target)
    with pytest.raises(KeyboardInterrupt):
        interrupt_writing(link)
    assert target.read_text() == "old"
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.csv", "a.csv", "shelf"]


@needs_posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_permissions_of_an_existing_file_are_kept(tmp_path, mode):
    path, link, new = tmp_path / "a.csv", tmp_path / "link.csv", tmp_path / "new.csv"
    path.write_text("old")
    path.chmod(mode)
    link.symlink_to(path)
    for written in (path, link):
        with open_atomic(written) as file:
            (partial,) = tmp_path.glob("*.partial")
            assert stat.S_IMODE(partial.stat().st_mode) == mode
            file.write(b"new")
        assert path.read_bytes() == b"new"
        assert stat.S_IMODE(path.stat().st_mode) == mode
    new.touch()
    default = new.stat().st_mode
    new.unlink()
    write_atomic(new, "new")
    assert new.stat().st_mode == default


def test_a_link_to_a_missing_file_creates_it(tmp_path):
    link = tmp_path / "a.csv"
    link.symlink_to("b.csv")
    write_atomic(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "b.csv").read_text() == "new"


@needs_posix
@pytest.mark.parametrize("name", ["pipe.csv", "link.csv"])
def test_a_pipe_is_written_to(tmp_path, name):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    (tmp_path / "link.csv").symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with TableFile(tmp_path / name, {"label": str}) as table:
        table.write([{"label": "anger"}])
    assert os.read(reader, 100) == b"label\r\nanger\r\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "pipe.csv"]


@needs_linux
def test_a_device_is_written_to(tmp_path):
    device = tmp_path / "null.json"
    try:
        # the numbers of /dev/null
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_bytes(b"")
    except OSError:
        pytest.skip("device nodes need the rights of the superuser")
    write_atomic(device, "content")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


@needs_linux
def test_a_full_device_is_one_error(tmp_path):
    device = tmp_path / "full.csv"
    try:
        # the numbers of /dev/full
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        device.open("wb").close()
    except OSError:
        pytest.skip("device nodes need the rights of the superuser")
    rows = [{"label": "anger"}] * 10_000
    with pytest.raises(InputError, match=r"full\.csv: cannot be written"), TableFile(device, {"label": str}) as table:
        table.write(rows)
    assert list(tmp_path.iterdir()) == [device]


@needs_posix
def test_standard_output_is_written_to(tmp_path):
    code = "from pathlib import Path; from mien.atomic import write_atomic; write_atomic(Path('out'), 'content')"
    (tmp_path / "out").symlink_to("/proc/self/fd/1" if sys.platform == "linux" else "/dev/fd/1")
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert process.stdout == b"content"
    assert (tmp_path / "out").is_symlink()
