"""No track ID spans two people: cuts in bright and dark footage, in one half of a split screen, and dissolves."""

from __future__ import annotations

import numpy as np
import pytest

from mien.imaging import resize
from mien.inference.analyzer import Analyzer
from mien.video.analysis import analyze_video
from support.images import bust
from support.video import write_clip

SIDE = 192
PEOPLE = ("obama", "astronaut", "biden")


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(threads=1, pose=False)


@pytest.fixture(scope="module")
def portraits():
    return {name: resize(bust(name, room=0.8), (SIDE, SIDE)).astype(np.float64) for name in PEOPLE}


def exposed(image, light, number):
    noise = np.random.default_rng(number).normal(0, 1.5, image.shape)
    return (image * light + noise).clip(0, 255).round().astype(np.uint8)


def people_of_ids(path, analyzer, person_at):
    """Return the names of the people that each ID was given to, in frames with a known person."""
    people = {}
    for frame in analyze_video(path, analyzer=analyzer):
        for face in frame.faces:
            side = int(face.bbox_xyxy[[0, 2]].mean() > SIDE)
            if name := person_at(frame.index, side):
                people.setdefault(face.track_id, set()).add(name)
    return people


@pytest.mark.parametrize("light", [1.0, 0.3, 0.12])
@pytest.mark.parametrize("fps", [5, 25])
def test_cut_to_another_person_in_the_same_place(tmp_path, analyzer, portraits, light, fps):
    names = [name for name in (*PEOPLE, PEOPLE[0]) for _ in range(10)]
    frames = [exposed(portraits[name], light, number) for number, name in enumerate(names)]
    clip = write_clip(tmp_path / "cuts.mp4", frames, fps=fps)
    people = people_of_ids(clip, analyzer, lambda index, side: names[index])
    assert {len(each) for each in people.values()} == {1}
    assert set().union(*people.values()) == set(PEOPLE)


@pytest.mark.parametrize("light", [1.0, 0.2])
def test_cut_in_one_half_of_a_split_screen(tmp_path, analyzer, portraits, light):
    right = [name for name in ("biden", "astronaut", "biden") for _ in range(10)]
    frames = [
        exposed(np.hstack([portraits["obama"], portraits[name]]), light, number) for number, name in enumerate(right)
    ]
    clip = write_clip(tmp_path / "split.mp4", frames)
    people = people_of_ids(clip, analyzer, lambda index, side: right[index] if side else "obama")
    assert {len(each) for each in people.values()} == {1}
    assert sum(each == {"obama"} for each in people.values()) == 1


@pytest.mark.parametrize("seconds", [0.4, 1.2])
def test_dissolve_to_another_person(tmp_path, analyzer, portraits, seconds):
    shares = np.clip((np.arange(round((seconds + 1.2) * 25)) / 25 - 0.6) / seconds, 0, 1)
    frames = [
        exposed((1 - share) * portraits["obama"] + share * portraits["biden"], 1, number)
        for number, share in enumerate(shares)
    ]
    clip = write_clip(tmp_path / "dissolve.mp4", frames)
    known = {0.0: "obama", 1.0: "biden"}
    people = people_of_ids(clip, analyzer, lambda index, side: known.get(shares[index]))
    assert {len(each) for each in people.values()} == {1}
    assert set().union(*people.values()) == {"obama", "biden"}
