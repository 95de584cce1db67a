"""How faces on their side and upside down are read: the portraits of examples/, rotated by 15 degrees at a time.

python benchmarks/turned.py [--model expression]

Each reading is compared with that of the upright portrait, its roll with that roll and the turn; once as `mien predict`
reads an image, and once by the detector's landmarks alone.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from mien import Analyzer
from mien.faces import MeshOptions
from mien.imaging import read_image
from mien.results import Face

EXAMPLES = Path(__file__).parent.parent / "examples"
PORTRAITS = ("astronaut", "biden", "obama")
SIDE = 480
ROOM = 1.6
"""Half the side of the square that is cut out around a face, in longer sides of its box."""
STEP_DEG = 15
POSE_DEG = 8.0
"""A roll this near to the true one counts as right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="expression")
    analyzer = Analyzer(parser.parse_args().model)
    for name, rotated in (("as predict reads them", True), ("by the detector's landmarks", False)):
        found: Counter[str] = Counter()
        for portrait in PORTRAITS:
            square = cut_square(analyzer, read_image(EXAMPLES / f"{portrait}.jpg"))
            [upright] = read(analyzer, square, rotated)
            for turn_deg in range(-180, 180, STEP_DEG):
                image = np.array(square.rotate(-turn_deg, Image.Resampling.BICUBIC))
                found[judge(read(analyzer, image, rotated), upright, turn_deg)] += 1
        print(name)
        for fate, count in sorted(found.items()):
            print(f"  {count:3}  {fate}")


def cut_square(analyzer: Analyzer, image: np.ndarray) -> Image.Image:
    """The square around the only face of an image, so that a turn cuts nothing of it off."""
    box = analyzer.detect(image)[0].bbox_xyxy
    half = ROOM * float(max(box[2] - box[0], box[3] - box[1]))
    x, y = (box[:2] + box[2:]) / 2
    corners = round(float(x) - half), round(float(y) - half), round(float(x) + half), round(float(y) + half)
    return Image.fromarray(image).crop(corners).resize((SIDE, SIDE))


def read(analyzer: Analyzer, image: np.ndarray | Image.Image, rotated: bool) -> list[Face]:
    """The largest face of an image, or none."""
    pixels = np.asarray(image)
    faces = analyzer.detect(pixels, rotated=rotated)[:1]
    return analyzer.predict_faces(pixels, faces, MeshOptions(try_rotations=rotated))


def judge(faces: list[Face], upright: Face, turn_deg: float) -> str:
    """What became of a rotated face."""
    if not faces:
        return "not found"
    [face] = faces
    assert face.expression is not None
    assert upright.expression is not None
    assert upright.head_pose is not None
    label = face.expression.label
    fate = "no label" if label is None else "right label" if label == upright.expression.label else "WRONG label"
    if face.head_pose is None:
        return f"{fate}, no pose"
    off = math.remainder(face.head_pose.roll_deg - upright.head_pose.roll_deg - turn_deg, 360)
    return f"{fate}, {'right' if abs(off) < POSE_DEG else 'WRONG'} pose"


if __name__ == "__main__":
    main()
