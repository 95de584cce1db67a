"""Faces of images as boxes with a label, for Label Studio and FiftyOne."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

UNSURE = "unsure"
"""Label of a face for which the model abstains."""


def to_label_studio(rows: Iterable[Mapping[str, Any]], prefix: str = "") -> str:
    """Return Label Studio tasks with predictions (pre-annotations) as JSON.

    Args:
        rows: rows of an image table; see `mien.schema.table_columns`.
        prefix: text before the path of each image, such as "/data/local-files/?d="; the path is then percent-encoded.

    Source:
        Label Studio, "Import pre-annotated data": `rectanglelabels` in percent of the image.
    """

    def address(path: str) -> str:
        return f"{prefix}{quote(path, errors='replace')}" if prefix else path

    tasks = []
    for image, faces in _images(rows, address).items():
        results = [_region(number, face) for number, face in enumerate(faces, start=1)]
        scores = [float(face["confidence"]) for face in faces]
        prediction: dict[str, Any] = {"model_version": "mien", "result": results}
        if scores:
            prediction["score"] = round(sum(scores) / len(scores), 4)
        tasks.append({"data": {"image": image}, "predictions": [prediction]})
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def _region(number: int, face: Mapping[str, Any]) -> dict[str, Any]:
    x, y, width, height = _relative_box(face)
    return {
        "id": f"face{number}",
        "type": "rectanglelabels",
        "from_name": "expression",
        "to_name": "image",
        "original_width": int(face["width"]),
        "original_height": int(face["height"]),
        "image_rotation": 0,
        "score": face["confidence"],
        "value": {
            "x": round(100 * x, 4),
            "y": round(100 * y, 4),
            "width": round(100 * width, 4),
            "height": round(100 * height, 4),
            "rotation": 0,
            "rectanglelabels": [face.get("label") or UNSURE],
        },
    }


def to_fiftyone(rows: Iterable[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """Return FiftyOne's labels of an image detection dataset as JSON, by the absolute path of each image.

    Every detection has the class probabilities and, where known, the head pose as attributes.

    Args:
        rows: rows of an image table; see `mien.schema.table_columns`.
        labels: class names in the model's order.

    Source:
        FiftyOne, `FiftyOneImageDetectionDataset`: boxes are left, top, width and height relative to the image.
    """
    names = (*(f"p_{label}" for label in labels), "yaw_deg", "pitch_deg", "roll_deg")
    detections = {
        image: [
            {
                "label": face.get("label") or UNSURE,
                "bounding_box": [round(value, 6) for value in _relative_box(face)],
                "confidence": face["confidence"],
                "attributes": {name: face[name] for name in names if face.get(name) is not None},
            }
            for face in faces
        ]
        for image, faces in _images(rows, lambda path: str(Path(path).absolute())).items()
    }
    return json.dumps({"classes": [*labels, UNSURE], "labels": detections}, indent=1, ensure_ascii=False) + "\n"


def _images(rows: Iterable[Mapping[str, Any]], address: Callable[[str], str]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the faces of each readable image by its address; a table may be sorted in any way.

    A face whose number and box are already there is left out: the image was analyzed twice.
    """
    images: dict[str, dict[tuple[Any, ...], Mapping[str, Any]]] = {}
    for row in rows:
        if not row.get("error"):
            faces = images.setdefault(address(_with_slashes(row["image"])), {})
            if row.get("x1") is not None:
                faces.setdefault(tuple(row.get(name) for name in ("face", "x1", "y1", "x2", "y2")), row)
    return {image: list(faces.values()) for image, faces in images.items()}


def _with_slashes(path: str) -> str:
    """Return a path with slashes; tables from Windows separate folders by backslashes.

    A backslash is a part of the name where Windows did not write the table and a file has this name.
    """
    is_name = "\\" in path and os.sep == "/" and os.path.exists(path)  # noqa: PTH110 - any text
    return path if is_name else path.replace("\\", "/")


def _relative_box(face: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return left, top, width and height as shares of the image, cut off at its edges."""
    left, right = (min(max(face[name] / face["width"], 0.0), 1.0) for name in ("x1", "x2"))
    top, bottom = (min(max(face[name] / face["height"], 0.0), 1.0) for name in ("y1", "y2"))
    return left, top, right - left, bottom - top
