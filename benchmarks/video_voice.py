"""Speed and memory of `mien video --voice` on one core, beside `mien video`.

python benchmarks/video_voice.py emodb.zip [--minutes 10] [--people 1] [--clip FILE] [--json]

A synthetic clip of people who talk (see speakers.py; 640 x 480, 25 frames a second, speech in about three quarters of
the time) is repeated to the given length. Each run is a process of its own, bound to one core where the system allows.
CPU seconds are the measure on a machine that is not idle; `load` is the load average at the end, this run included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from speakers import make_clip

PAUSE_S = Fraction(1, 5)


def repeat(source: Path, target: Path, times: int) -> Path:
    """Copy the packets of a clip several times in a row, with pauses in which no timestamps overlap."""
    with av.open(str(target), "w") as output:
        with av.open(str(source)) as first:
            length = Fraction(first.duration, 1_000_000) + PAUSE_S
            streams = {stream.index: output.add_stream_from_template(stream) for stream in first.streams}
        for number in range(times):
            with av.open(str(source)) as container:
                for packet in container.demux():
                    if packet.dts is None:
                        continue
                    shift = round(number * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream_index]
                    output.mux(packet)
    return target


def run(clip: Path, *options: str) -> dict[str, float]:
    """Return wall and CPU seconds and peak memory of one `mien video`."""
    command = [sys.executable, "-m", "mien", "video", str(clip), "--quiet", "--threads", "1", *options]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*command, "--table", f"{folder}/faces.csv"], stdout=subprocess.DEVNULL)
        if cores:
            os.sched_setaffinity(process.pid, cores[:1])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {
        "wall_s": round(time.perf_counter() - started_s, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="emodb.zip")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--people", type=int, choices=(1, 2), default=1)
    parser.add_argument("--clip", type=Path, help="a clip to repeat instead of the synthetic one")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short = arguments.clip or make_clip(arguments.data, Path(folder) / "short.mp4", people=arguments.people)[0]
        with av.open(str(short)) as container:
            seconds = container.duration / 1e6 + float(PAUSE_S)
        times = max(1, round(60 * arguments.minutes / seconds))
        result: dict[str, Any] = {"seconds": round(times * seconds, 1), "people": arguments.people}
        tenth = repeat(short, Path(folder) / "tenth.mp4", max(1, times // 10))
        clip = repeat(short, Path(folder) / "clip.mp4", times)
        result["a tenth, with voice"] = run(tenth, "--voice")
        result["without voice"] = run(clip)
        result["with voice"] = run(clip, "--voice")
    for name in ("without voice", "with voice"):
        result[name]["times_real_time_by_cpu"] = round(result["seconds"] / result[name]["cpu_s"], 1)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
