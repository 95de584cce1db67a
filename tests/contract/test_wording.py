"""Wording rules that a pattern can check."""

from __future__ import annotations

import ast
import re
import subprocess
import warnings
from pathlib import Path

import pytest

PHRASES = re.compile(
    r"\b(told|tells|unless told|so many|so few|so much|anew|once more|whatever becomes|what became of|to be seen)\b"
    r"|\bgoes? on\b|\bis no [a-z]+|\bread a face\b|\bof which\b|[a-z] alone[.,;)]",
    re.IGNORECASE,
)
BRITISH = re.compile(
    r"\b(\w*colour\w*|greys?|greyscale|licen[c]es?|labelled|unlabelled|analysed?|analysing|\w*normalis\w+|recognis\w+"
    r"|minimis\w+|optimis(e|ed|es|ing)|behaviour|neighbour\w*|cent(re|red|res)|artefacts?|learnt|spelt)\b"
)
ALLOWED = ("there is no ",)
CODE = re.compile(r"`[^`]*`|\"[\w.]*(?:licence|grey)\"|https?://\S+")
"""Names and keys, among them those of earlier versions."""


def tracked_texts(root):
    """Return the written text of the project: source, page, documents."""
    patterns = ["src/mien/*.py", "src/mien/**/*.html", "web/src", "docs/*.md", "*.md", "recipes/*.toml"]
    command = ["git", "ls-files", "--", *patterns]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.split()
    if not names:
        pytest.skip("not a git checkout")
    return [root / name for name in names if "server/page" not in name]


def matches(pattern, root):
    hits = []
    for path in tracked_texts(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            text = CODE.sub("", line)
            for match in pattern.finditer(text):
                before = text[max(0, match.start() - 6) : match.end()].lower()
                if not any(phrase in before for phrase in ALLOWED):
                    hits.append(f"{path.relative_to(root)}:{number}: {match.group(0)}")
    return hits


def test_no_banned_phrases(root):
    assert matches(PHRASES, root) == []


def test_american_spelling(root):
    assert matches(BRITISH, root) == []


def functions(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_docstrings_begin_with_a_verb(root):
    """A function says what it does; properties name what they are."""
    hits = []
    for path in sorted((root / "src/mien").rglob("*.py")):
        for function in functions(path):
            decorators = {getattr(one, "id", getattr(one, "attr", "")) for one in function.decorator_list}
            first = (ast.get_docstring(function) or "").split(" ", 1)[0]
            if decorators & {"property", "cached_property"} or not first:
                continue
            if first in {"What", "Whether", "How", "The", "A", "An", "All", "Where", "Which"}:
                hits.append(f"{path.relative_to(root)}:{function.lineno} {function.name}: {first} ...")
    assert hits == []
