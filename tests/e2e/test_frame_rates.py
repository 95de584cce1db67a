"""Track IDs do not depend on the frame rate: slides, time lapses, fast cameras, variable rates and gaps."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.inference.analyzer import Analyzer
from mien.recording import record
from mien.video.analysis import VideoAnalysis, analyze_video
from support.images import EXAMPLES
from support.video import Pose, moving_frames, write_clip

SIZE_WH = 320, 240
GAP = [*np.arange(8) / 25, *(6 + np.arange(8) / 25)]
VARIABLE = np.cumsum(np.random.default_rng(3).choice([0.02, 0.1, 0.4, 2.0], 12)).tolist()
TIMES = {
    "0.2 fps": np.arange(8) * 5.0,
    "1 fps": np.arange(8) * 1.0,
    "2 fps": np.arange(8) / 2,
    "5 fps": np.arange(10) / 5,
    "60 fps": np.arange(36) / 60,
    "120 fps": np.arange(40) / 120,
    "variable": VARIABLE,
    "gap": GAP,
}


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(threads=1, pose=False)


def seated(left: str = "biden", right: str = "obama", count: int = 40, **options):
    """Return frames of two people who sit, moving by a few pixels; `away` lists frames in which the right one left."""
    jitter = np.random.default_rng(0).normal(0, 0.006, (count, 4))
    away = options.get("away", ())
    paths = {
        left: lambda share: Pose(0.25 + jitter[int(share)][0], 0.42 + jitter[int(share)][1], 0.3),
        right: lambda share: Pose(
            3 if share in away else 0.72 + jitter[int(share)][2], 0.42 + jitter[int(share)][3], 0.3
        ),
    }
    return [image for image, _ in moving_frames(EXAMPLES, paths, range(count), size_wh=SIZE_WH)]


def track_ids(path, analyzer, **options):
    """Return the IDs in each frame, from left to right."""
    frames = analyze_video(path, analyzer=analyzer, **options)
    return [[face.track_id for face in sorted(frame.faces, key=lambda face: face.bbox_xyxy[0])] for frame in frames]


@pytest.mark.parametrize("detect_every", [None, 3])
@pytest.mark.parametrize("times_s", list(TIMES.values()), ids=TIMES)
def test_two_people_who_sit_still_keep_two_ids_in_every_frame(tmp_path, analyzer, times_s, detect_every):
    clip = write_clip(tmp_path / "clip.mp4", seated(count=len(times_s)), timestamps_s=times_s)
    results = track_ids(clip, analyzer, detect_every=detect_every)
    assert len(results) == len(times_s)
    assert {tuple(sorted(ids)) for ids in results} == {(1, 2)}
    assert len({tuple(ids) for ids in results}) == 1


@pytest.mark.parametrize("seconds", [0.5, 1.0, 4.0])
def test_slides_of_an_animated_gif_have_faces_in_every_frame(tmp_path, analyzer, seconds):
    images = [Image.fromarray(frame) for frame in seated(count=6)]
    path = tmp_path / "slides.gif"
    images[0].save(path, save_all=True, append_images=images[1:], duration=round(1000 * seconds), loop=0)
    assert {tuple(sorted(ids)) for ids in track_ids(path, analyzer)} == {(1, 2)}


@pytest.mark.parametrize("fps", [0.2, 1.0, 5.0])
def test_ids_do_not_stay_with_seats(tmp_path, analyzer, fps):
    frames = [*seated(count=4), *seated("obama", "biden", count=4)]
    before, after = np.split(np.array(track_ids(write_clip(tmp_path / "seats.mp4", frames, fps=fps), analyzer)), 2)
    assert len({tuple(ids) for ids in before.tolist()}) == 1
    (left, right), *others = {tuple(ids) for ids in after.tolist()}
    assert not others
    assert before[0][0] != left
    assert before[0][1] != right


@pytest.mark.parametrize(("fps", "missing", "is_same"), [(1, 2, True), (1, 6, False), (0.2, 1, True), (5, 3, True)])
def test_person_who_leaves_for_a_while(tmp_path, analyzer, fps, missing, is_same):
    frames = seated(count=6 + missing, away=range(3, 3 + missing))
    results = track_ids(write_clip(tmp_path / "away.mp4", frames, fps=fps), analyzer)
    assert [len(ids) for ids in results] == [2] * 3 + [1] * missing + [2] * 3
    assert len({ids[0] for ids in results}) == 1
    assert (results[-1] == results[0]) is is_same


def test_own_frames_and_bytes_have_the_faces_of_the_file(tmp_path, analyzer):
    frames = seated(count=8)
    clip = write_clip(tmp_path / "clip.mkv", frames, fps=5)
    pairs = ((5 + index / 5, frame) for index, frame in enumerate(frames))
    expected = track_ids(clip, analyzer)
    assert expected == track_ids(clip.read_bytes(), analyzer) == track_ids(pairs, analyzer)
    assert expected == track_ids(frames, analyzer, fps=5)
    times_s = [frame.timestamp_s for frame in analyze_video(clip, analyzer=analyzer, fps=1)]
    assert times_s == pytest.approx([0, 1], abs=1e-3)


def test_frames_without_images_are_equal_otherwise(tmp_path, analyzer):
    clip = write_clip(tmp_path / "clip.mp4", seated(count=6), fps=5)
    with_images, without = (
        list(analyze_video(clip, analyzer=analyzer, keep_images=keep_images)) for keep_images in (True, False)
    )
    assert [frame.to_dict() for frame in without] == [frame.to_dict() for frame in with_images]
    assert {frame.image.shape for frame in with_images} == {(240, 320, 3)}
    assert {frame.image.shape for frame in without} == {(0, 0, 3)}
    assert sum(frame.image.nbytes for frame in without) == 0


def test_own_frames_are_recorded(tmp_path, analyzer):
    with VideoAnalysis(seated(count=6), analyzer, fps=5) as analysis:
        recording = record(analysis, analyzer.manifest, tmp_path / "out")
    assert {path.name for path in recording.files} == {
        *("faces.csv", "tracks.csv", "segments.csv", "annotated.mp4", "report.html")
    }
    assert "data:image" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with VideoAnalysis(seated(count=6), analyzer, keep_images=False) as analysis, pytest.raises(InputError):
        record(analysis, analyzer.manifest, tmp_path / "other")
