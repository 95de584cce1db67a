"""Milliseconds of one core, memory and largest differences from Python of the graphs of a phone bundle.

python benchmarks/phone.py FOLDER [--repeats 30] [--json]

Each graph runs in the runtime of its format. Times are CPU time of one thread, medians, on `golden/pair.rgb`; memory is
what the process gains at its peak. Differences are those from the golden values, over all golden images.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from mien.export.bundle.check import largest_differences, open_graph
from mien.export.formats import check_packages


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def example_inputs(folder: Path, side: int) -> dict[str, np.ndarray]:
    """Return the inputs of all graphs for the first face of the golden image with two."""
    cases = json.loads((folder / "golden/golden.json").read_text())["cases"]
    case = next(case for case in cases if len(case["faces"]) == 2)
    shape = (case["height"], case["width"], 3)
    canvas = np.zeros((side, side, 3), dtype=np.uint8)
    canvas[: shape[0], : shape[1]] = np.fromfile(folder / "golden" / case["image"], dtype=np.uint8).reshape(shape)
    landmarks = np.array(case["faces"][0]["landmarks"], dtype=np.float32)
    return {
        "image": canvas,
        "size": np.array(shape[:2], dtype=np.int32),
        "box": np.array(case["faces"][0]["boxes"], dtype=np.float32),
        "landmarks": landmarks,
        "eyes": landmarks[:2],
    }


def measure(
    folder: Path, contract: dict[str, Any], name: str, inputs: dict[str, np.ndarray], repeats: int
) -> dict[str, float]:
    """Return the size of a graph, its time per call and the memory that it adds."""
    graph = contract["graphs"][name]
    before = peak_mb()
    run = open_graph(folder, contract, name)
    arguments = [inputs[tensor["name"]] for tensor in graph["inputs"]]
    times = []
    for _ in range(repeats + 2):
        start = time.process_time()
        run(arguments)
        times.append((time.process_time() - start) * 1e3)
    return {
        "megabytes": round(graph["bytes"] / 1e6, 2),
        "milliseconds": round(statistics.median(times[2:]), 2),
        "peak_mb": round(peak_mb() - before, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    contract = json.loads((arguments.folder / "contract.json").read_text())
    inputs = example_inputs(arguments.folder, contract["canvas"]["side"])
    check_packages(contract["format"])
    rows = {name: measure(arguments.folder, contract, name, inputs, arguments.repeats) for name in contract["graphs"]}
    differences = {name: float(f"{value:.2g}") for name, value in largest_differences(arguments.folder).items()}
    if arguments.json:
        print(json.dumps({"format": contract["format"], "graphs": rows, "differences": differences}))
        return
    for name, row in rows.items():
        print(f"{name:<12}{row['megabytes']:6.2f} MB{row['milliseconds']:8.2f} ms{row['peak_mb']:8.1f} MB of memory")
    print("differences:", ", ".join(f"{name} {value:g}" for name, value in differences.items()))


if __name__ == "__main__":
    main()
