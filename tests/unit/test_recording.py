"""A run's folder: what goes on after a failure at any point, and sources that have something odd about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mien import recording as recording_module
from mien.errors import InputError
from mien.inference.options import AnalysisOptions
from mien.recording import record
from mien.results import Expression, Face
from mien.video import analysis as analysis_module
from mien.video.analysis import VideoAnalysis
from mien.video.io.reader import VideoReader
from mien.video.io.sources import DecodedFrame, VideoInfo

LABELS = ("calm", "glad")
FRAMES = 20
BROKEN = (5, 6, 13, 19)


class Reader:
    """Stands for a `VideoReader` of 20 frames, some of them broken."""

    times_s = tuple(index / 10 for index in range(FRAMES))
    source_info = VideoInfo(
        source="clip.mp4", size_hw=(120, 160), fps=10, duration_s=2, frames=FRAMES, has_audio=False, is_live=False
    )  # fmt: skip

    def __init__(self, source, fps=None):
        self.info, self.broken, self.is_truncated, self._next = self.source_info, 0, False, 0

    def __iter__(self):
        for index in range(self._next, FRAMES):
            if index in BROKEN:
                self.broken += 1
            else:
                image = np.full((120, 160, 3), 100 + index, dtype=np.uint8)
                yield DecodedFrame(index, self.times_s[index], image)

    def skip_to(self, index, timestamp_s):
        assert self.times_s[index] == timestamp_s
        self._next = index + 1

    def close(self):
        pass


class Analyzer:
    """Finds one face that becomes glad."""

    detector_size = 640
    options = AnalysisOptions()
    manifest = SimpleNamespace(labels=LABELS, abstain_below=0.0, sha256="0", name="none", version="0")

    def detect(self, image, *, rotated):
        points = np.array([[60, 40], [90, 40], [75, 60], [62, 78], [88, 78]], dtype=np.float32)
        box = np.array([50, 20, 100, 90], dtype=np.float32)
        return [Face(bbox_xyxy=box, landmarks_xy=points, confidence=0.9)]

    def predict_faces(self, image, faces, **options):
        glad = (float(image[0, 0, 0]) - 100) / FRAMES
        shown = Expression(
            labels=LABELS, probabilities=np.array([1 - glad, glad]), label="calm", confidence=1 - glad
        )
        return [replace(face, expression=shown) for face in faces]


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", Reader)
    monkeypatch.setattr(
        recording_module, "CHECKPOINT_S", -1.0
    )  # all is brought to the disk after every frame


def go(folder, *, source="clip.mp4", analyzer=None, **options):
    analyzer = analyzer or Analyzer()
    with VideoAnalysis(source, analyzer, fps=options.pop("fps", None)) as analysis:
        return record(analysis, analyzer.manifest, folder, **{"report": False, **options})


def times(path):
    with VideoReader(path) as frames:
        return [round(frame.timestamp_s, 4) for frame in frames]


class Killed(BaseException):
    """Stands for a kill."""


def kill_at(frames):
    def on_frame(_, counts):
        if counts.frames == frames:
            raise Killed

    return on_frame


def test_a_run_tells_how_many_frames_are_broken(tmp_path):
    counts = go(tmp_path).counts
    assert (counts.frames, counts.faces, counts.broken, counts.end_s) == (16, 16, 4, 1.8)
    assert times(tmp_path / "annotated.mp4") == [index / 10 for index in range(20) if index not in BROKEN]


@pytest.mark.parametrize("kills", [(1,), (4, 5), (6, 12), (2, 9, 16)])
def test_a_run_that_breaks_off_anywhere_goes_on_exactly(tmp_path, kills):
    straight = go(tmp_path / "straight")
    for at in kills:
        with pytest.raises(Killed):
            go(tmp_path / "out", resume=True, on_frame=kill_at(at))
        assert (tmp_path / "out" / "run.json").is_file()
    resumed = go(tmp_path / "out", resume=True)
    table = (tmp_path / "out" / "faces.csv").read_bytes()
    assert table == (tmp_path / "straight" / "faces.csv").read_bytes()
    assert times(tmp_path / "out" / "annotated.mp4") == times(tmp_path / "straight" / "annotated.mp4")
    assert replace(resumed.counts, work_s=0) == replace(straight.counts, work_s=0)
    assert resumed.timeline.tracks[0].shares == straight.timeline.tracks[0].shares


def test_a_run_that_breaks_off_after_its_video_was_joined(tmp_path, monkeypatch):
    def fail(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "summarize_rows", fail)
        with pytest.raises(Killed):
            go(tmp_path)
    joined = (tmp_path / "annotated.mp4").read_bytes()
    recording = go(tmp_path, resume=True)
    assert (tmp_path / "annotated.mp4").read_bytes() == joined
    assert sorted(path.name for path in recording.files) == ["annotated.mp4", "faces.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotated.mp4", "faces.csv"]


def test_only_the_same_run_is_gone_on_with(tmp_path):
    clip, folder = tmp_path / "clip.mp4", tmp_path / "out"
    clip.write_bytes(b"12345")
    with pytest.raises(Killed):
        go(folder, source=clip, on_frame=kill_at(3))
    other = Analyzer()
    other.min_confidence = 0.9
    for options in ({"analyzer": other}, {"annotate": False}, {"fps": 5}, {"source": "other.mp4"}):
        with pytest.raises(InputError, match="another video, model or option"):
            go(folder, resume=True, **{"source": clip, **options})
    clip.write_bytes(b"123456")
    with pytest.raises(InputError, match="another video"):
        go(folder, source=clip, resume=True)
    clip.write_bytes(b"12345")
    with pytest.raises(InputError, match="--resume"):
        go(folder, source=clip)
    (folder / "rows.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        go(folder, source=clip, resume=True)


def test_a_kill_while_the_joined_parts_are_removed_keeps_the_video(tmp_path, monkeypatch):
    unlink = Path.unlink

    def killed(path, missing_ok=False):
        if ".segment-" in path.name:
            raise RuntimeError("killed")
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(RuntimeError, match="killed"):
            go(tmp_path)
    whole = (tmp_path / "annotated.mp4").read_bytes()
    left = sorted(tmp_path.glob("annotated.mp4.segment-*"))
    assert left
    left[-1].unlink()  # it had begun to remove them
    recording = go(tmp_path, resume=True)
    assert [path.name for path in recording.files][:2] == ["faces.csv", "annotated.mp4"]
    assert (tmp_path / "annotated.mp4").read_bytes() == whole
    assert not list(tmp_path.glob("annotated.mp4.segment-*"))


def test_ctrl_c_before_the_first_frame_claims_no_video(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    (tmp_path / "annotated.mp4").write_bytes(b"of another run")
    monkeypatch.setattr("mien.video.follower.FaceFollower.step", interrupt)
    recording = go(tmp_path)
    assert recording.was_stopped
    assert [path.name for path in recording.files] == ["faces.csv"]
    assert not (tmp_path / "annotated.mp4").exists()


def test_two_frames_at_nearly_the_same_time_do_not_end_the_run(tmp_path, monkeypatch):
    shifted = [*Reader.times_s]
    shifted[3] = shifted[2] + 1e-6
    monkeypatch.setattr(Reader, "times_s", tuple(shifted))
    counts = go(tmp_path).counts
    assert (counts.frames, counts.faces) == (16, 16)
    assert len(times(tmp_path / "annotated.mp4")) == 15


def test_the_sound_of_a_video_on_the_web_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Reader, "source_info", replace(Reader.source_info, has_audio=True))
    recording = go(tmp_path, source="https://example.org/clip.mp4")
    assert [path.name for path in recording.files] == ["faces.csv", "annotated.mp4"]


def test_another_kind_of_table_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.jsonl or \.parquet"):
        go(tmp_path / "out", table=tmp_path / "faces.xlsx")
    assert not (tmp_path / "out").exists()
