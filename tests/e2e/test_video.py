"""End-to-end tests of `mien video`: tracking, files, kill and resume, options."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import threading
import time
from itertools import islice

import numpy as np
import pytest

from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.recording import record
from mien.video.analysis import VideoAnalysis, analyze_video
from mien.video.io.reader import VideoReader
from mien.video.table import RowSchema
from support.images import bust
from support.shell import Shell, read_table
from support.video import audio_seconds, crossing_frames, image_times, switching_frames, write_clip

SIZE_WH = 320, 240
TABLES = ["faces.csv", "segments.csv", "tracks.csv"]
NAMES = ["annotated.mp4", "faces.csv", "report.html", "segments.csv", "tracks.csv"]


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(threads=1)


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    """Return the file, and the boxes of the faces in each frame."""
    frames = list(crossing_frames(seconds=4, size_wh=SIZE_WH))
    path = tmp_path_factory.mktemp("crossing") / "crossing.mp4"
    return write_clip(path, (image for image, _ in frames), audio=True), [boxes for _, boxes in frames]


@pytest.fixture(scope="module")
def portrait_clip(tmp_path_factory):
    """Return a file with one face for 30 frames, with audio."""
    frames = switching_frames([bust("obama")], 1.2, size_wh=SIZE_WH)
    return write_clip(tmp_path_factory.mktemp("portrait") / "portrait.mp4", frames, audio=True)


@pytest.fixture
def shell(tiny_model, capsys):
    return Shell("video", tiny_model, capsys)


def match_track_ids(boxes, faces):
    """Return the track_id of the face around the center of each person's box; None without such a face."""
    track_ids = {}
    for name, box in boxes.items():
        if box is None:
            continue
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        inside = [face for face in faces if face["x1"] < x < face["x2"] and face["y1"] < y < face["y2"]]
        track_ids[name] = inside[0]["track_id"] if len(inside) == 1 else None
    return track_ids


def test_crossing_people_keep_their_track_ids_and_all_files_are_complete(crossing, analyzer, tmp_path):
    clip, truth = crossing
    folder = tmp_path / "out"
    with VideoAnalysis(clip, analyzer) as analysis:
        recording = record(analysis, analyzer.manifest, folder)
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert sorted(path.name for path in recording.files) == NAMES
    assert (recording.counts.frames, recording.was_stopped, recording.is_truncated) == (100, False, False)

    rows = [{key: float(row[key]) for key in ("frame_index", "track_id", "x1", "y1", "x2", "y2")}
            for row in read_table(folder / "faces.csv")]  # fmt: skip
    assert len(rows) == recording.counts.faces
    by_frame = [[row for row in rows if row["frame_index"] == index] for index in range(100)]
    matches = [match_track_ids(boxes, faces) for boxes, faces in zip(truth, by_frame, strict=True)]
    crossed = max(index for index, boxes in enumerate(truth[:50]) if boxes["biden"] is None)
    for name in ("biden", "obama"):
        before = {ids[name] for ids in matches[:crossed] if name in ids} - {None}
        after = {ids[name] for ids in matches[crossed : crossed + 20] if name in ids} - {None}
        assert len(before) == 1
        assert after == before
    # biden stays in the image to the end, turning and tilting the head.
    assert len({ids.get("biden") for ids in matches} - {None}) == 1
    visible = sum(box is not None for boxes in truth for box in boxes.values())
    assert visible * 0.9 < sum(number is not None for ids in matches for number in ids.values()) <= visible
    assert visible * 0.9 < len(rows) < visible * 1.15

    np.testing.assert_allclose(image_times(folder / "annotated.mp4"), np.arange(100) / 25, atol=1e-4)
    assert audio_seconds(folder / "annotated.mp4") == pytest.approx(4, abs=0.15)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "data:image" in page
    assert not [text for text in ('src="http', 'href="http', "src='http", "@import", "url(http") if text in page]


