"""Where the five landmarks lie in the FER+ training faces: the numbers behind `TEMPLATES["ferplus"]`.

python benchmarks/template.py ferplus.zip [--every 10]
"""

from __future__ import annotations

import argparse

import numpy as np

from mien.datasets import read_dataset
from mien.faces import TEMPLATES, FaceDetector
from mien.imaging import read_image

MIRROR = [1, 0, 2, 4, 3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--every", type=int, default=10, help="take every Nth face")
    options = parser.parse_args()
    index = read_dataset("ferplus", options.data).select("train")
    detector = FaceDetector()
    found = []
    for sample in index.samples[:: options.every]:
        image = read_image(index.read(sample))
        if faces := detector.detect(image):
            found.append(faces[0].landmarks_xy / image.shape[0])
    median = np.median(found, axis=0)
    mirrored = median[MIRROR] * [-1, 1] + [1, 0]
    print(f"{len(found)} faces in {len(index.samples[:: options.every])} images")
    for name, values in (
        ("median", median),
        ("made symmetric", (median + mirrored) / 2),
        ("template", TEMPLATES["ferplus"]),
    ):
        print(f"{name:>15}", np.round(values, 3).tolist())


if __name__ == "__main__":
    main()
