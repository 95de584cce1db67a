"""`mien models`: which models there are, how good they are, and what they learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from mien.manifest import Manifest

UNSTATED = {"name": "what its manifest does not state", "license": "unknown"}


def models(*names: str, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """List the models that read expressions: how good, how large, and what they learned from.

    What is told stands in their manifests; nothing is measured anew (`mien evaluate` does).

    Args:
        names: shipped models' names or .onnx files; the shipped ones when there is none.
        as_json: print one JSON object a model.
    """
    from mien.manifest import read_manifest
    from mien.runtime import find_model, shipped_models

    paths = {name: find_model(name) for name in names or shipped_models()}
    found = {name: (path, read_manifest(path)) for name, path in paths.items()}
    if as_json:
        for name, (path, manifest) in found.items():
            print(json.dumps(_record(name, path, manifest)))
        return
    _show(found)


def _record(name: str, path: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "model": name,
        "recipe": manifest.name,
        "version": manifest.version,
        "bytes": path.stat().st_size,
        "labels": list(manifest.labels),
        "metrics": manifest.metrics,
        "trained_on": list(manifest.trained_on),
        "license": manifest.license,
    }


def _show(found: dict[str, tuple[Path, Manifest]]) -> None:
    from rich.markup import escape

    from mien.cli.number_tables import number, numbers_table, open_console, percent
    from mien.runtime import DEFAULT_MODEL

    console = open_console()
    table = numbers_table("model", "version", "MB", "measured on", "n", "accuracy", "balanced", "ECE")
    for name, (path, manifest) in found.items():
        first = [escape(name), escape(manifest.version), f"{path.stat().st_size / 1e6:.1f}"]
        for place, part in _measured(manifest) or [("-", {})]:
            shares = (percent(part.get(key)) for key in ("accuracy", "balanced_accuracy"))
            count = f"{part['n']:,}" if part else "-"
            table.add_row(*first, escape(place), count, *shares, number(part.get("ece")))
            first = ["", "", ""]
    console.print(table)
    for name, (_, manifest) in found.items():
        default = ", the default" if name == DEFAULT_MODEL else ""
        console.print(f"[bold]{escape(name)}[/bold]{default}, learned from", soft_wrap=True)
        for source in manifest.trained_on or (UNSTATED,):
            console.print(f"  {escape(source['name'])}", soft_wrap=True)
            console.print(f"    [dim]{escape(source['license'])}[/dim]", soft_wrap=True)


def _measured(manifest: Manifest) -> list[tuple[str, dict[str, Any]]]:
    """Of every data set that it was measured on, the first protocol: the official one."""
    rows = []
    for place, protocols in manifest.metrics.items():
        protocol, part = next(iter(protocols.items()))
        rows.append((f"{place}, {protocol}", part))
    return rows
