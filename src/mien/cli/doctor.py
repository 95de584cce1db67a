"""`mien doctor`: versions, hardware, devices, networks in use, a self-test and timings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.cli.options import Arithmetic, Device, Json, Model, Threads
from mien.cli.signals import finish_before_stop
from mien.runtime import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.console import Console

    from mien.diagnosis import Diagnosis


def doctor(
    *,
    as_json: Json = False,
    model: Model = DEFAULT_MODEL,
    threads: Threads = 0,
    device: Device = "auto",
    precision: Arithmetic = "auto",
) -> int:
    """Examine the installation: versions, CPU, devices, networks in use, a self-test and timings.

    The self-test analyzes a built-in photograph of one face and compares the result with float32 on the CPU.

    Exit code: 1 if the self-test fails.

    Args:
        as_json: print one JSON object.
    """
    from mien.cli.outputs import print_json
    from mien.diagnosis import diagnose

    with finish_before_stop():
        diagnosis = diagnose(model, threads=threads, device=device, precision=precision)
    if as_json:
        print_json(diagnosis.to_dict())
    else:
        _print(diagnosis)
    return 0 if diagnosis.is_healthy else 1


def _print(diagnosis: Diagnosis) -> None:
    from mien.cli.console import open_console
    from mien.cli.fitted_table import Column, FittedTable

    console = open_console()
    for name, value in _facts(diagnosis).items():
        _print_fact(console, name, value)
    networks = FittedTable(*(Column(name, "text") for name in ("network", "file", "device", "precision")))
    for role, network in diagnosis.networks.items():
        networks.add_row(role, network["file"], network["device"], network["precision"])
    timings = FittedTable(Column("stage", "text"), Column("ms"))
    for stage, value in diagnosis.timings_ms.items():
        timings.add_row(stage, f"{value:.1f}")
    console.print("", networks, "", timings, "")
    test = diagnosis.self_test
    _print_fact(console, "self-test", "passed" if diagnosis.is_healthy else "failed")
    for problem in (*(test.problems if test else ()), *diagnosis.problems):
        _print_fact(console, "problem", problem)


def _facts(diagnosis: Diagnosis) -> dict[str, str]:
    versions = ", ".join(f"{name} {number}" for name, number in diagnosis.versions.items())
    features = ", ".join(diagnosis.cpu_features) or "no known instruction sets"
    extras = [name for name, is_installed in diagnosis.extras.items() if is_installed]
    return {
        "versions": versions,
        "system": diagnosis.platform["system"],
        "CPU": f"{diagnosis.platform['cpu']}: {features}",
        "usable cores": str(diagnosis.usable_cores),
        "devices": ", ".join(diagnosis.devices),
        "extras": ", ".join(extras) or "none",
    }


def _print_fact(console: Console, name: str, value: str) -> None:
    """Print a name and its value, with the following lines of the value below its first."""
    from rich.table import Table

    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(style="dim", width=12)
    row.add_column(overflow="fold")
    row.add_row(name, value)
    console.print(row)
