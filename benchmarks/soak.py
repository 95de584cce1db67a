"""A long video: is memory flat, and does a run that is killed several times end with the same table?

python benchmarks/soak.py [--minutes 60] [--fps 25] [--kills 2] [--annotate] [--json]

A short clip of the tests (320 x 240) is looped without decoding. `mien video` processes it once without interruption,
its memory sampled every second (Linux), and once killed (SIGKILL) at random moments and resumed. The two tables must be
equal byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.video import crossing_frames, write_clip

SAMPLE_S = 1.0


def make_loop(path: Path, minutes: float, fps: int) -> Path:
    """Write a clip that repeats eight seconds, by copying packets."""
    import av

    frames = (frame for frame, _ in crossing_frames(fps=fps, size_wh=(320, 240)))
    once = write_clip(path.with_name("once.mp4"), frames, fps=fps)
    with av.open(str(once)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        stream = source.streams.video[0]
        assert stream.time_base is not None
        length = round(8 / stream.time_base)
        with av.open(str(path), "w") as target:
            copy = target.add_stream_from_template(stream)
            for turn in range(round(60 * minutes / 8)):
                for packet in packets:
                    copied = av.Packet(bytes(packet))
                    copied.pts, copied.dts = ((packet.pts or 0) + turn * length, (packet.dts or 0) + turn * length)
                    copied.duration, copied.time_base = packet.duration, packet.time_base
                    copied.is_keyframe, copied.stream = packet.is_keyframe, copy
                    target.mux(copied)
    return path


def start(clip: Path, output: Path, annotate: bool, *more: str) -> subprocess.Popen[bytes]:
    """Start `mien video` in its own process."""
    command = ["video", str(clip), "--output", str(output), "--threads", "1", *more]
    command += [] if annotate else ["--no-annotate"]
    return subprocess.Popen([sys.executable, "-m", "mien", *command], stdout=subprocess.DEVNULL)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process; 0 if it is unknown."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch(run: subprocess.Popen[bytes]) -> list[float]:
    """Sample the memory of a process every `SAMPLE_S` seconds until it ends."""
    samples = []
    while run.poll() is None:
        samples.append(memory_mb(run.pid))
        time.sleep(SAMPLE_S)
    assert run.returncode == 0, f"mien video ended with {run.returncode}"
    return [sample for sample in samples if sample > 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--annotate", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = make_loop(Path(folder) / "long.mp4", options.minutes, options.fps)
        straight, killed = Path(folder) / "straight", Path(folder) / "killed"
        began = time.perf_counter()
        samples = watch(start(clip, straight, options.annotate))
        seconds = time.perf_counter() - began
        for _ in range(options.kills):
            run = start(clip, killed, options.annotate, "--resume")
            time.sleep(random.uniform(0.1, 0.9) * seconds / (options.kills + 1))
            run.kill()
            run.wait()
        watch(start(clip, killed, options.annotate, "--resume"))
        tables = [(run / "faces.csv").read_bytes() for run in (straight, killed)]
        tenth = max(1, len(samples) // 10)
        report = {
            "minutes": options.minutes,
            "frames": round(options.minutes * 60 * options.fps),
            "seconds": round(seconds, 1),
            "rows": tables[0].count(b"\n") - 1,
            "memory_mb_after_a_tenth": round(max(samples[: tenth + 1]), 1),
            "memory_mb_at_most": round(max(samples), 1),
            "memory_mb_last_tenth": round(max(samples[-tenth:]), 1),
            "kills": options.kills,
            "same_table": tables[0] == tables[1],
        }
    print(json.dumps(report) if options.json else "\n".join(f"{key:26s} {value}" for key, value in report.items()))


if __name__ == "__main__":
    main()
