"""Frame rate of the page's on-device mode, and milliseconds by stage.

python benchmarks/browser.py [--model NAME] [--seconds 10] [--one-thread] [--json]
python benchmarks/browser.py --load [--model NAME] [--megabits 50] [--json]

The built page runs in a headless Chromium without a GPU (WebAssembly). A 640x480 image with one face sways like a head
before a camera of 30 frames per second. After an analysis the newest frame is next; older ones are skipped, as in the
page. `frames_per_s` counts the answered frames. Most of them only track faces, which takes almost no time; the median
of the others is `analysis_ms`. Milliseconds of the stages are medians over the frames in which they ran; `runs_per_s`
is how often they ran.

With `--load`, the times from opening the page to the loaded models on a first and on a second visit of a new browser.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from latency import example_photo

from mien.imaging import read_image
from mien.runtime import DEFAULT_MODEL
from support.browser import launch_chromium, missing_requirement, open_engine, serve_page, visit

WARM_UP_S = 2.0
STAY_S = 5.0
"""Time of a visit after the models are loaded, in which the browser stores the files and the compiled code."""


def measure(model: str, seconds: float, *, threads: bool) -> dict[str, Any]:
    """Return the frame rate and the timings of a model."""
    with launch_chromium() as browser, open_engine(browser, isolated=threads) as engine:
        opened = engine.open(model)
        assert opened["type"] == "opened", opened
        image = read_image(example_photo())
        engine.play(image, WARM_UP_S)
        engine.reset()
        responses = engine.play(image, seconds)
    assert all(len(response["result"]["faces"]) == 1 for response in responses), "expected one face per frame"
    return {
        "model": model,
        "runtime": opened["runtime"],
        "frames_per_s": len(responses) / seconds,
        "frame_ms": statistics.median(response["wall_ms"] for response in responses),
        "analysis_ms": statistics.median(
            response["wall_ms"] for response in responses if "detect" in response["timings_ms"]
        ),
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


def measure_load(model: str, megabits_per_s: float) -> dict[str, Any]:
    """Return the time from opening the page to the loaded models, for two visits of one browser."""
    image = read_image(example_photo())
    visits = []
    with TemporaryDirectory() as profile, serve_page(megabits_per_s=megabits_per_s) as url:
        for _ in range(2):
            with launch_chromium(Path(profile)) as browser, visit(browser, url) as engine:
                opened = engine.open(model)
                assert opened["type"] == "opened", opened
                visits.append({"ready_ms": engine.age_ms(), "stages_ms": opened["timings_ms"]})
                engine.play(image, STAY_S)
    return {"model": model, "runtime": opened["runtime"], "megabits_per_s": megabits_per_s, "visits": visits}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument(
        "--one-thread", action="store_true", help="omit the isolation headers, without which there are no threads"
    )
    parser.add_argument("--load", action="store_true", help="measure the start of a first and a second visit")
    parser.add_argument("--megabits", type=float, default=50, help="rate of the connection for --load, in Mbit/s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if missing := missing_requirement():
        raise SystemExit(f"The page cannot be benchmarked: {missing}.")
    if options.load:
        result = measure_load(options.model, options.megabits)
        text = _format_visits(result)
    else:
        result = measure(options.model, options.seconds, threads=not options.one_thread)
        text = _format_table(result)
    print(json.dumps(result, indent=2) if options.json else text)


def _format_visits(result: dict[str, Any]) -> str:
    first, second = result["visits"]
    ratio = second["ready_ms"] / first["ready_ms"]
    rows = [
        f"{name} visit: ready after {visit['ready_ms']:.0f} ms ("
        + ", ".join(f"{stage} {value:.0f}" for stage, value in visit["stages_ms"].items())
        + ")"
        for name, visit in (("first", first), ("second", second))
    ]
    title = f"{result['model']} on {result['runtime']} at {result['megabits_per_s']:g} Mbit/s: ratio {ratio:.2f}"
    return "\n".join([title, *rows])


def _format_table(result: dict[str, Any]) -> str:
    title = (
        f"{result['model']} on {result['runtime']}: {result['frames_per_s']:.1f} frames per second, "
        f"median {result['frame_ms']:.1f} ms, with detection {result['analysis_ms']:.1f} ms, "
        f"maximum {result['max_frame_ms']:.0f} ms"
    )
    rows = [
        f"{name:<16} {stage['ms']:7.1f} ms {stage['runs_per_s']:6.1f} per second"
        for name, stage in result["stages"].items()
    ]
    return "\n".join([title, *rows])


if __name__ == "__main__":
    main()
