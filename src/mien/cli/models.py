"""`mien models`: shipped models with their accuracy, size and training data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.cli.options import Json
from mien.manifest import TrainingSource

if TYPE_CHECKING:
    from mien.manifest import Manifest

UNKNOWN_SOURCE = TrainingSource(name="not stated in the manifest", license="unknown")
"""Training data of a model with a manifest that states none."""


def models(*name: str, as_json: Json = False) -> None:
    """List expression models with their accuracy, size and training data.

    Numbers come from the models' manifests; nothing is re-evaluated (see mien evaluate). On a narrow terminal the
    columns ECE, version, balanced and MB are left out, in this order.

    Args:
        name: names of shipped models or paths of .onnx files; all shipped models by default.
        as_json: print one JSON object per model.
    """
    from mien.cli.outputs import print_json
    from mien.manifest import read_manifest
    from mien.runtime import find_model, shipped_models

    paths = {item: find_model(item) for item in name or shipped_models()}
    manifests = {item: read_manifest(path) for item, path in paths.items()}
    if as_json:
        for item, manifest in manifests.items():
            print_json(_to_record(item, paths[item], manifest))
    else:
        _print_table(paths, manifests)


def _to_record(name: str, path: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "model": name,
        "recipe": manifest.source.get("recipe"),
        "version": manifest.version,
        "bytes": path.stat().st_size,
        "labels": list(manifest.labels),
        "metrics": manifest.metrics,
        "trained_on": [asdict(source) for source in manifest.trained_on],
        "license": manifest.license,
    }


def _print_table(paths: dict[str, Path], manifests: dict[str, Manifest]) -> None:
    from rich.text import Text

    from mien.cli.console import open_console
    from mien.cli.fitted_table import Column, FittedTable
    from mien.number_format import decimal, percent
    from mien.runtime import DEFAULT_MODEL

    console = open_console()
    table = FittedTable(
        *(Column("model", "text"), Column("version"), Column("MB"), Column("evaluated on", "text")),
        *map(Column, ("n", "accuracy", "balanced", "ECE")),
        drop=("ECE", "version", "balanced", "MB"),
    )
    for name, manifest in manifests.items():
        size = paths[name].stat().st_size / 1e6
        cells = [name, manifest.version, f"{size:.1f}"]
        for data, scores in _official_scores(manifest) or [("-", {})]:
            shares = (percent(scores.get(key)) for key in ("accuracy", "balanced_accuracy"))
            count = f"{scores['n']:,}" if scores else "-"
            table.add_row(*cells, data, count, *shares, decimal(scores.get("ece")))
            cells = ["", "", ""]
    console.print(table, "")
    for name, manifest in manifests.items():
        default = " (default)" if name == DEFAULT_MODEL else ""
        console.print(Text.assemble((name, "bold"), f"{default}, license of the weights"), soft_wrap=True)
        console.print(f"    {manifest.license}", style="dim", soft_wrap=True)
        console.print(Text.assemble((name, "bold"), f"{default}, trained on"), soft_wrap=True)
        for source in manifest.trained_on or (UNKNOWN_SOURCE,):
            console.print(f"  {source.name}", soft_wrap=True)
            console.print(f"    {source.license}", style="dim", soft_wrap=True)


def _official_scores(manifest: Manifest) -> list[tuple[str, dict[str, Any]]]:
    """Return the scores of the official protocol, the first one, for each data set."""
    firsts = ((data, *next(iter(protocols.items()))) for data, protocols in manifest.metrics.items() if protocols)
    return [(f"{data}, {protocol}", scores) for data, protocol, scores in firsts]