@pytest.mark.parametrize("order", [("obama", "biden", "obama", "biden"), ("biden", "obama", "biden")])
def test_detects_each_change_of_expression_within_300_ms(analyzer, tmp_path, order):
    expected = {"obama": "happiness", "biden": "neutral"}
    frames = switching_frames([bust(name, room=0.35) for name in order], 1.2, size_wh=SIZE_WH, height=0.8)
    clip = write_clip(tmp_path / "switching.mp4", frames)
    labels = []
    for frame in analyze_video(clip, analyzer=analyzer):
        assert len(frame.faces) <= 1
        label = frame.faces[0].smoothed.label if frame.faces and frame.faces[0].smoothed else None
        labels.append((frame.timestamp_s, label))
    changes = []
    for time_s, label in labels:
        if label is not None and (not changes or label != changes[-1][1]):
            changes.append((time_s, label))
    assert [label for _, label in changes] == [expected[name] for name in order]
    for number, (time_s, _) in enumerate(changes):
        assert 0 <= time_s - 1.2 * number <= 0.3
    missing = [time_s for time_s, label in labels if label is None]
    assert all(time_s % 1.2 <= 0.3 for time_s in missing)


def test_closing_the_iterator_early_stops_the_threads(portrait_clip, analyzer):
    frames = analyze_video(portrait_clip, analyzer=analyzer)
    first = next(frames)
    assert (first.index, first.timestamp_s, first.scene) == (0, 0.0, 1)
    assert (first.image.shape, first.image.dtype) == ((240, 320, 3), np.uint8)
    (face,) = first.faces
    assert face.track_id == 1
    assert face.expression is not None
    assert face.smoothed.label == "happiness"
    second = next(frames)
    assert second.faces[0].expression is None
    assert second.faces[0].smoothed.label == "happiness"
    assert any(thread.name == "mien-frames" for thread in threading.enumerate())
    frames.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("mien-")]


def test_failed_recording_leaves_no_threads(portrait_clip, analyzer, tmp_path):
    def fail(frame, counts):
        if counts.frames == 10:
            raise RuntimeError("on purpose")

    with VideoAnalysis(portrait_clip, analyzer) as analysis, pytest.raises(RuntimeError, match="on purpose"):
        record(analysis, analyzer.manifest, tmp_path / "out", on_frame=fail)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("mien-")]


PROCESS = """
import sys, time
import mien.recording as recording
from mien.cli.main import main
from mien.video.follower import FaceFollower

checkpoint_s, step_s, *arguments = sys.argv[1:]
recording.CHECKPOINT_S = float(checkpoint_s)
original = FaceFollower.step

def slow_step(self, frame):
    time.sleep(float(step_s))
    return original(self, frame)

FaceFollower.step = slow_step
sys.exit(main(arguments))
"""


def start(clip, folder, *options, checkpoint_s=0.2, step_s=0.06):
    arguments = [checkpoint_s, step_s, "video", clip, "-o", folder, "--threads", "1", "--no-report", *options]
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def progress(folder):
    try:
        return json.loads((folder / "run.json").read_bytes())["counts"]["frames"]
    except FileNotFoundError:
        return 0


