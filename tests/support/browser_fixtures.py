"""Reference values from Python for small fixed inputs, which the page's TypeScript must reproduce (`web/tests/`).

`python tests/support/browser_fixtures.py` writes web/tests/fixtures/*.json. `tests/parity/test_browser.py` compares the
files with Python, `npm --prefix web test` with TypeScript.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.faces.alignment import align_face
from mien.faces.detection import MAX_CONTAINMENT, MAX_FRAGMENT_RATIO, STRIDES, FaceDetector, _decode, _pad
from mien.faces.mesh_network import mesh_crop_matrix
from mien.faces.pose import canonical_face, head_pose
from mien.faces.quality import face_quality
from mien.faces.tracking import FaceTracker, appearance_descriptor
from mien.fusion import conflict, face_weight, log_linear_pool, to_face_classes, voice_weight
from mien.geometry import non_maximum_suppression, similarity_transform
from mien.imaging import resize, warp
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import QualityTemperature
from mien.results import Expression, Face, HeadPose, Quality
from mien.video.follower import compare_shapes, landmark_shape
from mien.video.scene_cuts import CutDetector
from mien.video.smoothing import Smoother, prediction_weight
from mien.voice.activity import FRAME, SpeechSegmenter
from mien.voice.features import log_mel

ROOT = Path(__file__).parents[2]
FIXTURE_FOLDER = ROOT / "web/tests/fixtures"
LABELS = ("neutral", "happiness", "surprise")
LANDMARKS = np.array([[30, 38], [52, 35], [42, 50], [34, 60], [53, 58]], dtype=np.float32)


def pack(array: np.ndarray) -> dict[str, Any]:
    """Return an array as its shape and its bytes, little-endian."""
    kind = {"uint8": "uint8", "float32": "float32"}[array.dtype.name]
    return {"shape": list(array.shape), "kind": kind, "base64": base64.b64encode(array.tobytes()).decode()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """Return the array of `pack`."""
    return np.frombuffer(base64.b64decode(packed["base64"]), packed["kind"]).reshape(packed["shape"])


def scene() -> np.ndarray:
    """Return an image of 96 x 80 pixels with smooth patches and noise, computed in integers to be reproducible."""
    rng = np.random.default_rng(2)
    soft = rng.integers(0, 256, (12, 10, 3)).repeat(8, axis=0).repeat(8, axis=1)
    for axis in (0, 1):
        soft = sum(np.roll(soft, shift, axis=axis) for shift in range(-4, 5)) // 9
    return (soft + rng.integers(-8, 9, soft.shape)).clip(0, 255).astype(np.uint8)


def imaging() -> dict[str, Any]:
    image = scene()
    sizes = [(48, 40), (96, 31), (17, 11), (9, 40), (110, 20), (1, 1)]  # (height, width)
    turned = similarity_transform(LANDMARKS.astype(np.float64), LANDMARKS[::-1] * 0.4 + 3)
    matrices = [
        (np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float64), (20, 80)),
        (np.array([[0.91, 0.31, -8.27], [-0.31, 0.91, 12.53]]), (24, 40)),
        (np.array([[0.24, 0.07, -1.3], [-0.07, 0.24, 4.1]]), (24, 24)),
        (np.array([[2.51, -1.47, 20.3], [1.47, 2.51, -150.7]]), (32, 32)),
        (turned, (30, 30)),
    ]
    return {
        "image": pack(image),
        "resized": [pack(resize(image, size_hw)) for size_hw in sizes],
        # The first pixel of some filters has the weight 0.
        "narrow": pack(image[:8, :77]),
        "narrow_resized": pack(resize(np.ascontiguousarray(image[:8, :77]), (8, 55))),
        "warped": [
            {"matrix": matrix.ravel().tolist(), "pixels": pack(warp(image, matrix, size_hw))}
            for matrix, size_hw in matrices
        ],
        "aligned": [
            {"size": size, "margin": margin, "pixels": pack(align_face(image, LANDMARKS, size=size, margin=margin))}
            for size, margin in ((64, 0.0), (16, 0.1))
        ],
        "landmarks_xy": LANDMARKS.tolist(),
    }


def detection() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    height, width = 64, 96
    count = sum((height // stride) * (width // stride) for stride in STRIDES.tolist())
    confidences = np.sqrt(rng.random(count) * 0.8).astype(np.float32)
    scales = np.repeat([1.0, 1.5, 3.0], [2, 4, 10])
    cells = ((rng.random((count, 16)) - np.repeat([0.5, 1 / 3, 0.5], [2, 4, 10])) * scales).astype(np.float32)
    rows = _decode(confidences, cells, (height, width), 0.6)
    detections = rows[non_maximum_suppression(rows[:, :4], rows[:, 14], 0.3, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO)]
    assert 5 < len(detections) < len(rows)
    return {
        "image": pack(scene()[:20, :30]),
        "border": 7,
        "input": pack(_pad(scene()[:20, :30], 7)),
        "shape": [1, height, width, 3],
        "confidences": pack(confidences),
        "cells": pack(cells),
        "candidates": rows.astype(np.float64).tolist(),
        "detections": detections.astype(np.float64).tolist(),
    }


class _StubNetwork:
    """Detector network with given cells, by height and width of its input; none in inputs of other sizes.

    Args:
        cells: of each size, rows of index, confidence and the 16 values of the cell.
    """

    def __init__(self, cells: dict[tuple[int, int], list[list[float]]]) -> None:
        self.cells = cells
        self.sizes_hw: list[list[int]] = []

    def run(self, _: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        height, width = inputs["images"].shape[1:3]
        self.sizes_hw.append([height, width])
        count = sum((height // stride) * (width // stride) for stride in STRIDES.tolist())
        confidences, cells = np.zeros((1, count), dtype=np.float32), np.zeros((1, count, 16), dtype=np.float32)
        for index, confidence, *values in self.cells.get((height, width), []):
            confidences[0, int(index)] = confidence
            cells[0, int(index)] = values
        return [confidences, cells]


def _cell(width: int, left: float, top: float, side: float, confidence: float) -> list[float]:
    """Return a row of `_StubNetwork` with a square face, in pixels of an input of that width."""
    x, y = (left + side / 2) / 8, (top + side / 2) / 8
    points = (
        np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.2], [0.15, 0.2]]) * side / 8 + [x % 1, y % 1]
    ).ravel()
    log_side = float(np.log(side / 8))
    return [int(y) * (width // 8) + int(x), confidence, 0, 0, x % 1, y % 1, log_side, log_side, *points.tolist()]


def few_faces() -> list[dict[str, Any]]:
    """Return detections of a limited number of faces, with the sizes of all inputs of the network.

    A face is large from 0.17 of the long side and certain from 0.8: it is in a reduced image, or the image is small.
    """
    full = [_cell(640, 100, 90, 130.3, 0.9), _cell(640, 400, 200, 118.6, 0.95), _cell(640, 520, 30, 40, 0.7)]
    reduced = {(224, 320): [_cell(320, 50, 44, 66.1, 0.92), _cell(320, 201, 99, 58.2, 0.93)], (448, 640): full}
    large = (1001, 1502)
    cases: list[tuple[tuple[int, int], int | None, dict[tuple[int, int], list[list[float]]]]] = [
        (large, 1, reduced),
        (large, 2, reduced),
        (large, None, reduced),
        (large, 1, {**reduced, (224, 320): [_cell(320, 50, 44, 54.3, 0.92)]}),
        (large, 1, {**reduced, (224, 320): [_cell(320, 50, 44, 54.5, 0.92)]}),
        (large, 1, {**reduced, (224, 320): [_cell(320, 50, 44, 66.1, 0.79)]}),
        ((480, 640), 1, {(256, 320): [_cell(320, 50, 44, 66.1, 0.92)]}),
        ((480, 639), 1, {(480, 640): full}),
        ((320, 640), 1, {(640, 320): [_cell(320, 90, 44, 66.1, 0.9), _cell(320, 90, 300, 80, 0.85)]}),
    ]
    detector = FaceDetector(precision="float32")
    results = []
    for size_hw, max_faces, cells in cases:
        network = _StubNetwork(cells)
        detector.network = network  # pyright: ignore[reportAttributeAccessIssue]
        found = detector.detect(np.zeros((*size_hw, 3), dtype=np.uint8), rotated=True, max_faces=max_faces)
        results.append(
            {
                "size_hw": list(size_hw),
                "max_faces": max_faces,
                "cells": [{"size_hw": list(size), "rows": rows} for size, rows in cells.items()],
                "inputs_hw": network.sizes_hw,
                "faces": [_row(face) for face in found],
            }
        )
    return results


def mesh(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return a mesh (478, 3) of the canonical face, rotated by angles in radians, with noise."""
    face = canonical_face()
    points = np.random.default_rng(1).normal(scale=0.1, size=(478, 3))
    points[face.landmarks] += face.points_xyz
    for angle, (first, second) in ((pitch, (1, 2)), (yaw, (2, 0)), (roll, (0, 1))):
        cos, sin = np.cos(angle), np.sin(angle)
        points[:, [first, second]] = points[:, [first, second]] @ np.array([[cos, sin], [-sin, cos]])
    return (points * [12, -12, -12] + [200, 150, 0]).astype(np.float32)


