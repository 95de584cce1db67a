"""Sources, shards and outputs of batch runs."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from PIL import Image

from mien.batch.analysis import ShardOutput
from mien.batch.shards import Shard


def write_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    """Write a tar file; names may occur several times."""
    with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def encode_png(side: int = 24) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def make_shard(number: int = 0, *paths: str, source: str = "/photos", kind: str = "images", size: int = 1) -> Shard:
    table = "videos" if kind == "video" else "images"
    return Shard(name=f"{table}/{number:06}", kind=kind, source=source, paths=paths or (f"{number}.jpg",), size=size)


def make_output(text: str = "table", *, items: int = 1, failures: int = 0) -> ShardOutput:
    failure = {"item": "a.jpg", "error": "image_unreadable", "message": "a.jpg is corrupt.", "is_partial": False}
    return ShardOutput(table=text.encode(), items=items, faces=2, failures=(failure,) * failures)


class UnstartableAnalyzer:
    """Ends each process that receives it, before it can work."""

    def __reduce__(self) -> tuple[Callable[[int], NoReturn], tuple[int]]:
        return os._exit, (3,)


class FakeAnalyzer:
    """Stands in for `ShardAnalyzer` in worker processes; the paths of a shard say what it does.

    `fail` raises, `die` kills the process, `die once FILE` kills it unless the file exists, which it creates.
    """

    def analyze(self, shard: Shard) -> ShardOutput:
        action, *rest = shard.paths
        if action == "fail":
            raise ValueError("a network failed")
        if action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "die once" and not Path(rest[0]).exists():
            Path(rest[0]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return make_output(f"{shard.name} {os.getpid()}")