def kill_after(process, folder, frames):
    """Kill a run a moment after its checkpoint has this number of frames."""
    with process:
        limit_s = time.monotonic() + 60
        while progress(folder) < frames:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < limit_s
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_run_killed_twice_equals_uninterrupted_run(crossing, tiny_model, shell, tmp_path):
    clip, _ = crossing
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    assert shell(clip, "--output", uninterrupted, "--no-report") == 0
    model = "--model", tiny_model
    kill_after(start(clip, killed, *model), killed, 10)
    assert not (killed / "faces.csv").exists()
    first = progress(killed)
    kill_after(start(clip, killed, "--resume", *model), killed, first + 10)

    before = {path: path.read_bytes() for path in killed.iterdir()}
    for options, problem in (
        ((), "holds an unfinished run"),
        (("--resume", "--detect-every", 2), "other settings (detect_every)"),
        (("--resume", "--max-faces", 1), "other settings (max_faces)"),
        (("--resume", "--flip-tta"), "other settings (flip_tta)"),
    ):
        assert shell(clip, "--output", killed, *options) == 2
        assert shell.err.count("\n") == 1
        assert problem in shell.err
    assert {path: path.read_bytes() for path in killed.iterdir()} == before

    assert shell(clip, "--output", killed, "--resume", "--no-report") == 0
    assert "100 frames" in shell.err
    assert (killed / "faces.csv").read_bytes() == (uninterrupted / "faces.csv").read_bytes()
    assert image_times(killed / "annotated.mp4") == image_times(uninterrupted / "annotated.mp4")
    assert audio_seconds(killed / "annotated.mp4") == audio_seconds(uninterrupted / "annotated.mp4")
    assert sorted(path.name for path in killed.iterdir()) == ["annotated.mp4", *TABLES]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT on Windows")
def test_ctrl_c_completes_the_files(crossing, tiny_model, tmp_path):
    clip, _ = crossing
    folder = tmp_path / "out"
    with start(clip, folder, "--model", str(tiny_model)) as process:
        limit_s = time.monotonic() + 60
        while progress(folder) < 10:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < limit_s
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped early at" in stderr
    assert "continue with the same command and --resume" in stderr
    assert "Traceback" not in stderr
    names = {path.name for path in folder.iterdir()}
    assert names >= {*NAMES[:2], "run.json", "rows.jsonl"}
    assert not [name for name in names if "partial" in name or ".open" in name]
    frames = len(image_times(folder / "annotated.mp4"))
    rows = read_table(folder / "faces.csv")
    assert 10 <= frames < 100
    assert abs(max(int(row["frame_index"]) for row in rows) + 1 - frames) <= 1
    assert f"mien: {frames} frames" in stderr or f"mien: {frames - 1} frames" in stderr


def test_resume_needs_a_folder_and_starts_a_new_run(portrait_clip, shell, tmp_path):
    assert shell(portrait_clip, "--resume") == 2
    assert "--output" in shell.err
    assert shell(portrait_clip, "--output", tmp_path, "--resume", "--no-annotate", "--no-report") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == TABLES


@pytest.mark.parametrize("state", ["{", "[]", "{}", '{"length": 50}'])
def test_rejects_damaged_run(portrait_clip, shell, tmp_path, state):
    (tmp_path / "run.json").write_text(state)
    (tmp_path / "rows.jsonl").write_text("")
    assert shell(portrait_clip, "--output", tmp_path, "--resume") == 2
    assert "damaged" in shell.err
    assert shell.err.count("\n") == 1


def test_never_overwrites_the_source(portrait_clip, shell, tmp_path):
    clip = tmp_path / "annotated.mp4"
    clip.write_bytes(portrait_clip.read_bytes())
    assert shell(clip, "--output", tmp_path) == 2
    assert "overwritten" in shell.err
    assert clip.read_bytes() == portrait_clip.read_bytes()
    assert shell(clip, "--output", tmp_path, "--no-annotate") == 0
    assert clip.read_bytes() == portrait_clip.read_bytes()


