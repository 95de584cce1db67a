"""What Python gives for small fixed inputs: the page's TypeScript must give the same (`web/tests/`).

python tests/support/browser_fixtures.py     writes web/tests/fixtures/*.json anew
`test_browser.py` fails when Python no longer gives what is written
there, `npm --prefix web test` when TypeScript does not.
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
from mien.faces.detection import MAX_CONTAINMENT, MAX_FRAGMENT_RATIO, STRIDES, _decode, _to_input
from mien.faces.landmarks import mesh_crop_matrix
from mien.faces.pose import canonical_face, head_pose
from mien.faces.quality import face_quality
from mien.faces.tracking import FaceTracker, appearance_descriptor
from mien.geometry import non_maximum_suppression, similarity_transform
from mien.imaging import resize, warp
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import QualityTemperature
from mien.results import Expression, Face, HeadPose, Quality
from mien.video.follower import _change, _shape
from mien.video.scene_cuts import CutDetector
from mien.video.smoothing import Smoother, reading_weight

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "web/tests/fixtures"
LABELS = ("neutral", "happiness", "surprise")
LANDMARKS = np.array([[30, 38], [52, 35], [42, 50], [34, 60], [53, 58]], dtype=np.float32)


def packed(array: np.ndarray) -> dict[str, Any]:
    """An array as its shape and its bytes, little-endian."""
    kind = {"uint8": "uint8", "float32": "float32"}[array.dtype.name]
    return {"shape": list(array.shape), "kind": kind, "base64": base64.b64encode(array.tobytes()).decode()}


def scene() -> np.ndarray:
    """96 x 80 pixels of soft patches and a little noise, made of whole numbers: the same on every machine."""
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
        "image": packed(image),
        "resized": [packed(resize(image, size_hw)) for size_hw in sizes],
        "warped": [
            {"matrix": matrix.ravel().tolist(), "pixels": packed(warp(image, matrix, size_hw))}
            for matrix, size_hw in matrices
        ],
        "aligned": [
            {
                "size": size,
                "margin": margin,
                "pixels": packed(align_face(image, LANDMARKS, size=size, margin=margin)),
            }
            for size, margin in ((64, 0.0), (16, 0.1))
        ],
        "landmarks_xy": LANDMARKS.tolist(),
    }


def detection() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    height, width = 64, 96
    cells = [(height // stride) * (width // stride) for stride in STRIDES]
    outputs = [
        (rng.random((count, columns)) * scale - shift).astype(np.float32)
        for count in cells
        for columns, scale, shift in ((1, 1.1, 0.05), (1, 0.7, 0.05), (4, 1.5, 0.5), (10, 3, 1.5))
    ]
    rows = _decode(outputs, width, 0.6)
    kept = rows[non_maximum_suppression(rows[:, :4], rows[:, 14], 0.3, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO)]
    assert 5 < len(kept) < len(rows)
    return {
        "image": packed(scene()[:20, :30]),
        "border": 7,
        "input": packed(_to_input(scene()[:20, :30], 7).astype(np.uint8)),
        "width": width,
        "outputs": [packed(output) for output in outputs],
        "found": rows.astype(np.float64).tolist(),
        "kept": kept.astype(np.float64).tolist(),
    }


def mesh(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A mesh (478, 3) whose fixed points are the canonical face, turned and a little bent."""
    face = canonical_face()
    points = np.random.default_rng(1).normal(scale=0.1, size=(478, 3))
    points[face.landmarks] += face.points_xyz
    for angle, (first, second) in ((pitch, (1, 2)), (yaw, (2, 0)), (roll, (0, 1))):
        cos, sin = np.cos(angle), np.sin(angle)
        points[:, [first, second]] = points[:, [first, second]] @ np.array([[cos, sin], [-sin, cos]])
    return (points * [12, -12, -12] + [200, 150, 0]).astype(np.float32)


