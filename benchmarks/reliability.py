"""How accuracy and confidence depend on pose, size, blur and light: FER+ validation faces and harder copies of them.

python benchmarks/reliability.py ferplus.zip [--model expression] [--faces 1000] [--json out.json] [--plot out.png]

Every validation face is found and read as `mien evaluate` does it; so many of them, drawn at random, are copied
turned, shrunk, blurred and darkened (`degrading.py`) and read again. The last step asks whether a temperature that
depends on the quality of the face keeps the confidence honest: fitted on one half of the copied faces, judged on the
other, both ways. An hour on a busy core. Needs scipy, which comes with scikit-learn, and matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from degrading import GAINS, SIDES_PX, SIGMAS_PX, Copy, make_copies
from reliability_report import draw, to_markdown
from scipy.optimize import minimize

from mien import metrics
from mien.cli.progress import progress_bar
from mien.datasets import read_dataset
from mien.datasets.index import Index
from mien.datasets.labeled_face import detect_labeled_face
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset
from mien.export.calibrate import risk_points
from mien.faces import FaceDetector, LandmarkMesh, face_quality, head_pose
from mien.faces.alignment import letterbox
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, QualityTemperature, write_manifest

AHEAD = 64
YAW_BANDS = (0, 10, 20, 30, 90)
PITCH_BANDS = (-90, -20, -10, 10, 20, 90)
FEATURES = ("yaw", "pitch", "size", "blur")


@dataclass(frozen=True)
class Shots:
    """Images of faces, row by row: what they are, how well they can be read, and what was read."""

    face: np.ndarray  # (N,) number of the validation face
    label: np.ndarray
    kind: np.ndarray
    amount: np.ndarray
    yaw: np.ndarray  # degrees; nan where the mesh does not fit
    pitch: np.ndarray
    size: np.ndarray  # Quality.size_px
    sharpness: np.ndarray
    logits: np.ndarray  # (N, C)
    mirrored: np.ndarray  # (N, C): averaged with the mirror image; nan where it was not asked for

    def __getitem__(self, rows: np.ndarray) -> Shots:
        return Shots(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="expression", help="a shipped model's name or an .onnx file")
    parser.add_argument("--faces", type=int, default=1000, help="so many are copied")
    parser.add_argument(
        "--first", type=int, help="poses and copies of the first so many validation faces only"
    )
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--plot", type=Path, help="write the two curves here, a .png")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the quality temperature into the manifest of --model, a path",
    )
    options = parser.parse_args()
    classifier = ExpressionClassifier(options.model)
    index = read_dataset("ferplus", options.data).select("valid")
    labels = official_labels(classifier.manifest, index)
    counted = np.flatnonzero(labels >= 0)
    chosen = set(np.random.default_rng(0).permutation(counted)[: options.faces].tolist())
    logits = predict_dataset(classifier, index).logits[counted]
    found = measure(classifier, index, labels, counted[: options.first], chosen)
    report = summarize(classifier.manifest, logits, labels[counted], *found)
    print(to_markdown(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_bytes(draw(report))
    if options.write:
        spec = fit_manifest(found[1], classifier.manifest.temperature)
        write_manifest(replace(classifier.manifest, quality_temperature=spec), Path(options.model))
        print(f"{options.model}: {spec}")


def measure(
    classifier: ExpressionClassifier, index: Index, labels: np.ndarray, rows: np.ndarray, chosen: set[int]
) -> tuple[Shots, Shots]:
    """All these faces as they are, and the chosen ones with their copies (as they are too)."""
    detector, mesh = FaceDetector(threads=1), LandmarkMesh(threads=1)

    def shoot(row: int) -> list[tuple[dict[str, object], np.ndarray]]:
        image = read_image(index.read(index.samples[row]))
        face = detect_labeled_face(image, index.samples[row], detector)
        known = {"face": row, "label": labels[row], "kind": "as is", "amount": 0.0}
        unknown = {"yaw": np.nan, "pitch": np.nan, "size": np.nan, "sharpness": np.nan}
        if face is None:
            return [({**known, **unknown}, letterbox(image, size=classifier.manifest.input.size))]
        fit = mesh.fit(image, [face])[0]
        if fit is None or row not in chosen:
            copies = [Copy("as is", 0, image, face)]
        else:
            copies = make_copies(image, replace(face, mesh_xyz=fit.mesh_xyz), seed=row)
        return [
            ({**known, "kind": copy.kind, "amount": copy.amount, **_quality(copy, mesh)}, _crop(copy))
            for copy in copies
        ]

    def _crop(copy: Copy) -> np.ndarray:
        return classifier.crop(copy.image, copy.face)

    records: list[dict[str, object]] = []
    logits, mirrored = [], []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, progress_bar("copying and reading") as advance:
        for start in range(0, len(rows), AHEAD):
            advance(start, len(rows))
            shots = [shot for several in pool.map(shoot, rows[start : start + AHEAD]) for shot in several]
            crops = np.stack([crop for _, crop in shots])
            plain = classifier.logits(crops)
            both = np.full_like(plain, np.nan)
            wanted = np.array([record["kind"] in ("as is", "yaw") for record, _ in shots])
            both[wanted] = (plain[wanted] + classifier.logits(crops[wanted][:, :, ::-1])) / 2
            records += [record for record, _ in shots]
            logits.append(plain)
            mirrored.append(both)
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    shots = Shots(**columns, logits=np.concatenate(logits), mirrored=np.concatenate(mirrored))
    has_copies = np.isin(shots.face, shots.face[shots.kind != "as is"])
    return shots[shots.kind == "as is"], shots[has_copies]


def _quality(copy: Copy, mesh: LandmarkMesh) -> dict[str, float]:
    """What the analyzer would know of this image's quality."""
    quality = face_quality(copy.image, copy.face)
    fit = mesh.fit(copy.image, [copy.face])[0]
    pose = None if fit is None else head_pose(fit.mesh_xyz)
    return {
        "yaw": np.nan if pose is None else pose.yaw_deg,
        "pitch": np.nan if pose is None else pose.pitch_deg,
        "size": quality.size_px,
        "sharpness": quality.sharpness,
    }


