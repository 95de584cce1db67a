"""Golden tests of a phone bundle, run as an app runs it: from the files of the bundle and nothing else."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import ParityError
from mien.runtime import open_session

Values = dict[str, np.ndarray]


class BundleRunner:
    """The graphs of a bundle, run on one image."""

    def __init__(self, folder: Path, contract: dict[str, Any]) -> None:
        self.contract = contract
        self.sessions = {
            name: open_session((folder / graph["file"]).read_bytes(), device="cpu")
            for name, graph in contract["graphs"].items()
        }

    def run(self, name: str, inputs: Values) -> Values:
        """Return the outputs of a graph by name."""
        names = [output["name"] for output in self.contract["graphs"][name]["outputs"]]
        return dict(zip(names, map(np.asarray, self.sessions[name].run(names, inputs)), strict=True))

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
        if "mesh" in self.sessions:
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


def check_bundle(folder: Path) -> None:
    """Run the golden tests of a bundle.

    Raises:
        ParityError: if a graph differs from the expected values.
    """
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    golden = json.loads((folder / "golden" / "golden.json").read_text(encoding="utf-8"))
    runner = BundleRunner(folder, contract)
    for case in golden["cases"]:
        pixels = np.fromfile(folder / "golden" / case["image"], dtype=np.uint8)
        faces = runner.analyze(pixels.reshape(case["height"], case["width"], 3))
        if len(faces) != len(case["faces"]):
            raise ParityError(f"{case['image']}: the graphs find {len(faces)} faces, Python {len(case['faces'])}.")
        for number, (face, expected) in enumerate(zip(faces, case["faces"], strict=True)):
            _compare(f"{case['image']}, face {number}", face, expected, golden["tolerances"])


def _compare(place: str, face: Values, expected: dict[str, Any], tolerances: dict[str, float]) -> None:
    for name, tolerance in tolerances.items():
        difference = float(np.abs(face[name] - np.array(expected[name])).max())
        if not difference <= tolerance:
            raise ParityError(f"{place}: {name} differ from Python's by {difference:.3g}; allowed {tolerance:g}.")


def _angle_deg(first_xy: np.ndarray, second_xy: np.ndarray) -> float:
    """Return the angle from one pair of eyes (2, 2) to another in degrees, -180..180."""
    first, second = ((pair[1] - pair[0]).tolist() for pair in (first_xy, second_xy))
    angle = math.atan2(second[1], second[0]) - math.atan2(first[1], first[0])
    return math.degrees(math.remainder(angle, math.tau))
