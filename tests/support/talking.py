"""Clips of two people who talk: portraits whose mouths open with the loudness of recorded speech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mien import Analyzer
from mien.voice.audio import SAMPLE_RATE_HZ
from support.images import scaled_to_face
from support.video import grain, room

LEFT, RIGHT, OFF_SCREEN = "obama", "biden", None
PEOPLE = (LEFT, RIGHT)
LEVELS = 16
"""Number of mouth openings of a head."""
MAX_OPENING = 0.075
"""Widest additional opening of the lips in face heights."""
LIPS = (13, 14)
MOUTH_CORNERS = (61, 291)
FACE_ENDS = (10, 152)


@dataclass(frozen=True)
class Turn:
    """Speech (N,) float32 at 16 kHz from a time on, by one of `PEOPLE` or by nobody in view."""

    start_s: float
    samples: np.ndarray
    speaker: str | None

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / SAMPLE_RATE_HZ


def in_turns(utterances: Sequence[np.ndarray], speakers: Sequence[str | None], *, pause_s: float = 0.7) -> list[Turn]:
    """Return one utterance after another, with a pause before each."""
    turns = []
    now_s = pause_s
    for samples, speaker in zip(utterances, speakers, strict=True):
        turns.append(Turn(now_s, samples, speaker))
        now_s = turns[-1].end_s + pause_s
    return turns


def sound_of(turns: Sequence[Turn], seconds: float, *, shift_s: float = 0.0) -> np.ndarray:
    """Return the sound of all turns, (N,) float32, rotated in time by a shift."""
    sound = np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)
    for turn in turns:
        start = round(turn.start_s * SAMPLE_RATE_HZ)
        sound[start : start + len(turn.samples)] += turn.samples[: len(sound) - start]
    return np.roll(sound, round(shift_s * SAMPLE_RATE_HZ))


def mouth_levels(samples: np.ndarray, fps: float, *, delay_s: float = 0.06) -> np.ndarray:
    """Return how far a mouth is open in every frame, 0..1; the mouth is `delay_s` ahead of the sound."""
    power = np.convolve(samples.astype(np.float64) ** 2, np.hanning(1600) / 800, mode="same")
    times = np.arange(round(len(samples) / SAMPLE_RATE_HZ * fps)) / fps + delay_s
    loudness = np.sqrt(power)[np.minimum((times * SAMPLE_RATE_HZ).astype(int), len(power) - 1)]
    return np.sqrt(loudness / max(float(loudness.max()), 1e-9))


def talking_frames(
    turns: Sequence[Turn],
    seconds: float,
    *,
    fps: float = 25,
    size_wh: tuple[int, int] = (640, 480),
    face: float = 0.36,
    people: Sequence[str] = PEOPLE,
) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) uint8 frames of people side by side, who open their mouths while they speak.

    They nod a little, each at another rate; `face` is the height of a face as share of the image.
    """
    count = round(seconds * fps)
    levels = {name: np.zeros(count) for name in people}
    for turn in turns:
        if turn.speaker in levels:
            start = round(turn.start_s * fps)
            opening = mouth_levels(turn.samples, fps)[: count - start]
            levels[turn.speaker][start : start + len(opening)] = opening
    heads = {name: talking_head(name, round(face * size_wh[1])) for name in people}
    background = room(size_wh)
    for number in range(count):
        frame = Image.fromarray(background)
        for place, name in enumerate(people):
            head = heads[name][round(float(levels[name][number]) * (LEVELS - 1))]
            nod = 3 * np.sin(2 * np.pi * (0.31 + 0.1 * place) * number / fps)
            x = round(size_wh[0] * (place + 0.5) / len(people) - head.width / 2 + nod)
            frame.paste(head, (x, round((size_wh[1] - head.height) / 2 + nod)))
        yield grain(frame, number)


@cache
def talking_head(name: str, face_px: int) -> tuple[Image.Image, ...]:
    """Return a head with its mouth opened in steps."""
    head = scaled_to_face(name, face_px, room=0.35)
    (found,) = Analyzer(threads=1, max_faces=1).analyze(head)
    assert found.mesh_xyz is not None
    mesh_xy = found.mesh_xyz[:, :2].astype(np.float64)
    height = float(np.linalg.norm(mesh_xy[FACE_ENDS[0]] - mesh_xy[FACE_ENDS[1]]))
    levels = np.linspace(0, MAX_OPENING * height, LEVELS)
    return tuple(Image.fromarray(open_mouth(head, mesh_xy, level)) for level in levels)


def open_mouth(image: np.ndarray, mesh_xy: np.ndarray, opening_px: float) -> np.ndarray:
    """Return the image with the lower lip and the chin moved down, and the gap between the lips stretched."""
    upper, lower = mesh_xy[LIPS[0], 1], mesh_xy[LIPS[1], 1]
    lower = max(lower, upper + 1.0)
    center_x, half_width = mesh_xy[list(MOUTH_CORNERS), 0].mean(), abs(np.diff(mesh_xy[list(MOUTH_CORNERS), 0])[0]) / 2
    bottom = mesh_xy[FACE_ENDS[1], 1] + 2 * opening_px
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float64)
    drop = opening_px * np.clip(1 - ((x - center_x) / (1.25 * half_width)) ** 2, 0, 1)
    inside = upper + (y - upper) * (lower - upper) / (lower - upper + drop)
    below = np.where(y < bottom, bottom - (bottom - y) * (bottom - lower) / (bottom - lower - drop), y)
    source_y = np.where(y <= upper, y, np.where(y <= lower + drop, inside, below))
    rows = source_y.clip(0, image.shape[0] - 1.001)
    top = rows.astype(int)
    share = (rows - top)[..., None]
    columns = x.astype(int)
    warped = image[top, columns] * (1 - share) + image[top + 1, columns] * share
    # the inside of a mouth is darker the further it is open
    is_gap = (y > upper) & (y < lower + drop)
    warped[is_gap] *= 1 - 0.75 * (drop / (drop + lower - upper + 1e-9))[is_gap][:, None]
    return warped.round().clip(0, 255).astype(np.uint8)


def write_talk(
    path: Path, frames: Iterator[np.ndarray], sound: np.ndarray | None, *, fps: float = 25, codec: str = "aac"
) -> Path:
    """Write frames and sound (N,) float32 at 16 kHz as a video; without sound for None."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        audio = None if sound is None else container.add_stream(codec, rate=SAMPLE_RATE_HZ, layout="mono")
        video.pix_fmt = "yuv420p"
        video.options = {"preset": "ultrafast", "crf": "18"}
        for number, image in enumerate(frames):
            if number == 0:
                video.height, video.width = image.shape[:2]
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, 0, Fraction(1, SAMPLE_RATE_HZ)
            coder = audio.codec_context
            resampler = av.AudioResampler(
                format=coder.format, layout="mono", rate=SAMPLE_RATE_HZ, frame_size=coder.frame_size
            )
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return path
