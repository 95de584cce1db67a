"""The page that ships was built from the sources that stand beside it."""

import hashlib

import pytest

SOURCES = ("index.html", "package-lock.json", "public", "src", "vite.config.ts")
"""As in web/vite.config.ts."""


def sources_hash(web):
    found = [
        path
        for name in SOURCES
        for path in ((web / name).rglob("*") if (web / name).is_dir() else [web / name])
    ]
    names = sorted(path.relative_to(web).as_posix() for path in found if path.is_file())
    assert len(names) > 50
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (web / name).read_bytes() + b"\0")
    return digest.hexdigest()


def test_nobody_forgot_to_build(root):
    if not (root / "web").is_dir():
        pytest.skip("the page's sources are not beside the package")
    stamp = (root / "src/mien/server/page/sources.sha256").read_text().strip()
    assert stamp == sources_hash(root / "web"), "npm --prefix web ci && npm --prefix web run build"
