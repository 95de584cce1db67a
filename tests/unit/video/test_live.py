"""Live sources that are faster than the analysis: the newest frame wins, and faces are searched as often as can be."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mien.errors import InputError
from mien.inference.options import AnalysisOptions
from mien.recording import record
from mien.video import analysis as analysis_module
from mien.video.analysis import MAX_DETECT_EVERY, VideoAnalysis, _AdaptiveInterval
from mien.video.follower import DETECT_EVERY
from mien.video.io.reader import VideoReader
from mien.video.io.sources import DecodedFrame, VideoInfo


class LiveReader:
    """Stands for a `VideoReader` of a camera: a frame every so often, whoever takes it."""

    def __init__(self, source, fps=None, *, count=60, step_s=0.005):
        self.broken, self.is_truncated, self.is_closed = 0, False, False
        self.info = VideoInfo(
            source="camera 0", size_hw=(48, 64), fps=1 / step_s, duration_s=None, frames=None,
            has_audio=False, is_live=True,
        )  # fmt: skip
        self._count, self._step_s = count, step_s

    def __iter__(self):
        started_s = time.monotonic()
        for index in range(self._count):
            time.sleep(max(0.0, started_s + index * self._step_s - time.monotonic()))
            yield DecodedFrame(index, index * self._step_s, np.full((48, 64, 3), index, dtype=np.uint8))

    def close(self):
        self.is_closed = True


class SlowAnalyzer:
    """Finds nothing, and takes its time for it."""

    detector_size = 640
    options = AnalysisOptions()

    def __init__(self, seconds=0.02):
        self.seconds, self.searched = seconds, 0
        self.manifest = SimpleNamespace(
            labels=("calm", "glad"), abstain_below=0.0, sha256="0", name="none", version="0"
        )

    def detect(self, image, *, rotated):
        self.searched += 1
        time.sleep(self.seconds)
        return []

    def predict_faces(self, image, faces, **options):
        return []


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", LiveReader)
    return "camera:0"


def test_the_newest_frame_wins_and_the_others_are_counted(live):
    with VideoAnalysis(live, SlowAnalyzer(), detect_every=1) as analysis:
        indices = []
        for frame in analysis:
            indices.append(frame.index)
            assert frame.image[0, 0, 0] == frame.index
    assert indices == sorted(set(indices))
    assert len(indices) < 45
    assert indices[-1] == 59  # the last one is never dropped
    assert analysis.dropped == 60 - len(indices)
    assert analysis.reader.is_closed


def test_a_slow_analysis_searches_less_often_and_stays_near_the_newest(live):
    analyzer = SlowAnalyzer()
    with VideoAnalysis(live, analyzer) as analysis:
        frames = sum(1 for _ in analysis)
        assert analysis.follower.detect_every > DETECT_EVERY
    assert frames > 1.5 * analyzer.searched


def test_every_stays_as_told_and_a_file_drops_nothing(live, monkeypatch, tmp_path):
    with VideoAnalysis(live, SlowAnalyzer(), detect_every=2) as analysis:
        assert sum(1 for _ in analysis) > 0
        assert analysis.follower.detect_every == 2
    usual = LiveReader.__init__

    def as_file(self, *words, **options):
        usual(self, *words, **options, count=20, step_s=0.001)
        self.info = replace(self.info, is_live=False)

    monkeypatch.setattr(LiveReader, "__init__", as_file)
    with VideoAnalysis("clip.mp4", SlowAnalyzer(0.005)) as analysis:
        assert [frame.index for frame in analysis] == list(range(20))
        assert (analysis.dropped, analysis.follower.detect_every) == (0, DETECT_EVERY)


def test_a_live_recording_tells_what_was_dropped(live, tmp_path):
    analyzer = SlowAnalyzer()
    with VideoAnalysis(live, analyzer, detect_every=1) as analysis:
        recording = record(analysis, analyzer.manifest, tmp_path / "out")
    assert recording.counts.dropped == 60 - recording.counts.frames > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("annotated.mp4", "faces.csv", "report.html")
    ]
    with VideoReader(tmp_path / "out" / "annotated.mp4") as copy:
        assert sum(1 for _ in copy) == recording.counts.frames
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Dropped frames" in page
    assert "as often as the machine keeps up with" in page


@pytest.mark.parametrize(
    ("with_s", "without_s", "detect_every"),
    [
        (0.01, 0.001, 1),  # time enough to read every frame of 25 a second
        (0.05, 0.002, 2),
        (0.08, 0.004, 3),
        (0.2, 0.004, 7),
        (0.2, 0.033, MAX_DETECT_EVERY),
        (0.2, 0.05, MAX_DETECT_EVERY),  # not even following keeps up
        (10.0, 0.001, MAX_DETECT_EVERY),
    ],
)
def test_the_pace_leaves_time_to_spare(with_s, without_s, detect_every):
    pace = _AdaptiveInterval(25)
    assert pace.detect_every == DETECT_EVERY
    for _ in range(60):
        pace.update(without_s, is_detection=False)
        pace.update(with_s, is_detection=True)
    assert pace.detect_every == detect_every
    spent_s = with_s + (pace.detect_every - 1) * without_s
    assert pace.detect_every == MAX_DETECT_EVERY or spent_s <= pace.detect_every / 25


def test_the_pace_follows_a_machine_that_becomes_slower_and_faster():
    pace = _AdaptiveInterval(None)
    for seconds, detect_every in ((0.01, 1), (0.15, 5), (0.01, 1)):
        for _ in range(40):
            pace.update(seconds, is_detection=True)
        assert pace.detect_every == detect_every


def test_every_below_one_is_an_error(live):
    with pytest.raises(InputError, match="detect_every"):
        VideoAnalysis(live, SlowAnalyzer(), detect_every=0)
