"""Recording in a second pass over a video: hidden faces, and stops."""

from __future__ import annotations

import numpy as np
import pytest

from mien import recording as recording_module
from mien.errors import InputError
from mien.inference.options import AnalysisOptions
from mien.recording import record
from mien.video import analysis as analysis_module
from mien.video.analysis import VideoAnalysis
from mien.video.io.reader import VideoReader
from mien.video.io.sources import DecodedFrame
from support.recording import FRAMES, FakeAnalyzer, FakeReader, Killed, kill_at, run, stop_at, times


@pytest.fixture(autouse=True)
def fake_reader(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", FakeReader)
    # A checkpoint after every frame.
    monkeypatch.setattr(recording_module, "CHECKPOINT_S", -1.0)


class NoisyReader(FakeReader):
    """Frames with a face of noise."""

    def __iter__(self):
        noise = np.random.default_rng(0).integers(100, 120, (120, 160, 3), dtype=np.uint8)
        noise[20:90, 50:100] = np.random.default_rng(1).integers(0, 256, (70, 50, 3), dtype=np.uint8)
        for index in range(self._next, FRAMES):
            noise[0, 0] = 100 + index
            yield DecodedFrame(index, self.times_s[index], noise.copy())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class MissingAnalyzer(FakeAnalyzer):
    """Finds the face after 0.4 seconds, and in every second frame."""

    def detect(self, image, *, rotated):
        index = int(image[0, 0, 0]) - 100
        return super().detect(image, rotated=rotated) if index >= 4 and index % 2 == 0 else []


def roughness(image):
    """Return the mean difference between neighboring pixels in the middle of the face, where nothing is drawn."""
    return np.abs(np.diff(image[30:44, 56:64].astype(int), axis=1)).mean()


@pytest.mark.parametrize("source", ["clip.mp4", b"content that is read once"])
def test_blur_hides_a_face_in_every_frame_also_where_it_is_missed(tmp_path, monkeypatch, source):
    monkeypatch.setattr(analysis_module, "VideoReader", NoisyReader)
    monkeypatch.setattr("mien.video.annotation.VideoReader", NoisyReader)
    analyzer = MissingAnalyzer()
    with VideoAnalysis(source, analyzer, detect_every=1) as analysis:
        record(analysis, analyzer.manifest, tmp_path / "open", report=False)
        assert analysis.follower.scanner.may_reduce
    with VideoAnalysis(source, analyzer, detect_every=1, blur="all") as analysis:
        record(analysis, analyzer.manifest, tmp_path / "hidden", report=False)
        assert not analysis.follower.scanner.may_reduce
    with VideoReader(tmp_path / "open" / "annotated.mp4") as frames:
        assert min(roughness(frame.image) for frame in frames) > 15
    with VideoReader(tmp_path / "hidden" / "annotated.mp4") as frames:
        values = [roughness(frame.image) for frame in frames]
    assert len(values) == FRAMES
    assert max(values) < 5


def test_blur_is_part_of_the_settings_of_a_run(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, on_frame=kill_at(3))
    with pytest.raises(InputError, match=r"other settings \(blur\)"):
        run(tmp_path, resume=True, blur="all")


def test_blur_refuses_a_limited_number_of_faces_before_the_source_is_opened(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", None)
    limited = FakeAnalyzer()
    limited.options = AnalysisOptions(max_faces=1)
    with pytest.raises(InputError, match="--max-faces"):
        VideoAnalysis("clip.mp4", limited, blur="all")


class LateAnalyzer(FakeAnalyzer):
    """Finds the face after a second."""

    def detect(self, image, *, rotated):
        return super().detect(image, rotated=rotated) if int(image[0, 0, 0]) - 100 >= 10 else []


@pytest.mark.parametrize("source", ["clip.mp4", b"content that is read once"])
def test_blur_hides_a_newcomer_from_the_detection_before_its_first_box(tmp_path, monkeypatch, source):
    monkeypatch.setattr(analysis_module, "VideoReader", NoisyReader)
    monkeypatch.setattr("mien.video.annotation.VideoReader", NoisyReader)
    analyzer = LateAnalyzer()
    with VideoAnalysis(source, analyzer, detect_every=10, blur="all") as analysis:
        record(analysis, analyzer.manifest, tmp_path, report=False)
    with VideoReader(tmp_path / "annotated.mp4") as frames:
        values = [roughness(frame.image) for frame in frames]
    assert len(values) == FRAMES
    assert max(values) < 5


def test_reports_an_annotated_copy_that_ends_early(tmp_path, monkeypatch):
    class ShortReader(NoisyReader):
        def __iter__(self):
            return (frame for frame in super().__iter__() if frame.index < 8)

    monkeypatch.setattr(analysis_module, "VideoReader", NoisyReader)
    for reader, is_truncated in ((NoisyReader, False), (ShortReader, True)):
        monkeypatch.setattr("mien.video.annotation.VideoReader", reader)
        assert run(tmp_path, blur="all").is_copy_truncated == is_truncated
    assert len(times(tmp_path / "annotated.mp4")) == 8


class Stop:
    """Raises KeyboardInterrupt from its Nth call on."""

    def __init__(self, at):
        self.calls, self.at = 0, at

    def __call__(self, *_):
        self.calls += 1
        if self.calls >= self.at:
            raise KeyboardInterrupt


@pytest.fixture
def noisy(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", NoisyReader)
    monkeypatch.setattr("mien.video.annotation.VideoReader", NoisyReader)


def test_resumes_after_a_stop_in_the_second_pass(tmp_path, noisy, monkeypatch):
    # No checkpoint but that at the end of the first pass.
    monkeypatch.setattr(recording_module, "CHECKPOINT_S", 60.0)
    run(tmp_path / "whole", blur="all")
    stopped = run(tmp_path / "out", blur="all", check_stop=Stop(5))
    assert (stopped.was_stopped, stopped.is_copy_stopped, stopped.is_resumable) == (True, True, True)
    assert stopped.counts.frames == FRAMES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("faces.csv", "rows.jsonl", "run.json", "segments.csv", "tracks.csv")
    ]
    resumed = run(tmp_path / "out", blur="all", resume=True)
    assert (resumed.was_stopped, resumed.counts.frames) == (False, FRAMES)
    for name in ("faces.csv", "tracks.csv", "annotated.mp4"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "out").glob("*.json*"))


def test_a_run_stopped_in_the_first_pass_completes_the_second(tmp_path, noisy):
    stopped = run(tmp_path, blur="all", on_frame=stop_at(8), check_stop=Stop(1))
    assert (stopped.was_stopped, stopped.is_copy_stopped) == (True, False)
    assert len(times(tmp_path / "annotated.mp4")) == 8


def test_a_second_stop_ends_the_second_pass_and_the_run_resumes(tmp_path, noisy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("mien.video.annotation.AnnotatedVideoWriter.add", Stop(3))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, blur="all", on_frame=stop_at(8))
    assert run(tmp_path, blur="all", resume=True).counts.frames == FRAMES
    assert len(times(tmp_path / "annotated.mp4")) == FRAMES
