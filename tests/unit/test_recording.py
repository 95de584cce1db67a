"""Recording into a folder: resume after a failure at any point, and unusual sources."""

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


class FakeReader:
    """A `VideoReader` of 20 frames, some of them broken."""

    times_s = tuple(index / 10 for index in range(FRAMES))
    source_info = VideoInfo(
        source="clip.mp4", size_hw=(120, 160), fps=10, duration_s=2, frames=FRAMES, has_audio=False, is_live=False
    )  # fmt: skip

    def __init__(self, source, fps=None, color="rgb"):
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


class FakeAnalyzer:
    """An `Analyzer` with one face whose expression changes from calm to glad."""

    detector_size = 640
    options = AnalysisOptions()
    manifest = SimpleNamespace(labels=LABELS, abstain_below=0.0, sha256="0", name="none", version="0")
    action_unit_names = ()

    def detect(self, image, *, rotated):
        points = np.array([[60, 40], [90, 40], [75, 60], [62, 78], [88, 78]], dtype=np.float32)
        box = np.array([50, 20, 100, 90], dtype=np.float32)
        return [Face(bbox_xyxy=box, landmarks_xy=points, confidence=0.9)]

    def predict_faces(self, image, faces, **options):
        glad = (float(image[0, 0, 0]) - 100) / FRAMES
        expression = Expression(
            labels=LABELS, probabilities=np.array([1 - glad, glad]), label="calm", confidence=1 - glad
        )
        return [replace(face, expression=expression) for face in faces]


@pytest.fixture(autouse=True)
def fake_reader(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", FakeReader)
    # A checkpoint after every frame.
    monkeypatch.setattr(recording_module, "CHECKPOINT_S", -1.0)


def run(folder, *, source="clip.mp4", analyzer=None, **options):
    analyzer = analyzer or FakeAnalyzer()
    with VideoAnalysis(source, analyzer, fps=options.pop("fps", None)) as analysis:
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


def test_counts_broken_frames(tmp_path):
    counts = run(tmp_path).counts
    assert (counts.frames, counts.faces, counts.broken, counts.end_s) == (16, 16, 4, 1.8)
    assert times(tmp_path / "annotated.mp4") == [index / 10 for index in range(20) if index not in BROKEN]


@pytest.mark.parametrize("kills", [(1,), (4, 5), (6, 12), (2, 9, 16)])
def test_resumed_run_equals_uninterrupted_run(tmp_path, kills):
    uninterrupted = run(tmp_path / "uninterrupted")
    for at in kills:
        with pytest.raises(Killed):
            run(tmp_path / "out", resume=True, on_frame=kill_at(at))
        assert (tmp_path / "out" / "run.json").is_file()
    resumed = run(tmp_path / "out", resume=True)
    table = (tmp_path / "out" / "faces.csv").read_bytes()
    assert table == (tmp_path / "uninterrupted" / "faces.csv").read_bytes()
    assert times(tmp_path / "out" / "annotated.mp4") == times(tmp_path / "uninterrupted" / "annotated.mp4")
    assert replace(resumed.counts, work_s=0) == replace(uninterrupted.counts, work_s=0)
    assert resumed.timeline.tracks[0].shares == uninterrupted.timeline.tracks[0].shares


def test_resumes_after_the_video_was_joined(tmp_path, monkeypatch):
    def fail(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "summarize_rows", fail)
        with pytest.raises(Killed):
            run(tmp_path)
    joined = (tmp_path / "annotated.mp4").read_bytes()
    recording = run(tmp_path, resume=True)
    assert (tmp_path / "annotated.mp4").read_bytes() == joined
    assert sorted(path.name for path in recording.files) == ["annotated.mp4", "faces.csv", "segments.csv", "tracks.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "annotated.mp4",
        "faces.csv",
        "segments.csv",
        "tracks.csv",
    ]


def test_refuses_to_resume_another_run(tmp_path):
    clip, folder = tmp_path / "clip.mp4", tmp_path / "out"
    clip.write_bytes(b"12345")
    with pytest.raises(Killed):
        run(folder, source=clip, on_frame=kill_at(3))
    other = FakeAnalyzer()
    other.options = AnalysisOptions(min_confidence=0.9)
    for options in ({"analyzer": other}, {"annotate": False}, {"fps": 5}, {"source": "other.mp4"}):
        with pytest.raises(InputError, match="another video, model or option"):
            run(folder, resume=True, **{"source": clip, **options})
    clip.write_bytes(b"123456")
    with pytest.raises(InputError, match="another video"):
        run(folder, source=clip, resume=True)
    clip.write_bytes(b"12345")
    with pytest.raises(InputError, match="--resume"):
        run(folder, source=clip)
    (folder / "rows.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        run(folder, source=clip, resume=True)


def test_kill_while_removing_segments_keeps_the_video(tmp_path, monkeypatch):
    unlink = Path.unlink

    def unlink_until_segment(path, missing_ok=False):
        if ".segment-" in path.name:
            raise RuntimeError("killed")
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink_until_segment)
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path)
    video = (tmp_path / "annotated.mp4").read_bytes()
    segments = sorted(tmp_path.glob("annotated.mp4.segment-*"))
    assert segments
    segments[-1].unlink()  # removed before the kill
    recording = run(tmp_path, resume=True)
    assert [path.name for path in recording.files][-1] == "annotated.mp4"
    assert (tmp_path / "annotated.mp4").read_bytes() == video
    assert not list(tmp_path.glob("annotated.mp4.segment-*"))


