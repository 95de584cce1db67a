"""Golden tests of a phone bundle, run as an app runs it: from the files of the bundle and nothing else."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import ModelError, ParityError
from mien.export.formats import Runner, open_runner

Values = dict[str, np.ndarray]


def open_graph(folder: Path, contract: dict[str, Any], name: str) -> Runner:
    """Open a graph of a bundle in the runtime of its format, with one thread.

    Raises:
        MissingExtraError: if the packages of the format are not installed.
    """
    graph = contract["graphs"][name]
    return open_runner(
        folder / graph["file"],
        format=contract["format"],
        input_names=_names(graph["inputs"]),
        output_names=_names(graph["outputs"]),
    )


class BundleRunner:
    """The graphs of a bundle, run on one image."""

    def __init__(self, folder: Path, contract: dict[str, Any]) -> None:
        self.contract = contract
        self.runners = {name: open_graph(folder, contract, name) for name in contract["graphs"]}

    def run(self, name: str, inputs: Values) -> Values:
        """Return the outputs of a graph by name.

        Raises:
            ModelError: if the runtime fails.
        """
        graph = self.contract["graphs"][name]
        try:
            outputs = self.runners[name]([inputs[key] for key in _names(graph["inputs"])])
        except Exception as error:  # the runtimes' own classes share no public base
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{graph['file']}: {problem}") from None
        return dict(zip(_names(graph["outputs"]), outputs, strict=True))

    def analyze(self, pixels: np.ndarray) -> list[Values]:
        """Return the outputs for every face of an image (H, W, 3) uint8 RGB."""
        side = self.contract["canvas"]["side"]
        canvas = np.zeros((side, side, 3), dtype=np.uint8)
        height, width = pixels.shape[:2]
        canvas[:height, :width] = pixels
        image = {"image": canvas, "size": np.array([height, width], dtype=np.int32)}
        detections = self.run("detector", image)
        return [
            self._describe(image, {name: detections[name][index] for name in ("boxes", "landmarks", "scores")})
            for index in range(int(detections["count"][0]))
        ]

    def _describe(self, image: Values, face: Values) -> Values:
        box, landmarks = face["boxes"], face["landmarks"]
        fitted: Values = {}
        if "mesh" in self.runners:
            fitted, landmarks = self._fit_mesh(image, box, landmarks)
        expression = self.run("expression", {**image, "box": box, "landmarks": landmarks})
        return {**face, **fitted, **expression}

    def _fit_mesh(self, image: Values, box: np.ndarray, landmarks: np.ndarray) -> tuple[Values, np.ndarray]:
        """Return the mesh, none where it does not fit, and the landmarks for the expression."""
        rules = self.contract["mesh"]
        eyes, best = landmarks[:2], {}
        for _ in range(rules["max_passes"]):
            fit = self.run("mesh", {**image, "box": box, "eyes": eyes})
            if fit["presence"][0] < rules["min_presence"]:
                break
            best, eyes = fit, fit["mesh"][rules["outer_eyes"], :2]
            if abs(fit["rotation"][0]) <= rules["max_tilt_deg"]:
                break
        if best and abs(_angle_deg(landmarks[:2], eyes)) > rules["max_landmark_rotation_deg"]:
            landmarks = best["mesh"][rules["detector_landmarks"], :2]
        return best, landmarks


def _names(tensors: list[dict[str, Any]]) -> list[str]:
    return [tensor["name"] for tensor in tensors]


def check_bundle(folder: Path) -> None:
    """Run the golden tests of a bundle.

    Raises:
        ParityError: if a graph differs from the expected values.
        ModelError: if a graph cannot be run.
        MissingExtraError: if the packages of the format are not installed.
    """
    for place, name, difference, tolerance in _differences(folder):
        if not difference <= tolerance:
            raise ParityError(f"{place}: {name} differ from Python's by {difference:.3g}; allowed {tolerance:g}.")


def largest_differences(folder: Path) -> dict[str, float]:
    """Return the largest difference of each compared output from its golden values.

    Raises:
        ParityError: if the number of faces differs.
        ModelError: if a graph cannot be run.
        MissingExtraError: if the packages of the format are not installed.
    """
    largest: dict[str, float] = {}
    for _, name, difference, _ in _differences(folder):
        largest[name] = max(largest.get(name, 0.0), difference)
    return largest


def _differences(folder: Path) -> Iterator[tuple[str, str, float, float]]:
    """Yield image and face, output, largest difference and tolerance of all comparisons."""
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    golden = json.loads((folder / "golden" / "golden.json").read_text(encoding="utf-8"))
    runner = BundleRunner(folder, contract)
    for case in golden["cases"]:
        pixels = np.fromfile(folder / "golden" / case["image"], dtype=np.uint8)
        faces = runner.analyze(pixels.reshape(case["height"], case["width"], 3))
        if len(faces) != len(case["faces"]):
            raise ParityError(f"{case['image']}: the graphs find {len(faces)} faces, Python {len(case['faces'])}.")
        for number, (face, expected) in enumerate(zip(faces, case["faces"], strict=True)):
            for name, tolerance in golden["tolerances"].items():
                difference = float(np.abs(face[name] - np.array(expected[name])).max())
                yield f"{case['image']}, face {number}", name, difference, tolerance


def _angle_deg(first_xy: np.ndarray, second_xy: np.ndarray) -> float:
    """Return the angle from one pair of eyes (2, 2) to another in degrees, -180..180."""
    first, second = ((pair[1] - pair[0]).tolist() for pair in (first_xy, second_xy))
    angle = math.atan2(second[1], second[0]) - math.atan2(first[1], first[0])
    return math.degrees(math.remainder(angle, math.tau))
