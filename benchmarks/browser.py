"""How fast the page reads faces on the device itself: frames a second, and milliseconds of every part.

python benchmarks/browser.py [--model NAME] [--seconds 10] [--one-thread] [--json]

The built page runs in a headless Chromium without a GPU (WebAssembly). A 640x480 image with one face sways as a head
does before a camera of 30 frames a second; a frame that comes while another is being read is left out, as with one.
`frames_per_s` counts the frames that were answered, of 30; between two readings faces are followed, which takes next to
nothing. Milliseconds are medians over the frames in which a part ran, and `runs_per_s` is how often it did.
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
from support.browser import driven_chromium, driven_engine, why_not

WARM_UP_S = 2.0


def measure(model: str, seconds: float, *, threads: bool) -> dict[str, Any]:
    with driven_chromium() as browser, driven_engine(browser, isolated=threads) as engine:
        opened = engine.open(model)
        assert opened["type"] == "opened", opened
        image = read_image(example_photo())
        engine.play(image, WARM_UP_S)
        engine.reset()
        answers = engine.play(image, seconds)
    assert all(len(answer["frame"]["faces"]) == 1 for answer in answers), "the benchmark wants one face"
    return {
        "model": model,
        "backend": opened["backend"],
        "frames_per_s": len(answers) / seconds,
        "frame_ms": statistics.median(answer["wall_ms"] for answer in answers),
        "longest_frame_ms": max(answer["wall_ms"] for answer in answers),
        "parts": _parts(answers, seconds),
    }


def _parts(answers: list[dict[str, Any]], seconds: float) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(name for answer in answers for name in answer["parts_ms"])
    parts = {
        name: [answer["parts_ms"][name] for answer in answers if name in answer["parts_ms"]] for name in names
    }
    return {
        name: {"ms": statistics.median(values), "runs_per_s": len(values) / seconds}
        for name, values in parts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument(
        "--one-thread", action="store_true", help="as where the server sends no isolation headers"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if missing := why_not():
        raise SystemExit(f"The page cannot be measured: {missing}.")
    found = measure(options.model, options.seconds, threads=not options.one_thread)
    print(json.dumps(found, indent=2) if options.json else _table(found))


def _table(found: dict[str, Any]) -> str:
    rows = [
        f"{name:<16} {part['ms']:7.1f} ms {part['runs_per_s']:6.1f} a second"
        for name, part in found["parts"].items()
    ]
    return "\n".join(
        [
            f"{found['model']} on {found['backend']}: {found['frames_per_s']:.1f} frames a second, "
            f"median {found['frame_ms']:.1f} ms, longest {found['longest_frame_ms']:.0f} ms",
            *rows,
        ]
    )


if __name__ == "__main__":
    main()
