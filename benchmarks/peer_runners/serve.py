"""Line protocol of a runner: a path of an image per line in, a JSON object with label and seconds per line out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from PIL import Image

Predict = Callable[[np.ndarray], str | None]
"""Returns the label of the largest face of an (H, W, 3) uint8 RGB image, or None without a face."""


def serve(package: str, load: Callable[[str], Predict]) -> None:
    """Load the variant named by the first argument and answer requests until the input ends.

    The first line of the output has the package's version. Decoding of the image is not timed.
    """
    # packages print while they load and predict: only answers go to the output
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)

        def answer(**values: object) -> None:
            print(json.dumps(values), file=output, flush=True)

        predict = load(sys.argv[1])
        answer(version=version(package))
        for line in sys.stdin:
            with Image.open(line.rstrip("\n")) as opened:
                image = np.array(opened.convert("RGB"))
            wall, cpu = time.perf_counter(), time.process_time()
            label = predict(image)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            answer(label=label, cpu_s=cpu, wall_s=wall)
