"""Who speaks in a synthetic clip: recorded speech under the portraits of `examples/`, whose mouths follow its loudness.

python benchmarks/speakers.py emodb.zip [--turns 12] [--seed 1] [--frames FOLDER] [--json]

Two people are side by side; in every fourth turn nobody in view speaks. The same sound is then shifted against the
images: by 2 s, and in steps of 0.25 s from 0.75 s on, for the rate of false assignments. `--frames` saves some images
of the clip.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mien import Analyzer, VoiceAnalyzer, analyze_video
from mien.video.mouths import MouthMeter
from mien.video.speakers import MouthSeries, find_speaker
from mien.video.speaking import MOUTH, SoundTrack, join_turns, speaking_rows
from mien.voice.audio import read_audio
from support.talking import LEFT, PEOPLE, RIGHT, Turn, in_turns, sound_of, talking_frames, write_talk

ORDER = (LEFT, RIGHT, LEFT, None, RIGHT, LEFT, RIGHT, None)


def make_clip(
    data: Path, path: Path, *, turns: int = 12, seed: int = 1, people: int = 2, frames_to: Path | None = None
) -> tuple[Path, list[Turn]]:
    """Write a clip of 640 x 480 pixels at 25 frames a second with random utterances of EmoDB."""
    with zipfile.ZipFile(data) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
        chosen = np.random.default_rng(seed).choice(len(names), turns, replace=False)
        utterances = [read_audio(archive.read(names[index])) for index in chosen]
    speakers = [ORDER[number % len(ORDER)] for number in range(turns)]
    if people == 1:
        speakers = [None if speaker is None else LEFT for speaker in speakers]
    spoken = in_turns(utterances, speakers)
    seconds = spoken[-1].end_s + 0.5
    frames = talking_frames(spoken, seconds, people=PEOPLE[:people])
    if frames_to is not None:
        frames = list(frames)
        frames_to.mkdir(parents=True, exist_ok=True)
        for number in range(0, len(frames), max(1, len(frames) // 8)):
            Image.fromarray(frames[number]).save(frames_to / f"{number:05}.png")
    return write_talk(path, iter(frames), sound_of(spoken, seconds)), spoken


def truth_at(turns: list[Turn], start_s: float, end_s: float) -> str | None:
    """Return the speaker whose turn overlaps most with a segment."""
    return max(turns, key=lambda turn: min(end_s, turn.end_s) - max(start_s, turn.start_s)).speaker


def measure(data: Path, *, turns: int, seed: int, frames_to: Path | None) -> dict[str, Any]:
    analyzer, voices = Analyzer(threads=1), VoiceAnalyzer(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        clip, spoken = make_clip(data, Path(folder) / "clip.mp4", turns=turns, seed=seed, frames_to=frames_to)
        sound = SoundTrack(voice=voices.analyze(clip), manifest=voices.manifest)
        meter = MouthMeter(analyzer.mesh, [(0.0, 1e6)])  # everywhere, to be compared with shifted sound
        rows = [row for frame in analyze_video(clip, analyzer=analyzer) for row in speaking_rows(frame, meter)]
    found = join_turns(rows, sound, analyzer.manifest)
    shifted = join_turns(rows, replace(sound, voice=replace(sound.voice, offset_s=2.0)), analyzer.manifest)
    name_of = {row["track_id"]: PEOPLE[int(row["x1"] + row["x2"] > 640)] for row in rows}
    listed = [
        {
            "start_s": round(turn.start_s, 2),
            "end_s": round(turn.end_s, 2),
            "speaker": truth_at(spoken, turn.start_s, turn.end_s),
            "assigned": name_of.get(turn.track_id),
            "status": turn.status,
            "confidence": round(turn.speaker_confidence, 3),
            "correlation": None if turn.correlation is None else round(turn.correlation, 2),
        }
        for turn in found
    ]
    return {
        "turns": listed,
        "right": sum(turn["speaker"] == turn["assigned"] for turn in listed),
        "wrong": sum(turn["assigned"] not in (None, turn["speaker"]) for turn in listed),
        "of": len(listed),
        "shifted by 2 s": {"assigned": sum(turn.track_id is not None for turn in shifted), "of": len(shifted)},
        "shifted by 0.75 s and more": false_assignments(rows, sound),
    }


def false_assignments(rows: list[dict[str, Any]], sound: SoundTrack) -> dict[str, int]:
    """Count the assignments of shifted sound to the faces; a segment that is shifted beyond the end is left out."""
    mouths = []
    for track_id in sorted({row["track_id"] for row in rows}):
        points = [(row["timestamp_s"], row[MOUTH]) for row in rows if row["track_id"] == track_id and row[MOUTH]]
        times_s, openings = np.array(points).T
        mouths.append(MouthSeries(times_s=times_s, openings=openings))
    end_s = rows[-1]["timestamp_s"]
    statuses = [
        find_speaker(sound.voice.envelope, mouths, start_s + shift_s, stop_s + shift_s, sound_start_s=shift_s).status
        for shift_s in np.arange(0.75, end_s, 0.25).tolist()
        for start_s, stop_s in sound.spans_s
        if stop_s + shift_s < end_s
    ]
    return {"assigned": statuses.count("assigned"), "of": len(statuses)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="emodb.zip")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=Path, help="folder for some images of the clip")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.data, turns=arguments.turns, seed=arguments.seed, frames_to=arguments.frames)
    if arguments.json:
        print(json.dumps(result))
        return
    for turn in result.pop("turns"):
        print("  ".join(f"{name} {value}" for name, value in turn.items()))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
