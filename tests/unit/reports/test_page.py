"""Rendering of templates."""

from __future__ import annotations

import sys

import pytest

from mien.errors import MissingExtraError
from mien.reports import page


def test_names_missing_extra_without_jinja(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    page.environment.cache_clear()
    with pytest.raises(MissingExtraError, match=r"mien\[report\]"):
        page.check_installed()


def test_every_template_compiles():
    environment = page.environment()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
