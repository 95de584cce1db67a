"""Ablation study of networks and training options: one run per row, written as tables into docs/models/study.md.

python benchmarks/study.py --data ferplus.zip [--only hybrid-full hybrid-trunk] [--table-only]

Interrupted runs are resumed and finished ones are not repeated. A row without a run on this disk keeps its line in the
page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from mien.models import build_model
from mien.models.cost import measure_cost
from mien.training.config import Config, read_recipe

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs/models/study.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
HEAD = (
    "| variant | PublicTest, official majority | balanced | parameters | multiply-adds | epochs | minutes |\n"
    "|---|---|---|---|---|---|---|\n"
)
CLASSES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="ferplus.zip")
    parser.add_argument("--store", default="runs/study/faces", help="folder of the prepared faces")
    parser.add_argument("--only", nargs="*", default=[], help="names of rows to run")
    parser.add_argument("--table-only", action="store_true", help="write the tables without training")
    options = parser.parse_args()
    groups = tomllib.loads((HERE / "study.toml").read_text())["group"]
    if not options.table_only:
        for group in groups:
            for row in group["row"]:
                if not options.only or row["name"] in options.only:
                    run(group, row, options)
    write_page(groups)


def recipe_of(group: dict[str, Any], row: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the recipe of a row and its overrides."""
    overrides = [*group.get("overrides", []), *row.get("overrides", [])]
    return row.get("recipe") or group["recipe"], overrides


def folder_of(row: dict[str, Any]) -> Path:
    """Return the folder of a row's run."""
    return Path(row.get("run", f"runs/study/{row['name']}"))


def run(group: dict[str, Any], row: dict[str, Any], options: argparse.Namespace) -> None:
    """Train a row in a subprocess."""
    recipe, overrides = recipe_of(group, row)
    shared = [f"data.path={options.data}", f"data.store={options.store}", "target.store=runs/teachers"]
    command = [sys.executable, "-m", "mien", "train", recipe, *overrides, *shared]
    print(f"{row['name']}: {row['changed']}", flush=True)
    subprocess.run([*command, "--output", str(folder_of(row)), "--resume"], check=True)


def write_page(groups: list[dict[str, Any]]) -> None:
    """Replace the tables between the markers of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    tables, after = rest.split(END)
    previous = lines_of(tables)
    tables = "\n".join(filter(None, (table(group, previous) for group in groups)))
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}", encoding="utf-8")


def lines_of(tables: str) -> dict[tuple[str, str], str]:
    """Return the lines of the page by the title of their group and the text of their first column."""
    lines = {}
    for section in tables.split("### ")[1:]:
        title = section.splitlines()[0]
        lines |= {(title, line[2:].split(" | ")[0]): line for line in section.splitlines(True) if line.startswith("| ")}
    return lines


def table(group: dict[str, Any], previous: dict[tuple[str, str], str]) -> str:
    """Return the heading and rows of a group, without rows that were never finished."""
    lines = [describe(group, row) or previous.get((group["title"], row["changed"]), "") for row in group["row"]]
    lines = list(filter(None, lines))
    return f"### {group['title']}\n\n{group['about']}\n\n{HEAD}{''.join(lines)}" if lines else ""


def describe(group: dict[str, Any], row: dict[str, Any]) -> str:
    """Return a line of the table, or an empty string if the run is not finished."""
    log = folder_of(row) / "log.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    evaluations = [record for record in records if record["event"] == "eval"]
    recipe, overrides = recipe_of(group, row)
    config = read_recipe(HERE.parent / recipe, overrides)
    if not evaluations or evaluations[-1]["epoch"] < config.training.epochs - 0.01:
        return ""
    last = evaluations[-1]
    network = build_model(config.model.name, CLASSES, config.model.options)
    parameters, macs = measure_cost(network, config.data.size)
    return (
        f"| {row['changed']} | **{last['accuracy']:.1%}** | {last['balanced_accuracy']:.1%} "
        f"| {parameters / 1e6:.2f} M | {macs / 1e6:.0f} M | {config.training.epochs:g} "
        f"| {minutes(records, config):.0f} |\n"
    )


def minutes(records: list[dict[str, Any]], config: Config) -> float:
    """Return the duration of the run in minutes, at the last rate of the log."""
    steps = [record for record in records if record["event"] == "step"]
    return steps[-1]["step"] * config.training.batch / steps[-1]["faces_per_s"] / 60


if __name__ == "__main__":
    main()