def summarize(
    manifest: Manifest, logits: np.ndarray, labels: np.ndarray, clean: Shots, copies: Shots
) -> dict[str, object]:
    """All numbers, as plain JSON values: of the whole split, of faces as they are, and of copies."""
    temperature = manifest.temperature
    probabilities = metrics.softmax(logits, temperature)
    points = risk_points(probabilities, labels)
    curve = metrics.risk_coverage(probabilities, labels)
    steps: list[tuple[str, float]] = [("as is", 0), ("yaw", 20), ("yaw", 40), ("pitch", -25), ("pitch", 25)]
    steps += [("size", side) for side in SIDES_PX] + [("blur", sigma) for sigma in SIGMAS_PX]
    steps += [("dark", gain) for gain in GAINS]
    return {
        "model": manifest.name,
        "sha256": manifest.sha256,
        "faces": len(labels),
        "posed": len(clean.label),
        "copied": len(np.unique(copies.face)),
        "area_under_risk": round(metrics.area_under_risk_coverage(curve), 5),
        "risk_coverage": [vars(point) for point in points],
        "curve": [
            [round(float(value), 5) for value in curve.coverage[::-8][::-1]],
            [round(float(value), 5) for value in curve.risk[::-8][::-1]],
        ],
        "real": {
            "yaw": _bands(clean, np.abs(clean.yaw), YAW_BANDS, temperature),
            "pitch": _bands(clean, clean.pitch, PITCH_BANDS, temperature),
        },
        "copies": [
            {"kind": kind, "amount": amount, **_numbers(copies[_is(copies, kind, amount)], temperature)}
            for kind, amount in steps
        ],
        "quality_temperature": judge_quality(copies, temperature),
    }


def _is(shots: Shots, kind: str, amount: float) -> np.ndarray:
    """Copies of one kind; a turn to the right counts with the turn to the left."""
    amounts = np.abs(shots.amount) if kind == "yaw" else shots.amount
    return (shots.kind == kind) & (amounts == amount)


def _bands(
    shots: Shots, values: np.ndarray, edges: tuple[int, ...], temperature: float
) -> list[dict[str, object]]:
    parts: list[tuple[list[int] | None, dict[str, object]]] = [
        ([low, high], _numbers(shots[(values >= low) & (values < high)], temperature))
        for low, high in pairwise(edges)
    ]
    parts.append((None, _numbers(shots[np.isnan(values)], temperature)))
    return [{"band_deg": band, **numbers} for band, numbers in parts]


def _numbers(shots: Shots, temperature: float) -> dict[str, object]:
    """Accuracy, confidence and calibration of some faces, and what mirroring makes of their accuracy."""
    if not len(shots.label):
        return {"n": 0}
    probabilities = metrics.softmax(shots.logits, temperature)
    is_right = probabilities.argmax(axis=1) == shots.label
    low, high = metrics.accuracy_interval(int(is_right.sum()), len(is_right))
    numbers: dict[str, float | None] = {
        "n": len(is_right),
        "accuracy": is_right.mean(),
        "accuracy_low": low,
        "accuracy_high": high,
        "confidence": probabilities.max(axis=1).mean(),
        "ece": metrics.expected_calibration_error(probabilities, shots.label),
        "no_mesh": np.isnan(shots.yaw).mean(),
        "size_px": np.nanmedian(shots.size) if np.isfinite(shots.size).any() else None,
        "sharpness": np.nanmedian(shots.sharpness) if np.isfinite(shots.sharpness).any() else None,
    }
    if np.isfinite(shots.mirrored).all():
        mirrored = shots.mirrored.argmax(axis=1) == shots.label
        gained, lost = int((mirrored & ~is_right).sum()), int((is_right & ~mirrored).sum())
        numbers |= {"accuracy_mirrored": mirrored.mean(), "mirror_p": metrics.mcnemar_test(gained, lost)}
    return {name: None if value is None else round(float(value), 6) for name, value in numbers.items()}