def faces() -> dict[str, Any]:
    image = scene()
    turns = [(0.0, 0.0, 0.0), (0.5, -0.3, 0.2), (-1.2, 0.4, -0.9), (0.1, 0.2, 3.0)]
    boxes = [[18, 12, 66, 78], [-20, -20, 110, 100.5], [5.5, 6.25, 5.5, 30]]
    pose = HeadPose(yaw_deg=20.0, pitch_deg=-15.0, roll_deg=0.0)
    found = [
        Face(bbox_xyxy=np.array(box, dtype=np.float32), landmarks_xy=LANDMARKS, confidence=0.9)
        for box in boxes
    ]
    posed = Face(bbox_xyxy=found[0].bbox_xyxy, landmarks_xy=LANDMARKS, confidence=0.9, head_pose=pose)
    return {
        "image": packed(image),
        "landmarks_xy": LANDMARKS.tolist(),
        "boxes": boxes,
        "looks": [packed(appearance_descriptor(image, face)) for face in found],
        "qualities": [_quality(face_quality(image, face)) for face in found],
        "pose": {"yaw": 20, "pitch": -15, "roll": 0},
        "frontality": face_quality(image, posed).frontality,
        "mesh_crops": [
            mesh_crop_matrix(face.bbox_xyxy, LANDMARKS[:2], 256).ravel().tolist() for face in found
        ],
        "meshes": [packed(mesh(*turn)) for turn in turns],
        "poses": [vars(head_pose(mesh(*turn))) for turn in turns],
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
    classifier = ExpressionClassifier()
    manifest = replace(
        classifier.manifest, labels=LABELS, temperature=0.7, abstain_below=0.5, quality_temperature=spec
    )
    classifier._manifest = manifest
    seen = classifier._expressions(logits, qualities)
    return {
        "manifest": {
            "labels": list(LABELS),
            "temperature": manifest.temperature,
            "abstain_below": manifest.abstain_below,
            "quality_temperature": vars(spec),
        },
        "logits": logits.tolist(),
        "qualities": [_quality(quality) for quality in qualities],
        "weights": [reading_weight(quality) for quality in qualities],
        "expressions": [_expression(one) for one in seen],
    }


def _expression(one: Expression) -> dict[str, Any]:
    shares = dict(zip(one.labels, map(float, one.probabilities), strict=True))
    return {"label": one.label, "confidence": float(one.confidence), "probabilities": shares}


def tracking() -> dict[str, Any]:
    """Two people who cross, a third who comes unsure, one who is out of sight for a while, and a cut."""
    rng = np.random.default_rng(3)
    looks = rng.normal(size=(3, 8))
    tracker, steps = FaceTracker(), []
    for index in range(24):
        now = index / 10
        if index == 21:
            tracker.cut()
        if index % 3 == 2:
            steps.append({"timestamp_s": now, "advanced": [_row(face) for face in tracker.advance(now)]})
            continue
        seen = [
            (_face_at(40 + 14 * index, 80, 0.95), looks[0]),
            (_face_at(360 - 13 * index, 90, 0.9), looks[1]),
            (_face_at(200, 220 + 2 * index, 0.7), looks[2]),
        ]
        gone = {0: {2}, 1: {2}, 9: {0}, 10: {0, 1}, 12: {0}, 13: {0}}.get(index, set())
        seen = [
            (face, look + rng.normal(scale=0.1, size=8))
            for place, (face, look) in enumerate(seen)
            if place not in gone
        ]
        order = rng.permutation(len(seen))
        given, own = [seen[place][0] for place in order], np.array([seen[place][1] for place in order])
        units = own / np.sqrt((own**2).sum(axis=1, keepdims=True))
        numbered = tracker.update(now, given, units)
        steps.append(
            {
                "timestamp_s": now,
                "cut": index == 21,
                "faces": [_row(face) for face in given],
                "looks": units.tolist(),
                "numbered": [_row(face) for face in numbered],
            }
        )
    return {"steps": steps}


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


def moving() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    smoother, readings = Smoother(LABELS, 0.5), []
    for index in range(14):
        shares = rng.dirichlet([0.4, 0.4, 0.4]).astype(np.float32)
        number, now, weight = 1 + index % 2, 0.1 * index, float(rng.uniform(0.2, 1))
        one = Expression(labels=LABELS, probabilities=shares, label=None, confidence=0.0)
        smoothed = smoother.add(number, now, one, weight)
        readings.append(
            {
                "number": number,
                "timestamp_s": now,
                "weight": weight,
                "read": _expression(one),
                "smoothed": _expression(smoothed),
            }
        )
    cuts = CutDetector()
    views = [rng.integers(0, 256, (6, 8, 3)).astype(np.uint8) for _ in range(3)]
    shown = [
        views[0],
        views[0] // 2,
        np.zeros_like(views[0]),
        views[1],
        np.roll(views[1], 1, axis=1),
        views[2],
    ]
    tilted = Face(
        bbox_xyxy=np.zeros(4), landmarks_xy=LANDMARKS @ [[0.9, 0.4], [-0.4, 0.9]] + [0, 1], confidence=1.0
    )
    tilted.landmarks_xy[2] += 3
    level = Face(bbox_xyxy=np.zeros(4), landmarks_xy=LANDMARKS, confidence=1.0)
    shift, turn_deg = _change(_shape(level), _shape(tilted))
    return {
        "labels": list(LABELS),
        "abstain_below": 0.5,
        "readings": readings,
        "frames": [packed(frame) for frame in shown],
        "cuts": [cuts.is_cut(frame) for frame in shown],
        "before": level.landmarks_xy.astype(np.float64).tolist(),
        "after": tilted.landmarks_xy.tolist(),
        "shape": list(_shape(tilted)),
        "shift": shift,
        "turn_deg": turn_deg,
    }


MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    maker.__name__: maker for maker in (imaging, detection, faces, expression, tracking, moving)
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, maker in MAKERS.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(maker()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
