"""Accuracy and calibration by pose, size, blur and brightness, on FER+ validation faces and degraded copies of them.

python benchmarks/reliability.py ferplus.zip [--model expression] [--faces 1000] [--json out.json] [--plot out.png]

Every validation face is detected and classified as in `mien evaluate`. A random subset is rotated, downscaled, blurred
and darkened (`degradations.py`) and classified again. Finally a temperature that depends on the quality of the face is
fitted on one half of the copied faces and evaluated on the other, both ways. Takes an hour on a busy core. Needs scipy,
which comes with scikit-learn, and matplotlib.
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
from degradations import GAINS, SIDES_PX, SIGMAS_PX, Copy, make_copies
from reliability_report import draw, to_markdown
from validation import open_classifier

from mien import metrics
from mien.cli.progress import progress_bar
from mien.datasets import read_dataset
from mien.datasets.index import Index
from mien.datasets.labeled_face import detect_labeled_face
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset
from mien.export.calibrate import risk_points
from mien.export.quality import fit_quality_temperature, fit_temperature_weights, quality_features
from mien.faces import FaceDetector, LandmarkMesh, face_quality, head_pose
from mien.faces.alignment import letterbox
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, write_manifest

BATCH_SIZE = 64
YAW_BANDS = (0, 10, 20, 30, 90)
PITCH_BANDS = (-90, -20, -10, 10, 20, 90)
FEATURES = ("yaw", "pitch", "size", "blur")


@dataclass(frozen=True)
class FaceImages:
    """Original and degraded images of faces, one row per image.

    Attributes:
        face: (N,) row of the validation face.
        label: (N,) class ids.
        kind: (N,) kind of degradation; see `Copy`.
        amount: (N,) its strength.
        yaw: (N,) degrees; NaN where the mesh does not fit.
        pitch: (N,) likewise.
        size: (N,) `Quality.size_px`.
        sharpness: (N,) `Quality.sharpness`.
        logits: (N, C).
        flipped_logits: (N, C) logits averaged with those of the mirrored crop; NaN where not computed.
    """

    face: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    amount: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    size: np.ndarray
    sharpness: np.ndarray
    logits: np.ndarray
    flipped_logits: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> FaceImages:
        return FaceImages(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="expression", help="name of a shipped model, or an .onnx file")
    parser.add_argument("--faces", type=int, default=1000, help="number of faces to copy")
    parser.add_argument("--first", type=int, help="number of validation faces with pose and copies")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--plot", type=Path, help="file for the plot, a .png")
    parser.add_argument(
        "--write", action="store_true", help="write the quality temperature to the manifest of --model, a path"
    )
    options = parser.parse_args()
    classifier = open_classifier(options.model)
    index = read_dataset("ferplus", options.data).select("valid")
    labels = official_labels(classifier.manifest, index)
    counted = np.flatnonzero(labels >= 0)
    copied = set(np.random.default_rng(0).permutation(counted)[: options.faces].tolist())
    logits = predict_dataset(classifier, index).logits[counted]
    clean, copies = measure(classifier, index, labels, counted[: options.first], copied)
    report = summarize(classifier.manifest, logits, labels[counted], clean, copies)
    print(to_markdown(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_bytes(draw(report))
    if options.write:
        spec = fit_quality_temperature(
            copies.logits,
            copies.label,
            copies.size,
            copies.sharpness,
            copies.kind == "as is",
            classifier.manifest.temperature,
        )
        write_manifest(replace(classifier.manifest, quality_temperature=spec), Path(options.model))
        print(f"{options.model}: {spec}")


def measure(
    classifier: ExpressionClassifier, index: Index, labels: np.ndarray, rows: np.ndarray, copied: set[int]
) -> tuple[FaceImages, FaceImages]:
    """Return the original faces, and the copied ones with their degraded copies and originals."""
    detector, mesh = FaceDetector(threads=1), LandmarkMesh(threads=1)

    def make_images(row: int) -> list[tuple[dict[str, object], np.ndarray]]:
        image = read_image(index.read(index.samples[row]))
        face = detect_labeled_face(image, index.samples[row], detector)
        original = {"face": row, "label": labels[row], "kind": "as is", "amount": 0.0}
        no_quality = {"yaw": np.nan, "pitch": np.nan, "size": np.nan, "sharpness": np.nan}
        if face is None:
            return [({**original, **no_quality}, letterbox(image, size=classifier.manifest.input.size))]
        fit = mesh.fit(image, [face])[0]
        if fit is None or row not in copied:
            copies = [Copy("as is", 0, image, face)]
        else:
            copies = make_copies(image, replace(face, mesh_xyz=fit.mesh_xyz), seed=row)
        return [
            ({**original, "kind": copy.kind, "amount": copy.amount, **_quality(copy, mesh)}, _crop(copy))
            for copy in copies
        ]

    def _crop(copy: Copy) -> np.ndarray:
        return classifier.crop(copy.image, copy.face)

    records: list[dict[str, object]] = []
    logits: list[np.ndarray] = []
    flipped_logits: list[np.ndarray] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, progress_bar("classifying copies") as progress:
        for start in range(0, len(rows), BATCH_SIZE):
            progress(start, len(rows))
            images = [image for images in pool.map(make_images, rows[start : start + BATCH_SIZE]) for image in images]
            crops = np.stack([crop for _, crop in images])
            batch = classifier.logits(crops)
            flipped = np.full_like(batch, np.nan)
            is_flipped = np.array([record["kind"] in ("as is", "yaw") for record, _ in images])
            flipped[is_flipped] = (batch[is_flipped] + classifier.logits(crops[is_flipped][:, :, ::-1])) / 2
            records += [record for record, _ in images]
            logits.append(batch)
            flipped_logits.append(flipped)
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    images = FaceImages(**columns, logits=np.concatenate(logits), flipped_logits=np.concatenate(flipped_logits))
    has_copies = np.isin(images.face, images.face[images.kind != "as is"])
    return images[images.kind == "as is"], images[has_copies]


def _quality(copy: Copy, mesh: LandmarkMesh) -> dict[str, float]:
    """Return the pose and quality of a face as `Analyzer` computes them."""
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
    manifest: Manifest, logits: np.ndarray, labels: np.ndarray, clean: FaceImages, copies: FaceImages
) -> dict[str, object]:
    """Return all results in JSON types: of the whole split, of the originals, and of the copies."""
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
        "area_under_risk": round(area_under_risk_coverage(curve), 5),
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
            {"kind": kind, "amount": amount, **_numbers(copies[_is_copy(copies, kind, amount)], temperature)}
            for kind, amount in steps
        ],
        "quality_temperature": evaluate_quality(copies, temperature),
    }


def area_under_risk_coverage(curve: metrics.RiskCoverage) -> float:
    """Return the mean risk over coverage (AURC): small when wrong predictions have low confidence; nan for no points.

    Source:
        Geifman, Uziel, El-Yaniv (ICLR 2019); here rows of equal confidence form one step.
    """
    steps = np.diff(curve.coverage, prepend=0.0)
    return float(np.sum(curve.risk * steps)) if steps.size else float("nan")


def _is_copy(images: FaceImages, kind: str, amount: float) -> np.ndarray:
    """Return which rows are copies of one kind and amount, yaw to either side."""
    amounts = np.abs(images.amount) if kind == "yaw" else images.amount
    return (images.kind == kind) & (amounts == amount)


def _bands(
    images: FaceImages, values: np.ndarray, edges: tuple[int, ...], temperature: float
) -> list[dict[str, object]]:
    parts: list[tuple[list[int] | None, dict[str, object]]] = [
        ([low, high], _numbers(images[(values >= low) & (values < high)], temperature)) for low, high in pairwise(edges)
    ]
    parts.append((None, _numbers(images[np.isnan(values)], temperature)))
    return [{"band_deg": band, **numbers} for band, numbers in parts]


def _numbers(images: FaceImages, temperature: float) -> dict[str, object]:
    """Return accuracy, confidence and calibration of faces, and their accuracy with test-time flipping."""
    if not len(images.label):
        return {"n": 0}
    probabilities = metrics.softmax(images.logits, temperature)
    is_correct = probabilities.argmax(axis=1) == images.label
    low, high = metrics.accuracy_interval(int(is_correct.sum()), len(is_correct))
    numbers: dict[str, float | None] = {
        "n": len(is_correct),
        "accuracy": is_correct.mean(),
        "accuracy_low": low,
        "accuracy_high": high,
        "confidence": probabilities.max(axis=1).mean(),
        "ece": metrics.expected_calibration_error(probabilities, images.label),
        "no_mesh": np.isnan(images.yaw).mean(),
        "size_px": np.nanmedian(images.size) if np.isfinite(images.size).any() else None,
        "sharpness": np.nanmedian(images.sharpness) if np.isfinite(images.sharpness).any() else None,
    }
    if np.isfinite(images.flipped_logits).all():
        flipped = images.flipped_logits.argmax(axis=1) == images.label
        gained = int((flipped & ~is_correct).sum())
        lost = int((is_correct & ~flipped).sum())
        numbers |= {"accuracy_flipped": flipped.mean(), "flip_p": metrics.mcnemar_test(gained, lost)}
    return {name: None if value is None else round(float(value), 6) for name, value in numbers.items()}


def pose_and_quality_features(images: FaceImages, median: tuple[float, float]) -> np.ndarray:
    """Return (N, 4) in the order of `FEATURES`: 0 where the quality is at least that of the median validation face."""
    pose = np.nan_to_num(np.abs(np.column_stack([images.yaw, images.pitch]))) / 45
    return np.column_stack([pose, quality_features(images.size, images.sharpness, *median)])


def _median_quality(copies: FaceImages) -> tuple[float, float]:
    clean = copies[copies.kind == "as is"]
    return float(np.median(clean.size)), float(np.median(clean.sharpness))


def evaluate_quality(copies: FaceImages, temperature: float) -> dict[str, object]:
    """Return the cross-fitted ECE before and after a quality temperature, by kind of copy."""
    median = _median_quality(copies)
    features, logits = pose_and_quality_features(copies, median), copies.logits.astype(np.float64)
    is_first = np.random.default_rng(1).permutation(copies.face.max() + 1)[copies.face] % 2 == 0
    temperatures, constant = np.empty(len(logits)), np.empty(len(logits))
    for fitted, held_out in ((is_first, ~is_first), (~is_first, is_first)):
        weights = fit_temperature_weights(logits[fitted], copies.label[fitted], features[fitted], temperature)
        temperatures[held_out] = temperature * np.exp(features[held_out] @ weights)
        constant[held_out] = metrics.fit_temperature(logits[fitted], copies.label[fitted])
    before, after = (metrics.softmax(logits / t) for t in (temperature, temperatures[:, None]))
    one = metrics.softmax(logits / constant[:, None])
    parts = {"as is": copies.kind == "as is", "all degraded copies": copies.kind != "as is"}
    parts |= {kind: copies.kind == kind for kind in ("yaw", "pitch", "size", "blur", "dark")}
    results = {
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
    weights = fit_temperature_weights(logits, copies.label, features, temperature)
    return {
        "weights": dict(zip(FEATURES, np.round(weights, 4).tolist(), strict=True)),
        "median_size_px": round(median[0], 2),
        "median_sharpness": round(median[1], 3),
        "parts": results,
    }


def _risk_at(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> float:
    curve = metrics.risk_coverage(probabilities, labels)
    return float(curve.risk[np.searchsorted(curve.coverage, coverage)])


if __name__ == "__main__":
    main()
