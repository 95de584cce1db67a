"""Live sources that are faster than the analysis: dropped frames and the adaptive detection interval."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mien.errors import InputError
from mien.inference.options import AnalysisOptions
from mien.recording import record
from mien.video import analysis as analysis_module
from mien.video.analysis import VideoAnalysis
from mien.video.io import frame_queue
from mien.video.io.reader import VideoReader
from mien.video.io.sources import DecodedFrame, VideoInfo
from mien.video.schedule import DETECTION_INTERVAL_S


class LiveReader:
    """A `VideoReader` of a camera, with a frame at regular times."""

    def __init__(self, source, fps=None, *, color="rgb", count=60, step_s=0.005):
        self.broken, self.problems, self.is_truncated, self.is_closed = 0, [], False, False
        self.has_failed = False
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
    """An `Analyzer` without faces that sleeps in every detection."""

    options = AnalysisOptions()
    action_unit_names = ()
    classifier = SimpleNamespace(has_affect=False)
    networks = dict.fromkeys(("face detector", "expression"), SimpleNamespace(device="cpu", precision="float32"))

    def __init__(self, seconds=0.02):
        self.seconds, self.detections = seconds, 0
        self.manifest = SimpleNamespace(
            labels=("calm", "glad"), abstain_below=0.0, sha256="0", name="none", version="0"
        )

    def detect(self, image, *, rotated):
        self.detections += 1
        time.sleep(self.seconds)
        return []

    def predict_faces(self, image, faces, mesh_options):
        return []


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", LiveReader)
    return "camera:0"


def test_keeps_newest_frame_and_counts_dropped_ones(live):
    with VideoAnalysis(live, SlowAnalyzer(), detect_every=1) as analysis:
        indices = []
        for frame in analysis:
            indices.append(frame.index)
            assert frame.image[0, 0, 0] == frame.index
    assert indices == sorted(set(indices))
    assert len(indices) < 45
    assert indices[-1] == 59  # the last frame is never dropped
    assert analysis.dropped == 60 - len(indices)
    assert analysis.reader.is_closed


def test_slow_analysis_detects_less_often(live):
    analyzer = SlowAnalyzer(0.05)
    with VideoAnalysis(live, analyzer) as analysis:
        frames = sum(1 for _ in analysis)
        assert analysis.follower.schedule.period_s > 0.1
    assert analyzer.detections <= 4  # in 0.3 seconds
    assert frames > 4 * analyzer.detections


def test_given_interval_is_fixed_and_files_drop_no_frame(live, monkeypatch, tmp_path):
    with VideoAnalysis(live, SlowAnalyzer(), detect_every=2) as analysis:
        assert sum(1 for _ in analysis) > 0
        assert analysis.follower.schedule.every == 2
    original = LiveReader.__init__

    def init_as_file(self, *args, **options):
        original(self, *args, **options, count=20, step_s=0.001)
        self.info = replace(self.info, is_live=False)

    monkeypatch.setattr(LiveReader, "__init__", init_as_file)
    with VideoAnalysis("clip.mp4", SlowAnalyzer(0.05)) as analysis:
        assert [frame.index for frame in analysis] == list(range(20))
        assert (analysis.dropped, analysis.follower.schedule.period_s) == (0, DETECTION_INTERVAL_S)


def test_live_recording_reports_dropped_frames(live, tmp_path):
    analyzer = SlowAnalyzer()
    with VideoAnalysis(live, analyzer, detect_every=1) as analysis:
        recording = record(analysis, analyzer.manifest, tmp_path / "out")
    assert recording.counts.dropped == 60 - recording.counts.frames > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("annotated.mp4", "faces.csv", "report.html", "segments.csv", "tracks.csv")
    ]
    with VideoReader(tmp_path / "out" / "annotated.mp4") as copy:
        assert sum(1 for _ in copy) == recording.counts.frames
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Dropped frames" in page
    assert "every frame" in page


def test_a_stalled_source_can_be_stopped(live, monkeypatch):
    is_over = threading.Event()

    def stall(self):
        yield DecodedFrame(0, 0.0, np.zeros((48, 64, 3), dtype=np.uint8))
        is_over.wait(20)

    def stop():
        is_over.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveReader, "__iter__", stall)
    with VideoAnalysis(live, SlowAnalyzer(), check_stop=stop) as analysis, pytest.raises(KeyboardInterrupt):
        list(analysis)
    assert analysis.reader.is_closed


def test_a_source_that_is_still_read_is_not_closed(live, monkeypatch):
    monkeypatch.setattr(frame_queue, "CLOSE_TIMEOUT_S", 0.05)
    is_over = threading.Event()

    def stall(self):
        yield DecodedFrame(0, 0.0, np.zeros((48, 64, 3), dtype=np.uint8))
        is_over.wait(20)

    monkeypatch.setattr(LiveReader, "__iter__", stall)
    with VideoAnalysis(live, SlowAnalyzer()) as analysis:
        stream = iter(analysis)
        next(stream)
        stream.close()
    assert not analysis.reader.is_closed
    is_over.set()
    limit_s = time.monotonic() + 10
    while any(thread.name == "mien-frames" for thread in threading.enumerate()):
        assert time.monotonic() < limit_s
        time.sleep(0.002)
    analysis.close()
    assert analysis.reader.is_closed


def test_rejects_interval_below_one(live):
    with pytest.raises(InputError, match="detect_every"):
        VideoAnalysis(live, SlowAnalyzer(), detect_every=0)