def test_json_prints_one_object_per_frame(portrait_clip, shell, tmp_path):
    assert shell(portrait_clip, "--json") == 0
    frames = shell.records
    assert len(frames) == 30
    for index, frame in enumerate(frames):
        assert list(frame) == ["frame_index", "timestamp_s", "scene", "faces"]
        assert (frame["frame_index"], frame["scene"]) == (index, 1)
        assert frame["timestamp_s"] == pytest.approx(index / 25, abs=1e-4)
        (face,) = frame["faces"]
        assert face["track_id"] == 1
        assert (face["expression"] is None) == (index % 3 > 0)
        assert sum(face["smoothed"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert shell.err.startswith("mien: 30 frames, 1 face,")
    assert shell(portrait_clip, "--json", "--output", tmp_path, "--no-annotate", "--no-report") == 0
    assert shell.records == frames
    rows = read_table(tmp_path / "faces.csv")
    assert [float(row["x1"]) for row in rows] == [frame["faces"][0]["bbox_xyxy"][0] for frame in frames]
    assert [row["label"] or None for row in rows] == [frame["faces"][0]["smoothed"]["label"] for frame in frames]


def test_table_formats_are_equal(portrait_clip, shell, analyzer, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for kind in ("csv", "jsonl", "parquet"):
        table = tmp_path / f"faces.{kind}"
        assert shell(portrait_clip, "--table", table) == 0
        assert shell.err.endswith(f"mien: wrote {table}\n")
    kinds = RowSchema.of(analyzer).columns
    parse = {**kinds, "is_face_doubtful": lambda text: text == "True"}
    from_csv = [
        {name: parse[name](text) if text else None for name, text in row.items()}
        for row in read_table(tmp_path / "faces.csv")
    ]
    from_json = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert len(from_csv) == 30
    assert from_csv == from_json == parquet.read_table(tmp_path / "faces.parquet").to_pylist()
    assert list(from_csv[0]) == list(kinds)


def test_parquet_without_extra_fails_before_the_analysis(portrait_clip, shell, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert shell(portrait_clip, "--output", tmp_path / "out", "--table", tmp_path / "faces.parquet") == 2
    assert shell.err == "mien: Parquet needs more packages: pip install 'mien[table]'\n"
    assert not (tmp_path / "out").exists()


def test_summary_is_plain_text_in_a_pipe(portrait_clip, shell, capsys):
    assert shell(portrait_clip) == 0
    head, _, line = shell.out.splitlines()[:3]
    assert head.split()[:4] == ["face", "from", "to", "visible"]
    assert line.split()[:2] == ["1", "0.0"]
    assert "\x1b" not in shell.out
    assert shell.err.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--detect-every", "0"),
        ("--smoothing", "-1"),
        ("--smoothing", "nan"),
        ("--fps", "0"),
        ("--table", "faces.xlsx"),
        ("--max-faces", "0"),
        ("--nonsense",),
    ],
)
def test_invalid_option_prints_one_line(portrait_clip, shell, options):
    assert shell(portrait_clip, *options) == 2
    assert (shell.out, shell.err.count("\n")) == ("", 1)


def test_output_that_is_a_file_prints_one_line(portrait_clip, shell, tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "out"):
        assert shell(portrait_clip, "--output", output) == 2
        assert (shell.out, shell.err.count("\n")) == ("", 1)


def detected(analyzer, images):
    return sum(len(analyzer.detect(image)) for image in images)


def test_blur_leaves_no_face_in_the_copy_and_the_report(portrait_clip, analyzer, tmp_path):
    folder = tmp_path / "out"
    with VideoAnalysis(portrait_clip, analyzer, blur="all") as analysis:
        record(analysis, analyzer.manifest, folder)
    with VideoReader(folder / "annotated.mp4") as frames:
        assert detected(analyzer, (frame.image for frame in islice(frames, 0, None, 5))) == 0
    report = (folder / "report.html").read_text(encoding="utf-8")
    thumbnails = [base64.b64decode(data) for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", report)]
    assert thumbnails
    assert detected(analyzer, (read_image(data) for data in thumbnails)) == 0


def test_blur_others_keeps_the_same_person_in_every_frame(crossing, analyzer, tmp_path):
    folder = tmp_path / "out"
    with VideoAnalysis(crossing[0], analyzer, blur="others") as analysis:
        record(analysis, analyzer.manifest, folder, report=False)
    with VideoReader(folder / "annotated.mp4") as frames:
        counts = [len(analyzer.detect(frame.image)) for frame in islice(frames, 0, None, 5)]
    assert max(counts) == 1
    assert sum(counts) > len(counts) / 2
