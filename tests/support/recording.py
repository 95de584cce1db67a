"""Recording without networks: a reader of gray frames, an analyzer of one face, and ends of a run."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from mien.inference.options import AnalysisOptions
from mien.recording import record
from mien.results import Expression, Face
from mien.video.analysis import VideoAnalysis
from mien.video.io.reader import VideoReader
from mien.video.io.sources import DecodedFrame, VideoInfo

LABELS = ("calm", "glad")
FRAMES = 20
BROKEN = (5, 6, 13, 19)


class FakeReader:
    """A `VideoReader` of 20 frames, some of them broken."""

    times_s = tuple(index / 10 for index in range(FRAMES))
    source_info = VideoInfo(
        source="clip.mp4", size_hw=(120, 160), fps=10, duration_s=2, frames=FRAMES, has_audio=False, is_live=False
    )  # fmt: skip

    has_exact_times = True
    has_failed = False

    def __init__(self, source, fps=None, color="rgb"):
        self.info, self.broken, self.problems, self.errors, self.is_truncated = self.source_info, 0, [], [], False
        self._next = 0

    def __iter__(self):
        for index in range(self._next, FRAMES):
            if index in BROKEN:
                self.broken += 1
            else:
                image = np.full((120, 160, 3), 100 + index, dtype=np.uint8)
                yield DecodedFrame(index, self.times_s[index], image)

    def skip_to(self, index, timestamp_s, *, seek):
        assert seek == self.has_exact_times
        assert self.times_s[index] == timestamp_s
        self._next = index + 1

    def restore_errors(self, errors, broken):
        assert errors == []

    def close(self):
        pass


class FakeAnalyzer:
    """An `Analyzer` with one face whose expression changes from calm to glad."""

    classifier = SimpleNamespace(has_affect=False)
    networks = dict.fromkeys(("face detector", "expression"), SimpleNamespace(device="cpu", precision="float32"))
    options = AnalysisOptions()
    manifest = SimpleNamespace(labels=LABELS, abstain_below=0.0, sha256="0", name="none", version="0")
    action_unit_names = ()

    def detect(self, image, *, rotated):
        points = np.array([[60, 40], [90, 40], [75, 60], [62, 78], [88, 78]], dtype=np.float32)
        box = np.array([50, 20, 100, 90], dtype=np.float32)
        return [Face(bbox_xyxy=box, landmarks_xy=points, confidence=0.9)]

    def predict_faces(self, image, faces, mesh_options):
        glad = (float(image[0, 0, 0]) - 100) / FRAMES
        expression = Expression(
            labels=LABELS, probabilities=np.array([1 - glad, glad]), label="calm", confidence=1 - glad
        )
        return [replace(face, expression=expression) for face in faces]


def run(folder, *, source="clip.mp4", analyzer=None, fps=None, blur=None, check_stop=None, **options):
    analyzer = analyzer or FakeAnalyzer()
    with VideoAnalysis(source, analyzer, fps=fps, blur=blur, check_stop=check_stop) as analysis:
        return record(analysis, analyzer.manifest, folder, **{"report": False, **options})


def times(path):
    with VideoReader(path) as frames:
        return [round(frame.timestamp_s, 4) for frame in frames]


class Killed(BaseException):
    """A kill."""


def kill_at(frames):
    def on_frame(_, counts):
        if counts.frames == frames:
            raise Killed

    return on_frame


def stop_at(frames):
    def on_frame(_, counts):
        if counts.frames == frames:
            raise KeyboardInterrupt

    return on_frame
