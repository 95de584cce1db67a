"""Detection of faces in full and in reduced frames, by size: share, noise of the landmarks, and accuracy.

python benchmarks/reduced_scan.py wild_valid.zip [--every 3]

Each photograph is put on a gray frame of 640 x 480, at several sizes and with its middle at four places: only noise
moves the landmarks of the face then. In a video, large faces are found in reduced frames (mien/video/scanning.py).
"""

from __future__ import annotations

import argparse
import csv
import io
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien import Analyzer, read_image
from mien.imaging import average_blocks

SIZE_HW = (480, 640)
GRAY = 128
SIDES = (110, 140, 220, 400)
"""Long sides of the photographs in the frame, in pixels."""
SHIFTS = ((0, 0), (5, -3), (-4, 2), (1, 6))
REDUCTIONS = (1, 2)


def make_frame(photograph: Image.Image, side: int, shift: tuple[int, int]) -> np.ndarray:
    """Return a gray frame with a photograph in the middle, shifted by whole pixels."""
    scale = side / max(photograph.size)
    width, height = (max(1, round(length * scale)) for length in photograph.size)
    frame = np.full((*SIZE_HW, 3), GRAY, dtype=np.uint8)
    top, left = (SIZE_HW[0] - height) // 2 + shift[1], (SIZE_HW[1] - width) // 2 + shift[0]
    frame[top : top + height, left : left + width] = photograph.resize((width, height), Image.Resampling.BILINEAR)
    return frame


def measure(analyzer: Analyzer, photographs: list[tuple[Image.Image, str]], side: int, k: int) -> dict[str, Any]:
    """Scan the frames of all photographs, reduced by k."""
    detected = correct = changed = 0
    lengths, deviations, seconds = [], [], []
    for photograph, label in photographs:
        predictions, landmarks = [], []
        for shift in SHIFTS:
            frame = make_frame(photograph, side, shift)
            started_s = time.perf_counter()
            faces = analyzer.detect(frame if k == 1 else average_blocks(frame, k), rotated=False)
            seconds.append(time.perf_counter() - started_s)
            if not faces:
                break
            face = replace(faces[0], landmarks_xy=k * faces[0].landmarks_xy)
            landmarks.append(face.landmarks_xy - shift)
            lengths.append(k * float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max()))
            crop = analyzer.classifier.crop(frame, face)
            predictions.append(int(analyzer.classifier.logits(crop[None])[0].argmax()))
        if len(predictions) < len(SHIFTS):
            continue
        detected += 1
        correct += analyzer.manifest.labels[predictions[0]] == label
        changed += len(set(predictions)) > 1
        points = np.array(landmarks)
        deviations.append(float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=2).mean())) / lengths[-1])
    if not detected:
        raise SystemExit(f"no face of {side} pixels is detected in a frame that is reduced by {k}")
    return {
        "reduced_by": k,
        "face_px": round(float(np.median(lengths))),
        "detected": round(detected / len(photographs), 3),
        "accuracy": round(correct / detected, 3),
        "labels_that_change": round(changed / detected, 3),
        "landmark_noise": round(float(np.mean(deviations)), 4),
        "scan_ms": round(1e3 * float(np.median(seconds)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="wild_valid.zip")
    parser.add_argument("--every", type=int, default=3, help="use every Nth photograph")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.data) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"), encoding="utf-8")))
        photographs = [
            (Image.fromarray(read_image(archive.read(row["image"]))), row["label"]) for row in rows[:: arguments.every]
        ]
    analyzer = Analyzer(threads=1, pose=False)
    for side in SIDES:
        for k in REDUCTIONS:
            print(measure(analyzer, photographs, side, k), flush=True)


if __name__ == "__main__":
    main()
