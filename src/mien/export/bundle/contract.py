"""The contract of a phone bundle: everything that an app needs to know, as JSON."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from mien._version import __version__
from mien.export.formats import Format
from mien.export.pipeline import detector
from mien.export.pipeline.graph import PipelineGraph
from mien.faces import SINGLE_IMAGE, detection, landmarks, mesh_network
from mien.faces.alignment import TEMPLATES
from mien.faces.quality import GRAY_WEIGHTS, HALF_SHARPNESS_ENERGY, MIN_VARIANCE, SHARPNESS_CROP
from mien.manifest import MAX_HALVINGS, Manifest, file_sha256
from mien.runtime import DETECTOR_SIZE, MIN_CONFIDENCE
from mien.video.follower import MEMORY_S
from mien.video.schedule import DETECTION_INTERVAL_S
from mien.video.smoothing import HYSTERESIS, TIME_CONSTANT_S

SCHEMA = 1
"""Version of the format of `contract.json`."""
_TEXTS = json.loads(Path(__file__).with_name("texts.json").read_text(encoding="utf-8"))
_FORMULAS = _TEXTS["formulas"]
GOLDEN_RULE: str = _TEXTS["golden"]
"""How an app compares its results with the golden ones."""
LANDMARK_NAMES = ("subject's right eye", "subject's left eye", "nose tip", "right mouth corner", "left mouth corner")


def describe_graph(pipeline: PipelineGraph, file: Path) -> dict[str, Any]:
    """Return the entry of a graph: its file, inputs and outputs in order."""
    inputs = pipeline.inputs
    outputs = dict(zip(pipeline.outputs, pipeline.example_outputs(), strict=True))
    return {
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": file_sha256(file),
        "inputs": [_describe_tensor(name, value) for name, value in inputs.items()],
        "outputs": [_describe_tensor(name, value) for name, value in outputs.items()],
    }


def _describe_tensor(name: str, value: Tensor) -> dict[str, Any]:
    """Return the entry of an input or output."""
    dtype = str(value.dtype).removeprefix("torch.")
    return {"name": name, "shape": list(value.shape), "type": dtype, **_TEXTS["tensors"][name]}


def build_contract(manifest: Manifest, format: Format, canvas: int, graphs: dict[str, Any]) -> dict[str, Any]:
    """Return the contract.

    Args:
        manifest: manifest of the expression model.
        format: format of the graphs.
        canvas: side of the canvas in pixels.
        graphs: entries of `describe_graph` by name.
    """
    data = ", ".join(manifest.metrics) or "no data set"
    limits = [text.format(data=data) for text in _TEXTS["limits"]]
    return {
        "schema": SCHEMA,
        "mien": __version__,
        "format": format,
        "call": _TEXTS["calls"][format],
        "model": {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256},
        "predicts": "perceived expression: what most people would see in a face, not what a person feels",
        "canvas": {"side": canvas, "channels": "RGB", "layout": "HWC", "type": "uint8", "range": [0, 255]},
        "labels": list(manifest.labels),
        "steps": [step["text"] for step in _TEXTS["steps"] if step["graph"] in (None, *graphs)],
        "graphs": graphs,
        "inside_the_graphs": {
            "detection": _detection(),
            "alignment": _alignment(manifest),
            "calibration": _calibration(manifest),
            "quality": _quality(),
        },
        **({"mesh": _mesh()} if "mesh" in graphs else {}),
        "thresholds": {
            "abstain_below": manifest.abstain_below,
            "risk_coverage": [vars(point) for point in manifest.risk_coverage],
            "meaning": _FORMULAS["risk_coverage"].format(data=data),
        },
        "video": _video(),
        "limits": [*limits, *([] if format == "onnx" else _TEXTS["static_limits"])],
        "texts": _TEXTS["notices"],
        "license": manifest.license,
        "trained_on": [vars(source) for source in manifest.trained_on],
    }


def _detection() -> dict[str, Any]:
    return {
        "scan_side": DETECTOR_SIZE,
        "min_confidence": MIN_CONFIDENCE,
        "max_iou": detector.MAX_IOU,
        "max_containment": detection.MAX_CONTAINMENT,
        "max_fragment_ratio": detection.MAX_FRAGMENT_RATIO,
        "coarse_scan_side": detection.COARSE_SIZE,
        "coarse_scan_border": detection.COARSE_BORDER,
        "max_faces": detector.MAX_FACES,
    }


def _alignment(manifest: Manifest) -> dict[str, Any]:
    assert manifest.alignment is not None
    return {
        "size": manifest.input.size,
        "template": TEMPLATES[manifest.alignment.template].tolist(),
        "template_points": list(LANDMARK_NAMES),
        "margin": manifest.alignment.margin,
        "transform": _FORMULAS["alignment"],
    }


def _calibration(manifest: Manifest) -> dict[str, Any]:
    spec = manifest.quality_temperature
    if spec is None:
        return {"temperature": manifest.temperature, "formula": _FORMULAS["calibration"]}
    return {
        "temperature": manifest.temperature,
        "quality_temperature": {**vars(spec), "max_halvings": MAX_HALVINGS},
        "formula": _FORMULAS["quality_calibration"],
    }


def _quality() -> dict[str, Any]:
    return {
        "crop": vars(SHARPNESS_CROP),
        "gray_weights": GRAY_WEIGHTS.tolist(),
        "half_sharpness_energy": HALF_SHARPNESS_ENERGY,
        "min_variance": MIN_VARIANCE,
        "formula": _FORMULAS["quality"],
    }


def _mesh() -> dict[str, Any]:
    return {
        "points": mesh_network.POINTS,
        "outer_eyes": mesh_network.OUTER_EYES,
        "detector_landmarks": landmarks.DETECTOR_LANDMARKS,
        "min_presence": 0.5,
        "max_tilt_deg": SINGLE_IMAGE.max_tilt_deg,
        "max_passes": landmarks.MAX_PASSES,
        "max_landmark_rotation_deg": SINGLE_IMAGE.max_landmark_rotation_deg,
    }


def _video() -> dict[str, Any]:
    return {
        "detection_interval_s": DETECTION_INTERVAL_S,
        "memory_s": MEMORY_S,
        "time_constant_s": TIME_CONSTANT_S,
        "hysteresis": HYSTERESIS,
        "formula": _FORMULAS["video"],
    }
