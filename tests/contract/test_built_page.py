"""The shipped page is built from the sources in the repository."""

import hashlib
import os

import pytest

SOURCES = ("index.html", "package-lock.json", "src", "vite.config.ts", "../src/mien/theme.json")
"""Inputs of the build, as in web/vite.config.ts."""


def sources_hash(web):
    paths = [
        path
        for name in SOURCES
        for path in ((web / name).rglob("*") if (web / name).is_dir() else [web / name])
        if path.is_file()
    ]
    names = sorted(os.path.relpath(path, web).replace(os.sep, "/") for path in paths)
    assert len(names) > 50
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (web / name).read_bytes() + b"\0")
    return digest.hexdigest()


def test_built_page_is_up_to_date(root):
    if not (root / "web").is_dir():
        pytest.skip("the page's sources are not in this distribution")
    hash_of_build = (root / "src/mien/server/page/sources.sha256").read_text().strip()
    assert hash_of_build == sources_hash(root / "web"), "run: npm --prefix web ci && npm --prefix web run build"
