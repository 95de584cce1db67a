"""Files without permission, also for the superuser that tests may run as."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def deny(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Make Python's functions raise `PermissionError` for some paths and all paths below them."""

    def guard(function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and any(Path(path).is_relative_to(denied) for denied in paths):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return guarded

    for module, name in ((os, "stat"), (os, "lstat"), (os, "scandir"), (io, "open")):
        monkeypatch.setattr(module, name, guard(getattr(module, name)))
