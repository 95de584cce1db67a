"""Compressed variants of the shipped models: accuracy, size, cost, time and memory, as table and Pareto front.

python recipes/compress.py ferplus.zip
python benchmarks/compression.py ferplus.zip wild_valid.zip [--only mobile mobile-64 ...]

Measures the shipped models and every runs/compression/NAME.onnx that is not in runs/compression/results.json yet, or
those that are named, and writes the table and the plots of docs/models/compression.md. Accuracy is that of the official
majority protocol on the FER+ validation split, for shipped models from their manifests, and of photographs (see
photographs.py), without averaging over mirror images. Milliseconds are medians of one thread's CPU time for one face;
variants take turns. Memory is the peak of a process that opens the model and predicts ten faces one by one, above that
of the same process before it (Linux).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from compression_page import write_page
from onnx import ModelProto
from photographs import read_crops

from mien import metrics
from mien.datasets import read_dataset
from mien.datasets.face_store import prepare_faces
from mien.evaluation.labels import official_labels
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import read_manifest
from mien.runtime import ASSETS, find_model, open_session

SHIPPED = ("expression", "expression.int8", "mobile", "compact", "open")
SIDE = 64
"""Side in pixels of the input of all models."""
PATCH = 48
MEMORY = """
import pathlib, re, sys
import numpy as np
from mien.runtime import open_session

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text()).group(1))

before = peak_kb()
session = open_session(pathlib.Path(sys.argv[1]), 1, device="cpu")
for _ in range(10):
    session.run(["logits"], {"images": np.zeros((1, 3, 64, 64), dtype=np.float32)})
print(peak_kb() - before)
"""
"""Program that prints the growth of its peak memory in kB (Linux)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="FER+, a folder or a zip archive")
    parser.add_argument("photographs", type=Path, help="archive of labeled photographs")
    parser.add_argument("--folder", type=Path, default=Path("runs/compression"))
    parser.add_argument("--only", nargs="*", default=[], help="variants to measure again")
    parser.add_argument(
        "--repeats", type=int, default=100, help="runs of each model that are timed; 0 keeps earlier times"
    )
    options = parser.parse_args()
    file = options.folder / "results.json"
    results = json.loads(file.read_text()) if file.is_file() else {}
    files = {name: ASSETS / f"{name}.onnx" for name in SHIPPED}
    files |= {path.stem: path for path in sorted(options.folder.glob("*.onnx"))}
    faces = read_faces(options)
    for name in options.only or [name for name in files if name not in results]:
        results[name] = measure(files[name], faces)
        print(name, results[name], flush=True)
        file.write_text(json.dumps(results, indent=1))
    if options.repeats:
        for name, value in times_ms({name: files[name] for name in results}, options.repeats).items():
            results[name]["milliseconds"] = value
        file.write_text(json.dumps(results, indent=1))
    write_page(results)


def read_faces(options: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the crops (N, S, S, 3) and class numbers (N,) of both sets of faces, from a cached file if present."""
    cache = options.folder / "crops.npz"
    if not cache.is_file():
        index = read_dataset("ferplus", options.data)
        store = prepare_faces(index, options.folder / "faces", patch=PATCH)
        manifest = read_manifest(find_model("expression"))
        is_valid = [sample.split == "valid" for sample in index.samples]
        labels = np.where(is_valid, official_labels(manifest, index), -1)
        rows = np.flatnonzero(labels >= 0)
        photographs, names, _ = read_crops(options.photographs)
        np.savez(
            cache,
            valid=np.stack([store.crop(int(row), size=SIDE, template="ferplus", margin=0.0) for row in rows]),
            valid_labels=labels[rows],
            photographs=photographs,
            photograph_labels=[manifest.labels.index(name) for name in names],
        )
    with np.load(cache) as saved:
        return {
            "ferplus": (saved["valid"], saved["valid_labels"]),
            "photographs": (saved["photographs"], saved["photograph_labels"]),
        }


def measure(path: Path, faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, object]:
    """Return accuracy, size, multiply-adds and memory of a model file, and how it was made."""
    classifier = ExpressionClassifier(path, threads=1, device="cpu")
    stated = classifier.manifest.metrics.get("ferplus/valid", {}).get("majority", {})
    result: dict[str, object] = {"ferplus": stated.get("accuracy")}
    for name, (crops, labels) in faces.items():
        if result.get(name) is not None:
            continue
        predictions = metrics.choose_labels(classifier.logits(crops))
        is_face = crops.any(axis=(1, 2, 3))
        result[name] = float((is_face & (predictions == labels)).mean())
    memory = subprocess.run([sys.executable, "-c", MEMORY, str(path)], check=True, capture_output=True, text=True)
    return {
        **result,
        "bytes": path.stat().st_size,
        "multiply_adds": count_multiply_adds(onnx.load(path)),
        "memory_kb": int(memory.stdout),
        "source": read_manifest(path).source,
    }


def count_multiply_adds(model: ModelProto) -> int:
    """Count the multiply-adds of convolutions and linear layers of the logits of one face."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.value_info, *inferred.output):
        shapes[value.name] = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    total = 0
    for node in inferred.node:
        if node.op_type in ("Conv", "Gemm") and "maps" not in node.output:
            if 0 in shapes[node.output[0]]:
                raise SystemExit(f"the shape of {node.output[0]} is unknown: write the model again with `mien export`.")
            inputs_per_output = np.prod(shapes[node.input[1]]) // shapes[node.output[0]][1]
            total += int(np.prod(shapes[node.output[0]][1:]) * inputs_per_output)
    return total


def times_ms(files: dict[str, Path], repeats: int) -> dict[str, float]:
    """Return the median CPU milliseconds of one face for every file."""
    sessions = {name: open_session(path, 1, device="cpu") for name, path in files.items()}
    images = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in files}
    for turn in range(repeats + 3):
        for name, session in sessions.items():
            started = time.thread_time()
            session.run(["logits"], {"images": images})
            if turn >= 3:
                times[name].append(time.thread_time() - started)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
