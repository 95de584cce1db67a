from __future__ import annotations

import io
import pickle
from functools import partial

import pytest

from mien.batch.analysis import ShardAnalyzer
from mien.batch.shards import list_shards
from mien.inference.analyzer import Analyzer
from mien.schema import flatten_result
from mien.video.analysis import analyze_video
from mien.video.table import frame_rows
from support.batches import encode_png, write_tar

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def work(tiny_model):
    return ShardAnalyzer(partial(Analyzer, tiny_model, threads=1))


def analyze(work, source):
    (shard,) = list_shards([str(source)]).shards
    output = work.analyze(shard)
    return output, pq.read_table(io.BytesIO(output.table)).to_pylist()


def without_missing(rows):
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def test_rows_are_those_of_the_image_table(work, analyzer, examples, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "0.png").write_bytes(encode_png())
    (photos / "1.jpg").write_bytes((examples / "group.jpg").read_bytes())
    output, rows = analyze(work, photos)
    results = analyzer.analyze_many(sorted(photos.iterdir()))
    expected = [row for result in results for row in flatten_result(result.to_record())]
    assert without_missing(rows) == without_missing(expected)
    assert (output.items, output.faces, output.failures) == (2, len(rows) - 1, ())
    assert output.faces > 1


def test_failures_are_counted_and_keep_their_rows(work, tmp_path):
    (tmp_path / "0.png").write_bytes(encode_png())
    (tmp_path / "1.jpg").write_bytes(b"broken")
    (tmp_path / "2.jpg").touch()
    (tmp_path / "3.jpg").symlink_to(tmp_path / "gone")
    output, rows = analyze(work, tmp_path)
    names = [str(tmp_path / f"{number}.jpg") for number in (1, 2, 3)]
    assert [failure["item"] for failure in output.failures] == names
    assert [failure["error"] for failure in output.failures] == ["image_unreadable"] * 3
    assert output.failures[1]["message"] == f"{names[1]} is empty (0 bytes)."
    assert [row["message"] for row in rows] == [None, *(failure["message"] for failure in output.failures)]
    assert (output.items, output.faces) == (4, 0)


def test_tar_file(work, examples, tmp_path):
    portrait = (examples / "astronaut.jpg").read_bytes()
    path = write_tar(tmp_path / "a.tar", ("1.jpg", portrait), ("1.jpg", portrait), ("2.jpg", b"broken"))
    output, rows = analyze(work, path)
    assert [(row["image"].removeprefix(f"{path}/"), row["face"]) for row in rows] == [
        ("1.jpg", 1), ("1.jpg#2", 1), ("2.jpg", None)
    ]  # fmt: skip
    assert (output.items, output.faces, len(output.failures)) == (3, 2, 1)


@pytest.mark.parametrize(("content", "is_partial"), [(encode_png(), True), (b"broken", False)])
def test_truncated_tar_file_is_partial_if_a_member_was_read(work, tmp_path, content, is_partial):
    path = write_tar(tmp_path / "a.tar", ("1.png", content), ("2.png", b"2" * 6000))
    path.write_bytes(path.read_bytes()[:3000])
    output, _ = analyze(work, path)
    assert output.failures[-1]["item"] == str(path)
    assert output.failures[-1]["is_partial"] is is_partial


def test_output_is_the_same_for_any_number_of_workers_and_in_another_process(work, tiny_model, examples, tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes((examples / "astronaut.jpg").read_bytes())
    alone, _ = analyze(work, tmp_path)
    several = ShardAnalyzer(partial(Analyzer, tiny_model, threads=1), workers=3)
    other, _ = analyze(pickle.loads(pickle.dumps(several)), tmp_path)
    assert alone == other


def test_object_store(work, examples):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/store/a.jpg", (examples / "astronaut.jpg").read_bytes())
    memory.pipe("/store/b.jpg", b"broken")
    output, rows = analyze(work, "memory://store")
    assert [row["image"] for row in rows] == ["memory://store/a.jpg", "memory://store/b.jpg"]
    assert (output.faces, len(output.failures)) == (1, 1)
    memory.store.clear()


def test_video_rows_are_those_of_the_video_table(work, tiny_model, portrait, tmp_path):
    pytest.importorskip("av")
    from support.video import write_clip

    path = write_clip(tmp_path / "clip.mp4", [portrait] * 6)
    output, rows = analyze(work, path)
    frames = analyze_video(path, analyzer=Analyzer(tiny_model, threads=1))
    expected = [{"video": str(path), **row} for frame in frames for row in frame_rows(frame)]
    assert without_missing(rows) == without_missing(expected)
    assert (output.items, output.faces, output.failures) == (1, len({row["track_id"] for row in rows}), ())
    assert rows


def test_broken_video_has_no_rows(work, tmp_path):
    pytest.importorskip("av")
    (tmp_path / "clip.mp4").write_bytes(b"broken")
    output, rows = analyze(work, tmp_path)
    assert rows == []
    assert [(failure["item"], failure["error"], failure["is_partial"]) for failure in output.failures] == [
        (str(tmp_path / "clip.mp4"), "video_unreadable", False)
    ]


def test_video_deleted_after_listing_is_a_failure(work):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/clips/a.mp4", b"gone soon")
    (shard,) = list_shards(["memory://clips"]).shards
    memory.store.clear()
    output = work.analyze(shard)
    assert [(failure["item"], failure["error"]) for failure in output.failures] == [("memory://clips/a.mp4", "io")]
    assert (output.items, output.faces) == (1, 0)


def test_message_about_a_video_of_an_object_store_names_it(work):
    pytest.importorskip("av")
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/clips/a.mp4", b"broken")
    (shard,) = list_shards(["memory://clips"]).shards
    (failure,) = work.analyze(shard).failures
    memory.store.clear()
    assert failure["message"] == "memory://clips/a.mp4 is not a readable video."


def test_video_that_fails_after_some_frames_is_partial(work, portrait, tmp_path, monkeypatch):
    pytest.importorskip("av")
    from mien.video.analysis import VideoAnalysis
    from support.video import write_clip

    def first_frame(analysis):
        yield next(frames(analysis))
        raise OSError("the connection was lost")

    frames = VideoAnalysis.__iter__
    monkeypatch.setattr(VideoAnalysis, "__iter__", first_frame)
    output, rows = analyze(work, write_clip(tmp_path / "clip.mp4", [portrait] * 2))
    (failure,) = output.failures
    assert (failure["error"], failure["is_partial"]) == ("io", True)
    assert failure["message"] == f"{tmp_path / 'clip.mp4'} cannot be read: the connection was lost."
    assert rows


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [("is_truncated", True, "is truncated;"), ("broken", 1, "has 1 broken frame;"), ("broken", 2, "2 broken frames;")],
)
def test_incomplete_video_keeps_its_rows_and_is_a_failure(
    work, portrait, tmp_path, monkeypatch, attribute, value, problem
):
    pytest.importorskip("av")
    from mien.video.io.reader import VideoReader
    from support.video import write_clip

    monkeypatch.setattr(VideoReader, attribute, value)
    output, rows = analyze(work, write_clip(tmp_path / "clip.mp4", [portrait] * 2))
    (failure,) = output.failures
    assert failure["error"] == "video_unreadable"
    assert problem in failure["message"]
    assert failure["is_partial"]
    assert rows
