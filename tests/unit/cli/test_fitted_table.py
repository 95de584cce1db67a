from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from mien.cli.fitted_table import Column, FittedTable, numbers_table


def render(table, width):
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def scores():
    table = numbers_table("protocol", "n", "accuracy", "95% interval", "ECE", drop=("ECE", "95% interval"))
    table.add_row("majority, probabilities", "3,199", "89.1%", "88.0–90.2%", "0.009")
    table.add_row("[b]odd[/b]", "12", "100.0%", "75.8–100.0%", "0.111")
    return table


def test_empty_table_has_its_header():
    assert render(numbers_table("class", "n"), 20).split() == ["class", "n", "─" * 8]


def test_wide_terminal_shows_everything_on_one_line_per_row(scores):
    lines = render(scores, 100).splitlines()
    assert lines[2].split() == ["majority,", "probabilities", "3,199", "89.1%", "88.0–90.2%", "0.009"]
    assert lines[3].split()[0] == "[b]odd[/b]"
    assert len(lines) == 4


def test_columns_drop_out_in_the_stated_order_and_are_named(scores):
    seen = []
    for width in range(70, 29, -1):
        output = render(scores, width)
        assert max(map(len, output.splitlines())) <= width
        left_out = re.search(r"Left out at \d+\s+columns:\s+([^.]*)\.", output)
        seen.append(" ".join(left_out[1].split()) if left_out else "")
    assert list(dict.fromkeys(seen)) == ["", "ECE", "ECE, 95% interval"]


@pytest.mark.parametrize("width", [12, 20, 30, 40, 60, 80])
def test_numbers_and_words_stay_whole_at_every_width(scores, width):
    output = render(scores, width)
    assert "…" not in output
    for text in ("3,199", "89.1%", "100.0%", "12", "majority,"):
        assert re.search(rf"(?<!\S){re.escape(text)}(?!\S)", output)


def test_rows_become_lists_without_loss_when_nothing_else_helps(scores):
    output = render(scores, 22)
    assert ["ECE", "0.009"] in [line.split() for line in output.splitlines()]
    assert "75.8–100.0%" in output.split()


def test_wide_characters_count_twice():
    table = FittedTable(Column("名前", "label"), Column("n"))
    table.add_row("幸福" * 3, "7")
    assert max(map(len, render(table, 15).splitlines())) <= 15
    assert "幸福幸福幸福  7" in render(table, 15)


def test_a_long_path_folds_instead_of_being_cut():
    path = "/data/models/" + "x" * 40 + ".onnx"
    table = numbers_table("model", "n")
    table.add_row(path, "1,234")
    output = render(table, 40)
    rows = [line.split() for line in output.splitlines()[2:]]
    assert "".join(row[0] for row in rows) == path
    assert rows[0][1] == "1,234"