def faces() -> dict[str, Any]:
    image = scene()
    rotations = [(0.0, 0.0, 0.0), (0.5, -0.3, 0.2), (-1.2, 0.4, -0.9), (0.1, 0.2, 3.0)]
    boxes = [[18, 12, 66, 78], [-20, -20, 110, 100.5], [5.5, 6.25, 5.5, 30]]
    pose = HeadPose(yaw_deg=20.0, pitch_deg=-15.0, roll_deg=0.0)
    detections = [
        Face(bbox_xyxy=np.array(box, dtype=np.float32), landmarks_xy=LANDMARKS, confidence=0.9) for box in boxes
    ]
    posed = Face(bbox_xyxy=detections[0].bbox_xyxy, landmarks_xy=LANDMARKS, confidence=0.9, head_pose=pose)
    return {
        "image": pack(image),
        "landmarks_xy": LANDMARKS.tolist(),
        "boxes": boxes,
        "appearances": [pack(appearance_descriptor(image, face)) for face in detections],
        "qualities": [_quality(face_quality(image, face)) for face in detections],
        "pose": {"yaw": 20, "pitch": -15, "roll": 0},
        "frontality": face_quality(image, posed).frontality,
        "mesh_crops": [mesh_crop_matrix(face.bbox_xyxy, LANDMARKS[:2], 256).ravel().tolist() for face in detections],
        "meshes": [pack(mesh(*rotation)) for rotation in rotations],
        "poses": [vars(head_pose(mesh(*rotation))) for rotation in rotations],
    }