def quality_features(shots: Shots, median: tuple[float, float]) -> np.ndarray:
    """(N, 4) in the order of `FEATURES`: zero where the face is as good as the median validation face or better."""
    size, sharpness = median
    return np.column_stack(
        [
            np.nan_to_num(np.abs(shots.yaw)) / 45,
            np.nan_to_num(np.abs(shots.pitch)) / 45,
            np.clip(np.log2(size / shots.size), 0, 3),
            np.clip(1 - shots.sharpness / sharpness, 0, 1),
        ]
    )


def fit_quality(
    logits: np.ndarray, labels: np.ndarray, features: np.ndarray, temperature: float
) -> np.ndarray:
    """Weights (F,) from 0 up of log T = log T0 + w . f that make the labels likeliest; T0 stays as it is."""
    rows = np.arange(len(labels))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = logits / (temperature * np.exp(features @ weights))[:, None]
        probabilities = metrics.softmax(scaled)
        slope = (scaled * probabilities).sum(axis=1) - scaled[rows, labels]  # of log p by log T
        return float(-np.log(probabilities[rows, labels] + 1e-12).mean()), -(slope[:, None] * features).mean(
            axis=0
        )

    start = np.zeros(features.shape[1])
    return minimize(loss, start, jac=True, bounds=[(0, None)] * len(start)).x


def fit_manifest(copies: Shots, temperature: float) -> QualityTemperature:
    """What the manifest states: fitted on all copies, on their size and sharpness alone."""
    size, sharpness = median = _median_quality(copies)
    features = quality_features(copies, median)[:, FEATURES.index("size") :]
    per_halving, per_blur = fit_quality(
        copies.logits.astype(np.float64), copies.label, features, temperature
    ).round(3)
    return QualityTemperature(
        size_px=round(size, 1),
        per_halving=float(per_halving),
        sharpness=round(sharpness, 3),
        per_blur=float(per_blur),
    )


def _median_quality(copies: Shots) -> tuple[float, float]:
    clean = copies[copies.kind == "as is"]
    return float(np.median(clean.size)), float(np.median(clean.sharpness))


def judge_quality(copies: Shots, temperature: float) -> dict[str, object]:
    """ECE of faces that a quality temperature was not fitted on, before and after, by kind of copy."""
    median = _median_quality(copies)
    features, logits = quality_features(copies, median), copies.logits.astype(np.float64)
    is_first = np.random.default_rng(1).permutation(copies.face.max() + 1)[copies.face] % 2 == 0
    temperatures, constant = np.empty(len(logits)), np.empty(len(logits))
    for fitted, judged in ((is_first, ~is_first), (~is_first, is_first)):
        weights = fit_quality(logits[fitted], copies.label[fitted], features[fitted], temperature)
        temperatures[judged] = temperature * np.exp(features[judged] @ weights)
        constant[judged] = metrics.fit_temperature(logits[fitted], copies.label[fitted])
    before, after = (metrics.softmax(logits / t) for t in (temperature, temperatures[:, None]))
    one = metrics.softmax(logits / constant[:, None])
    parts = {"as is": copies.kind == "as is", "all harder copies": copies.kind != "as is"}
    parts |= {kind: copies.kind == kind for kind in ("yaw", "pitch", "size", "blur", "dark")}
    judged = {
        name: {
            key: round(metrics.expected_calibration_error(values[rows], copies.label[rows]), 4)
            for key, values in (("ece", before), ("ece_one_temperature", one), ("ece_by_quality", after))
        }
        | {
            key: round(_risk_at(values[rows], copies.label[rows], 0.8), 4)
            for key, values in (("risk_80", before), ("risk_80_by_quality", after))
        }
        for name, rows in parts.items()
    }
    weights = fit_quality(logits, copies.label, features, temperature)
    return {
        "weights": dict(zip(FEATURES, np.round(weights, 4).tolist(), strict=True)),
        "median_size_px": round(median[0], 2),
        "median_sharpness": round(median[1], 3),
        "parts": judged,
    }


def _risk_at(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> float:
    curve = metrics.risk_coverage(probabilities, labels)
    return float(curve.risk[np.searchsorted(curve.coverage, coverage)])


if __name__ == "__main__":
    main()
