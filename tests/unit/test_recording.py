"""Recording into a folder: resume after a failure at any point, and unusual sources."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from mien import recording as recording_module
from mien.errors import InputError
from mien.inference.options import AnalysisOptions
from mien.video import analysis as analysis_module
from mien.video.io.reader import VideoReader
from support.recording import BROKEN, FakeAnalyzer, FakeReader, Killed, kill_at, run, stop_at, times


@pytest.fixture(autouse=True)
def fake_reader(monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", FakeReader)
    # A checkpoint after every frame.
    monkeypatch.setattr(recording_module, "CHECKPOINT_S", -1.0)


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


def fail(*_, **__):
    raise Killed


def test_resumed_run_counts_as_broken_only_broken_frames_of_a_sampled_video(tmp_path, monkeypatch):
    class SampledReader(FakeReader):
        def __iter__(self):
            return (frame for frame in super().__iter__() if frame.index % 4 == 0)

    monkeypatch.setattr(analysis_module, "VideoReader", SampledReader)
    assert run(tmp_path / "whole", fps=2.5).counts.broken == 4
    for at in (2, 3):
        with pytest.raises(Killed):
            run(tmp_path / "out", fps=2.5, resume=True, on_frame=kill_at(at))
    assert run(tmp_path / "out", fps=2.5, resume=True).counts.broken == 4


@pytest.mark.parametrize("has_exact_times", [True, False])
def test_corrected_times_are_not_used_to_seek(tmp_path, monkeypatch, has_exact_times):
    monkeypatch.setattr(FakeReader, "has_exact_times", has_exact_times)
    with pytest.raises(Killed):
        run(tmp_path, on_frame=kill_at(8))
    seeks, report_seeks = [], []

    def skip_to(self, index, timestamp_s, *, seek):
        seeks.append(seek)
        self._next = index + 1

    monkeypatch.setattr(FakeReader, "skip_to", skip_to)
    # a new reader has not corrected any time yet
    monkeypatch.setattr(FakeReader, "has_exact_times", True)
    run(tmp_path, resume=True)
    assert seeks == [has_exact_times]
    monkeypatch.setattr(FakeReader, "has_exact_times", has_exact_times)
    monkeypatch.setattr(recording_module, "frames_at", lambda *_, seek, **__: report_seeks.append(seek) or [])
    run(tmp_path / "report", report=True)
    assert set(report_seeks) == {has_exact_times}


def test_resumes_after_the_video_was_joined(tmp_path, monkeypatch):
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


def test_resumes_a_stopped_run_that_was_killed_after_its_partial_copy_was_joined(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "summarize_rows", fail)
        with pytest.raises(Killed):
            run(tmp_path, on_frame=stop_at(8))
    assert len(times(tmp_path / "annotated.mp4")) == 8
    assert not run(tmp_path, resume=True).was_stopped
    assert len(times(tmp_path / "annotated.mp4")) == 16


def test_resumes_a_resumed_run_that_was_killed_after_its_copy_was_joined(tmp_path, monkeypatch):
    run(tmp_path, on_frame=stop_at(8))
    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "CHECKPOINT_S", 60.0)
        patch.setattr(recording_module, "summarize_rows", fail)
        with pytest.raises(Killed):
            run(tmp_path, resume=True)
    run(tmp_path, resume=True)
    assert len(times(tmp_path / "annotated.mp4")) == 16


def test_refuses_to_resume_another_run(tmp_path):
    clip, folder = tmp_path / "clip.mp4", tmp_path / "out"
    clip.write_bytes(b"12345")
    with pytest.raises(Killed):
        run(folder, source=clip, on_frame=kill_at(3))
    other = FakeAnalyzer()
    other.options = AnalysisOptions(min_confidence=0.9)
    for name, options in (
        ("min_confidence", {"analyzer": other}),
        ("annotate", {"annotate": False}),
        ("fps", {"fps": 5}),
        ("source, size and time of the file", {"source": "other.mp4"}),
    ):
        with pytest.raises(InputError, match=rf"out belongs to a run with other settings \({name}\)"):
            run(folder, resume=True, **{"source": clip, **options})
    clip.write_bytes(b"123456")
    with pytest.raises(InputError, match=r"other settings \(size and time of the file\); give the same"):
        run(folder, source=clip, resume=True)
    clip.write_bytes(b"12345")
    with pytest.raises(InputError, match="--resume"):
        run(folder, source=clip)
    (folder / "rows.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        run(folder, source=clip, resume=True)


def test_refuses_to_resume_a_file_that_was_replaced(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"12345")
    with pytest.raises(Killed):
        run(tmp_path / "out", source=clip, on_frame=kill_at(3))
    time_ns = clip.stat().st_mtime_ns
    os.utime(clip, ns=(time_ns, time_ns + 1_000_000))
    with pytest.raises(InputError, match=r"other settings \(size and time of the file\); give the same"):
        run(tmp_path / "out", source=clip, resume=True)


def test_refuses_to_resume_a_folder_of_images_that_has_grown(tmp_path, monkeypatch):
    monkeypatch.setattr(analysis_module, "VideoReader", VideoReader)
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(10, 16):
        Image.new("RGB", (160, 120), (100, 100, 100)).save(frames / f"{index}.png")
    run(tmp_path / "out", source=frames, on_frame=stop_at(3))
    Image.new("RGB", (160, 120)).save(frames / "05.png")
    with pytest.raises(InputError, match=r"other settings \(size and time of the file\); give the same"):
        run(tmp_path / "out", source=frames, resume=True)
    (frames / "05.png").unlink()
    assert run(tmp_path / "out", source=frames, resume=True).counts.frames == 6


@pytest.mark.parametrize("role", ["face detector", "expression"])
@pytest.mark.parametrize("setting", [{"precision": "int8"}, {"device": "cuda"}])
def test_refuses_to_resume_on_another_device_or_with_another_precision(tmp_path, role, setting):
    with pytest.raises(Killed):
        run(tmp_path, on_frame=kill_at(3))
    other = FakeAnalyzer()
    other.networks = {**other.networks, role: SimpleNamespace(**{**vars(other.networks[role]), **setting})}
    with pytest.raises(InputError, match=rf"other settings \({next(iter(setting))}\)"):
        run(tmp_path, resume=True, analyzer=other)
    assert run(tmp_path, resume=True).counts.frames == 16


def test_refuses_a_folder_that_another_run_uses(tmp_path):
    pytest.importorskip("fcntl")
    messages = []

    def run_again(_, counts):
        if counts.frames in (3, 8):
            with pytest.raises(InputError, match="is in use by another run") as caught:
                run(tmp_path, resume=counts.frames == 8)
            messages.append(str(caught.value))

    assert run(tmp_path, on_frame=run_again).counts.frames == 16
    assert len(messages) == 2
    assert messages[0].startswith(str(tmp_path))
    assert run(tmp_path).counts.frames == 16


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_earlier_outputs(folder):
    for name in ("annotated.mp4", "faces.csv", "report.html", "turns.csv", "tracks.csv"):
        (folder / name).write_bytes(b"of another video")
    (folder / "notes.txt").touch()


def test_removes_outputs_of_an_earlier_run_that_it_does_not_write(tmp_path):
    write_earlier_outputs(tmp_path)
    run(tmp_path, annotate=False)
    assert names(tmp_path) == ["faces.csv", "notes.txt", "segments.csv", "tracks.csv"]
    write_earlier_outputs(tmp_path)
    run(tmp_path, table=tmp_path / "faces.jsonl")
    assert names(tmp_path) == ["annotated.mp4", "faces.jsonl", "notes.txt", "segments.csv", "tracks.csv"]


def test_keeps_its_source_and_files_that_are_not_of_a_run(tmp_path):
    write_earlier_outputs(tmp_path)
    run(tmp_path, source=tmp_path / "annotated.mp4", annotate=False)
    assert (tmp_path / "annotated.mp4").read_bytes() == b"of another video"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "report.html").write_bytes(b"written by another program")
    run(tmp_path / "own")
    assert (tmp_path / "own" / "report.html").read_bytes() == b"written by another program"


def test_a_refused_run_removes_nothing(tmp_path):
    write_earlier_outputs(tmp_path)
    (tmp_path / "run.json").write_bytes(b"{}")
    with pytest.raises(InputError, match="unfinished run"):
        run(tmp_path)
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("stops", [(1,), (3,), (2, 3, 4)])
def test_resumed_run_names_the_images_that_could_not_be_read_before(tmp_path, monkeypatch, stops):
    monkeypatch.setattr(analysis_module, "VideoReader", VideoReader)
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        Image.new("RGB", (160, 120), (100 + index,) * 3).save(folder / f"{index:02}.png")
    for index in (1, 2, 4, 6, 8):
        (folder / f"{index:02}.png").write_bytes(b"broken")
    (folder / "a.heic").touch()
    whole = run(tmp_path / "whole", source=folder, annotate=False)
    assert (len(whole.problems), whole.counts.broken) == (5, 5)
    for at in stops:
        run(tmp_path / "out", source=folder, annotate=False, resume=True, on_frame=stop_at(at))
    resumed = run(tmp_path / "out", source=folder, annotate=False, resume=True)
    assert resumed.problems == whole.problems
    assert resumed.counts.broken == 5


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


@pytest.mark.parametrize("name", ["rows.jsonl", "tracks.csv", "sub/../segments.csv", "Turns.csv"])
def test_refuses_a_table_that_is_another_file_of_the_run(tmp_path, name):
    (tmp_path / "out" / "sub").mkdir(parents=True)
    with pytest.raises(InputError, match="give the table another name"):
        run(tmp_path / "out", table=tmp_path / "out" / name)
    run(tmp_path / "out", table=tmp_path / "tracks.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("blur", [None, "all"])
def test_reads_a_named_pipe_only_once(tmp_path, monkeypatch, blur):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("mien.video.annotation.VideoReader", None)
    opened = []
    monkeypatch.setattr(recording_module, "frames_at", lambda source, *_, **__: opened.append(source) or [])
    recording = run(tmp_path / "out", source=tmp_path / "pipe", blur=blur, report=True, on_frame=stop_at(8))
    assert len(times(tmp_path / "out" / "annotated.mp4")) == 8
    assert set(opened) == {str(tmp_path / "out" / "annotated.mp4")}
    assert not recording.is_resumable
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_a_password_is_not_stored_and_the_run_resumes(tmp_path):
    source = "https://user:pass/word@example.org/clip.mp4"
    with pytest.raises(Killed):
        run(tmp_path, source=source, on_frame=kill_at(3))
    assert "word" not in (tmp_path / "run.json").read_text()
    assert run(tmp_path, source=source, resume=True).counts.frames == 16