def _quality(quality: Quality) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in vars(quality).items()}


def expression() -> dict[str, Any]:
    logits = np.array([[0.2, 1.4, -0.3], [0.4, 0.5, 0.3], [-3, 8, 0.1]], dtype=np.float32)
    spec = QualityTemperature(size_px=39.22, per_halving=0.057, sharpness=0.754, per_blur=0.469)
    qualities = [
        Quality(size_px=size, sharpness=sharpness, frontality=0.9, visible=1.0)
        for size, sharpness in ((80.0, 0.9), (30.0, 0.5), (2.0, 0.0))
    ]
    classifier = ExpressionClassifier(precision="float32")
    manifest = replace(classifier.manifest, labels=LABELS, temperature=0.7, abstain_below=0.5, quality_temperature=spec)
    classifier._manifest = manifest
    expressions = classifier._expressions(logits, qualities, manifest.abstain_below)
    return {
        "manifest": {
            "labels": list(LABELS),
            "temperature": manifest.temperature,
            "abstain_below": manifest.abstain_below,
            "quality_temperature": vars(spec),
        },
        "logits": logits.tolist(),
        "qualities": [_quality(quality) for quality in qualities],
        "weights": [prediction_weight(quality) for quality in qualities],
        "expressions": [_expression(each) for each in expressions],
    }


def _expression(expression: Expression) -> dict[str, Any]:
    return {
        "label": expression.label,
        "confidence": float(expression.confidence),
        "probabilities": dict(zip(expression.labels, map(float, expression.probabilities), strict=True)),
        "valence": expression.valence,
        "arousal": expression.arousal,
    }


