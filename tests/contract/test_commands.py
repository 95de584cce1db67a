"""Commands in documents and recipes: files that one consumes are written by another, and every recipe exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mien.training.config import Config, read_recipe

DOCUMENTS = ("README.md", "docs/*.md", "docs/models/*.md", "recipes/*.toml")
RUN_FILE = re.compile(r"^runs/")


def commands(root: Path, *patterns: str) -> list[list[str]]:
    """Return the words of every `mien ...` line in code blocks and recipe comments, without shell comments."""
    paths = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    texts = (line for path in paths for line in path.read_text(encoding="utf-8").splitlines())
    lines = (line.lstrip("# ").partition("  #")[0] for line in texts if re.match(r"^(    |#   )mien ", line))
    return [shlex.split(line) for line in lines]


def recipe_of(root: Path, words: list[str]) -> Config:
    """Return the recipe of `mien train`, with its overrides; paths stay relative to the repository."""
    overrides = [word for word in words[3:] if re.match(r"[a-z_]+\.[a-z_]+=", word)]
    return read_recipe(root / words[2], overrides)


def value_of(words: list[str], *names: str) -> str | None:
    return next((words[words.index(name) + 1] for name in names if name in words), None)


def written_by(root: Path, words: list[str]) -> set[str]:
    """Return the checkpoints, or the model file, that a command writes."""
    output = value_of(words, "--output", "-o")
    if words[1] == "train":
        folder = output or f"runs/{recipe_of(root, words).name}"
        return {folder, f"{folder}/last.ckpt", f"{folder}/best.ckpt"}
    return {output} if words[1] == "export" and output else set()


def read_by(root: Path, words: list[str]) -> set[str]:
    """Return the files of earlier runs that a command reads."""
    read = {words[2]} if words[1] == "export" else set()
    if words[1] == "train":
        config = recipe_of(root, words)
        read = {config.model.pretrained, *config.target.teachers, config.target.feature_teacher}
    return {name for name in {*read, value_of(words, "--model") or ""} if RUN_FILE.match(name) or name == "mine.onnx"}


def concrete(root: Path, *patterns: str) -> list[list[str]]:
    """Return the commands that train, export or predict, without those with placeholders (RECIPE.toml, RUN)."""
    found = commands(root, *patterns)
    return [
        words
        for words in found
        if words[1] in ("train", "export", "predict") and not re.search(r"\b(RECIPE|RUN)\b|^recipe\.toml", words[2])
    ]


def test_every_recipe_in_a_command_exists(root):
    named = [words[2] for words in concrete(root, *DOCUMENTS) if words[1] == "train"]
    assert len(named) > 10
    assert [name for name in named if not (root / name).is_file()] == []


def test_files_of_runs_are_written_by_another_command(root):
    found = concrete(root, *DOCUMENTS)
    written = set().union(*(written_by(root, words) for words in found))
    missing = {name for words in found for name in read_by(root, words)} - written
    assert missing == set()


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("recipes/*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_trained_by_a_command_in_its_comments(root, path):
    trained = [words for words in concrete(root, f"recipes/{path.name}") if words[1] == "train"]
    assert f"recipes/{path.name}" in [words[2] for words in trained]


@pytest.mark.parametrize(
    "name", ["README.md", "docs/models/expression.md", "recipes/folder.toml", "recipes/table.toml"]
)
def test_commands_can_be_run_in_their_order(root, name):
    written: set[str] = set()
    found = concrete(root, name)
    assert any(read_by(root, words) for words in found)
    for words in found:
        assert read_by(root, words) <= written, words
        written |= written_by(root, words)


def test_table_of_the_study_names_folders_of_documented_runs(root):
    runs = re.findall(r'^run = "(.*)"', (root / "benchmarks/study.toml").read_text(), re.MULTILINE)
    written = set().union(*(written_by(root, words) for words in concrete(root, *DOCUMENTS)))
    assert set(runs) <= written


def test_runs_of_unchanged_recipes_keep_their_default_folder(root):
    """Otherwise the files of the README's run are not where the next recipe looks for them."""
    moved = [words for words in concrete(root, *DOCUMENTS) if words[1] == "train" and value_of(words, "--output", "-o")]
    assert moved
    for words in moved:
        assert any(re.match(r"(?!data\.path)[a-z_]+\.[a-z_]+=", word) for word in words), words
