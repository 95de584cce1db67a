"""Speed of the steps of `mien voice` on one thread, as multiples of real time, and the memory of a long file.

python benchmarks/voice_speed.py FILE [--repeats 5]

The whole is `VoiceAnalyzer.analyze`; the steps are measured on its segments. Processor time, medians.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from statistics import median

import mien
from mien.voice.activity import SpeechDetector
from mien.voice.audio import SAMPLE_RATE_HZ, AudioReader, read_audio
from mien.voice.classifier import VoiceClassifier
from mien.voice.features import log_mel
from mien.voice.prosody import measure_prosody


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    analyzer = mien.VoiceAnalyzer(threads=1)
    result = analyzer.analyze(options.file)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    samples = read_audio(options.file)
    parts = [samples[int(s.start_s * SAMPLE_RATE_HZ) : int(s.end_s * SAMPLE_RATE_HZ)] for s in result]
    classifier, detector = VoiceClassifier(threads=1), SpeechDetector(threads=1)

    def decode() -> None:
        with AudioReader(options.file) as reader:
            list(reader)

    blocks = [samples[start : start + SAMPLE_RATE_HZ] for start in range(0, len(samples), SAMPLE_RATE_HZ)]
    steps: dict[str, Callable[[], object]] = {
        "whole": lambda: analyzer.analyze(options.file),
        "decoding": decode,
        "voice activity": lambda: list(detector.probabilities(blocks)),
        "prediction": lambda: [classifier.predict(part) for part in parts],
        "  log-mel of it": lambda: [log_mel(part) for part in parts],
        "prosody": lambda: [measure_prosody(part) for part in parts],
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.repeats):
        for name, step in steps.items():
            started = time.process_time()
            step()
            seconds[name].append(time.process_time() - started)
    speech = sum(map(len, parts)) / len(samples)
    print(f"{result.duration_s:.1f} s, {speech:.0%} speech in {len(parts)} segments, peak memory {peak_mb:.0f} MB")
    for name, values in seconds.items():
        print(f"{name:18}{1000 * median(values):9.0f} ms  {result.duration_s / median(values):7.0f} times real time")


if __name__ == "__main__":
    main()