def tracking() -> dict[str, Any]:
    """Return tracks of two crossing faces, a face of low confidence, a face that is lost for a while, and a cut.

    From the cut on an image follows every second; a face is replaced by another person, and one turns its head.
    """
    rng = np.random.default_rng(3)
    appearances = rng.normal(size=(3, 8))
    tracker = FaceTracker()
    steps = []
    now = 0.0
    for index in range(32):
        now += 1.0 if index > 22 else 0.1
        if index == 21:
            tracker.cut()
        if index % 3 == 2:
            steps.append({"timestamp_s": now, "advanced": [_row(face) for face in tracker.advance(now)]})
            continue
        visible = [
            (_face_at(40 + 14 * index, 80, 0.95), appearances[0]),
            (_face_at(360 - 13 * index, 90, 0.9), appearances[1]),
            (_face_at(200, 220 + 2 * index, 0.7), appearances[2]),
        ]
        lost = {0: {2}, 1: {2}, 9: {0}, 10: {0, 1}, 12: {0}, 13: {0}, 25: {1}, 27: {1}}.get(index, set())
        if index == 28:
            appearances[0] = rng.normal(size=8)
            visible[0] = visible[0][0], appearances[0]
        if index == 30:
            visible[1][0].landmarks_xy[2, 0] += 20
            visible[1] = visible[1][0], appearances[1] + appearances[2]
        visible = [
            (face, appearance + rng.normal(scale=0.1, size=8))
            for position, (face, appearance) in enumerate(visible)
            if position not in lost
        ]
        order = rng.permutation(len(visible))
        faces = [visible[position][0] for position in order]
        vectors = np.array([visible[position][1] for position in order])
        units = vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))
        tracked = tracker.update(now, faces, units, (320, 440))
        steps.append(
            {
                "timestamp_s": now,
                "cut": index == 21,
                "faces": [_row(face) for face in faces],
                "appearances": units.tolist(),
                "tracked": [_row(face) for face in tracked],
            }
        )
    return {"width": 440, "height": 320, "steps": steps}


def _face_at(x: float, y: float, confidence: float) -> Face:
    corners = np.array([x, y, x + 60, y + 70], dtype=np.float32)
    return Face(bbox_xyxy=corners, landmarks_xy=LANDMARKS + corners[:2], confidence=confidence)


def _row(face: Face) -> dict[str, Any]:
    row = {
        "box": face.bbox_xyxy.astype(np.float64).tolist(),
        "landmarks": face.landmarks_xy.astype(np.float64).tolist(),
        "confidence": face.confidence,
    }
    return row if face.track_id is None else {**row, "number": face.track_id}


