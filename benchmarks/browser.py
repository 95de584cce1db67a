"""Frame rate of the page's on-device mode, and milliseconds by stage.

python benchmarks/browser.py [--model NAME] [--seconds 10] [--one-thread] [--json]

The built page runs in a headless Chromium without a GPU (WebAssembly). A 640x480 image with one face sways like a head
before a camera of 30 frames per second; frames that arrive during an analysis are skipped, as with a camera.
`frames_per_s` counts the answered frames. Most of them only track faces, which takes almost no time. Milliseconds are
medians over the frames in which a stage ran; `runs_per_s` is how often it ran.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from latency import example_photo

from mien.imaging import read_image
from mien.runtime import DEFAULT_MODEL
from support.browser import launch_chromium, missing_requirement, open_engine

WARM_UP_S = 2.0


def measure(model: str, seconds: float, *, threads: bool) -> dict[str, Any]:
    """Return the frame rate and the timings of a model."""
    with launch_chromium() as browser, open_engine(browser, isolated=threads) as engine:
        opened = engine.open(model)
        assert opened["type"] == "opened", opened
        image = read_image(example_photo())
        engine.play(image, WARM_UP_S)
        engine.reset()
        responses = engine.play(image, seconds)
    assert all(len(response["frame"]["faces"]) == 1 for response in responses), "expected one face per frame"
    return {
        "model": model,
        "runtime": opened["runtime"],
        "frames_per_s": len(responses) / seconds,
        "frame_ms": statistics.median(response["wall_ms"] for response in responses),
        "max_frame_ms": max(response["wall_ms"] for response in responses),
        "stages": _summarize_stages([response["timings_ms"] for response in responses], seconds),
    }


def _summarize_stages(timings: list[dict[str, float]], seconds: float) -> dict[str, dict[str, float]]:
    values_by_stage: dict[str, list[float]] = {}
    for frame in timings:
        for stage, value in frame.items():
            values_by_stage.setdefault(stage, []).append(value)
    return {
        stage: {"ms": statistics.median(values), "runs_per_s": len(values) / seconds}
        for stage, values in values_by_stage.items()
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument(
        "--one-thread", action="store_true", help="omit the isolation headers, without which there are no threads"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if missing := missing_requirement():
        raise SystemExit(f"The page cannot be benchmarked: {missing}.")
    result = measure(options.model, options.seconds, threads=not options.one_thread)
    print(json.dumps(result, indent=2) if options.json else _format_table(result))


def _format_table(result: dict[str, Any]) -> str:
    title = (
        f"{result['model']} on {result['runtime']}: {result['frames_per_s']:.1f} frames per second, "
        f"median {result['frame_ms']:.1f} ms, maximum {result['max_frame_ms']:.0f} ms"
    )
    rows = [
        f"{name:<16} {stage['ms']:7.1f} ms {stage['runs_per_s']:6.1f} per second"
        for name, stage in result["stages"].items()
    ]
    return "\n".join([title, *rows])


if __name__ == "__main__":
    main()
