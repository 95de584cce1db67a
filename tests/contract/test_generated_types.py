"""The page's TypeScript types are generated from the current JSON schema."""

import runpy

import pytest


def test_typescript_types_are_up_to_date(root):
    script = root / "web/scripts/generate_types.py"
    if not script.is_file():
        pytest.skip("the page's sources are not in this distribution")
    module = runpy.run_path(str(script))
    for name, text in module["render_modules"]().items():
        written = (module["FOLDER"] / name).read_text(encoding="utf-8")
        assert written == text, "run: python web/scripts/generate_types.py"