def video() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    smoother = Smoother(LABELS, 0.5)
    predictions = []
    for index in range(14):
        probabilities = rng.dirichlet([0.4, 0.4, 0.4]).astype(np.float32)
        number, now, weight = 1 + index % 2, 0.1 * index, float(rng.uniform(0.2, 1))
        expression = Expression(labels=LABELS, probabilities=probabilities, label=None, confidence=0.0)
        smoothed = smoother.add(number, now, expression, weight)
        predictions.append(
            {
                "number": number,
                "timestamp_s": now,
                "weight": weight,
                "expression": _expression(expression),
                "smoothed": _expression(smoothed),
            }
        )
    cuts = CutDetector()
    images = [rng.integers(0, 256, (12, 16, 3)).repeat(3, axis=0).repeat(3, axis=1).astype(np.uint8) for _ in range(4)]
    noise = rng.integers(0, 4, images[0].shape).astype(np.uint8)
    frames = [images[0], images[0] // 2, np.zeros_like(noise), noise, images[1], np.roll(images[1], 6, axis=1)]
    frames += [images[2], images[2] // 40, images[3] // 40 + noise, images[3]]
    tilted = Face(bbox_xyxy=np.zeros(4), landmarks_xy=LANDMARKS @ [[0.9, 0.4], [-0.4, 0.9]] + [0, 1], confidence=1.0)
    tilted.landmarks_xy[2] += 3
    level = Face(bbox_xyxy=np.zeros(4), landmarks_xy=LANDMARKS, confidence=1.0)
    shift, rotation_deg = compare_shapes(landmark_shape(level), landmark_shape(tilted))
    return {
        "labels": list(LABELS),
        "abstain_below": 0.5,
        "predictions": predictions,
        "frames": [pack(frame) for frame in frames],
        "cuts": [cuts.is_cut(frame) for frame in frames],
        "before": level.landmarks_xy.astype(np.float64).tolist(),
        "after": tilted.landmarks_xy.tolist(),
        "shape": list(landmark_shape(tilted)),
        "shift": shift,
        "rotation_deg": rotation_deg,
    }


def voice() -> dict[str, Any]:
    """Return log-mel spectrograms, and the segments of frames with given speech probabilities.

    Every sample of a frame is its number, so that a segment shows which frames it has.
    """
    rng = np.random.default_rng(7)
    sounds = [(rng.integers(-(2**15), 2**15, count) / 2.0**15).astype(np.float32) for count in (3300, 480, 170)]
    sounds[0][1600:] *= 0.01
    loud, quiet, pause = [0.9] * 30, [0.4, 0.36, 0.45, 0.7], [0.1] * 12
    speech = (0.6 + 0.4 * rng.random(450)).round(3).tolist()
    probabilities = [
        *pause,
        *loud,
        *quiet,
        *pause,
        *[0.8] * 5,
        *pause,
        *loud,
        *pause[:8],
        *loud,
        *pause,
        *speech,
        *pause,
    ]
    frames = np.repeat(np.arange(len(probabilities), dtype=np.float32)[:, None], FRAME, axis=1)
    segments = list(SpeechSegmenter().push(frames, np.array(probabilities)))
    assert len(segments) > 4
    return {
        "sounds": [{"samples": pack(sound), "log_mel": pack(log_mel(sound))} for sound in sounds],
        "probabilities": probabilities,
        "segments": [{"start": segment.start, "frames": segment.samples[::FRAME].tolist()} for segment in segments],
    }


def fusion() -> dict[str, Any]:
    """Return pools, conflicts, classes and weights of face and voice; null is a class that a model lacks."""
    labels = ("neutral", "happiness", "anger", "contempt")
    face, other = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.02, 0.0, 0.9, 0.08])
    voice, extreme = np.array([0.1, 0.2, 0.7, np.nan]), np.array([0.0, 1.0, 0.0, np.nan])
    cases = [([face, voice], [0.8, 0.4]), ([face, other, voice], [0.5, 0.9, 0.1]), ([face, voice], [0.0, 0.3])]
    cases += [([voice, extreme], [0.2, 0.5]), ([face, face], [0.3, 0.7]), ([other, extreme], [0.9, 0.9])]
    voices = [{"neutral": 0.2, "anger": 0.5, "boredom": 0.3}, {"calm": 0.4, "neutral": 0.1, "happiness": 0.5}]
    mapped = [(each, *to_face_classes(list(each), np.array(list(each.values())), labels)) for each in voices]
    faces = [{"frames": 40, "frontality": 0.7, "visible": 0.9}, {"frames": 1, "frontality": 0.1, "visible": 1.0}]
    speech = [{"speech_s": 2.5, "share": 0.8, "clipped": 0.02}, {"speech_s": 0.4, "share": 1.0, "clipped": 0.0}]
    return {
        "labels": list(labels),
        "pools": [
            {
                "distributions": [_with_null(row) for row in rows],
                "weights": weights,
                "pooled": log_linear_pool(np.array(rows), np.array(weights)).tolist(),
            }
            for rows, weights in cases
        ],
        "conflicts": [
            {"face": _with_null(first), "voice": _with_null(second), "bits": conflict(first, second)}
            for first, second in ((face, voice), (face, face), (other, extreme), (voice, other))
        ],
        "classes": [
            {"voice": each, "distribution": _with_null(distribution), "share": share}
            for each, distribution, share in mapped
        ],
        "face_weights": [{"face": each, "weight": face_weight(**each)} for each in faces],
        "voice_weights": [{"voice": each, "weight": voice_weight(**each)} for each in speech],
    }


def _with_null(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


FIXTURES: dict[str, Callable[[], Any]] = {
    create.__name__: create
    for create in (imaging, detection, few_faces, faces, expression, tracking, video, voice, fusion)
}


def main() -> None:
    FIXTURE_FOLDER.mkdir(parents=True, exist_ok=True)
    for name, create in FIXTURES.items():
        (FIXTURE_FOLDER / f"{name}.json").write_text(json.dumps(create()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
