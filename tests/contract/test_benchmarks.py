"""Benchmarks import only what the documented installation has; optional packages are imported where they are used."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
RECIPES = FOLDER.with_name("recipes")
OPTIONAL = {"cv2", "torch"}
"""Packages that a script must run without, unless it trains."""
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "scipy": "scikit-learn", "httpx": "httpx2"}


def module_imports(path: Path) -> set[str]:
    """Return the top-level names of the packages that a script imports when it starts."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    own = {"mien", "support", *(script.stem for folder in (FOLDER, RECIPES) for script in folder.glob("*.py"))}
    return {name.split(".")[0] for name in names} - own - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_imports_are_declared(root, path):
    declared = set(re.findall(r'"([a-z0-9-]+)[><=\[]', (root / "pyproject.toml").read_text()))
    imported = module_imports(path)
    assert not imported & OPTIONAL
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= declared


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_names_imported_from_mien_exist(path):
    """A redesign that renames a function breaks the scripts silently: nothing else runs them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mien"):
            module = __import__(node.module, fromlist=["*"])
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{node.module}: {missing}"
