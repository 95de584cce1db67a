"""Opening and closing of the source of `analyze_video`."""

from __future__ import annotations

import pytest

from mien.errors import InputError, VideoReadError
from mien.video import analysis as analysis_module
from mien.video.analysis import analyze_video
from support.recording import BROKEN, FRAMES, FakeAnalyzer, FakeReader


@pytest.fixture
def readers(monkeypatch):
    """The readers opened by a test."""
    opened = []

    class Reader(FakeReader):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.is_closed = False
            opened.append(self)

        def close(self):
            self.is_closed = True

    monkeypatch.setattr(analysis_module, "VideoReader", Reader)
    return opened


@pytest.mark.parametrize("options", [{"fps": 0}, {"detect_every": 0}, {"smoothing_s": -1}])
def test_wrong_argument_raises_at_the_call(options):
    with pytest.raises(InputError):
        analyze_video([], analyzer=FakeAnalyzer(), **options)


def test_missing_file_raises_at_the_call(tmp_path):
    with pytest.raises(VideoReadError, match=r"missing\.mp4"):
        analyze_video(tmp_path / "missing.mp4", analyzer=FakeAnalyzer())


def test_closes_the_source_after_the_last_frame(readers):
    frames = analyze_video("clip.mp4", analyzer=FakeAnalyzer())
    assert not readers[0].is_closed
    assert len(list(frames)) == FRAMES - len(BROKEN)
    assert readers[0].is_closed


@pytest.mark.parametrize("count", [0, 1], ids=["not started", "started"])
def test_closes_the_source_of_a_deleted_iterator(readers, count):
    frames = analyze_video("clip.mp4", analyzer=FakeAnalyzer())
    for _ in range(count):
        next(frames)
    del frames
    assert readers[0].is_closed