def test_ctrl_c_before_first_frame_leaves_no_video(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    (tmp_path / "annotated.mp4").write_bytes(b"of another run")
    monkeypatch.setattr("mien.video.follower.FaceFollower.step", interrupt)
    recording = run(tmp_path)
    assert recording.was_stopped
    assert [path.name for path in recording.files] == ["faces.csv", "tracks.csv", "segments.csv"]
    assert not (tmp_path / "annotated.mp4").exists()


def test_accepts_two_frames_at_nearly_the_same_time(tmp_path, monkeypatch):
    shifted = [*FakeReader.times_s]
    shifted[3] = shifted[2] + 1e-6
    monkeypatch.setattr(FakeReader, "times_s", tuple(shifted))
    counts = run(tmp_path).counts
    assert (counts.frames, counts.faces) == (16, 16)
    assert len(times(tmp_path / "annotated.mp4")) == 15


def test_leaves_out_audio_of_a_url(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeReader, "source_info", replace(FakeReader.source_info, has_audio=True))
    recording = run(tmp_path, source="https://example.org/clip.mp4")
    assert [path.name for path in recording.files] == ["faces.csv", "tracks.csv", "segments.csv", "annotated.mp4"]


def test_rejects_unknown_table_format(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.jsonl or \.parquet"):
        run(tmp_path / "out", table=tmp_path / "faces.xlsx")
    assert not (tmp_path / "out").exists()


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
    with VideoAnalysis(source, analyzer, detect_every=1) as analysis:
        record(analysis, analyzer.manifest, tmp_path / "hidden", report=False, blur="all")
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
    with pytest.raises(InputError, match="another video, model or option"):
        run(tmp_path, resume=True, blur="all")


def test_blur_refuses_a_limited_number_of_faces(tmp_path):
    limited = FakeAnalyzer()
    limited.options = AnalysisOptions(max_faces=1)
    with pytest.raises(InputError, match="--max-faces"):
        run(tmp_path, analyzer=limited, blur="all")


class LateAnalyzer(FakeAnalyzer):
    """Finds the face after a second."""

    def detect(self, image, *, rotated):
        return super().detect(image, rotated=rotated) if int(image[0, 0, 0]) - 100 >= 10 else []


@pytest.mark.parametrize("source", ["clip.mp4", b"content that is read once"])
def test_blur_hides_a_newcomer_from_the_detection_before_its_first_box(tmp_path, monkeypatch, source):
    monkeypatch.setattr(analysis_module, "VideoReader", NoisyReader)
    monkeypatch.setattr("mien.video.annotation.VideoReader", NoisyReader)
    analyzer = LateAnalyzer()
    with VideoAnalysis(source, analyzer, detect_every=10) as analysis:
        record(analysis, analyzer.manifest, tmp_path, report=False, blur="all")
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
