"""Text of the three HTML reports of fixed inputs, compared with golden files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.reports import comparison, evaluation, video
from support import reports

GOLDEN = Path(__file__).with_name("golden")
TITLE = "A & <b>title</b>"
SUBJECT = {"model": "m <1>", "data set": "d"}


def write_evaluation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evaluation, "PLOTS", dict.fromkeys(evaluation.PLOTS, lambda *_: b"png"))
    summary = reports.make_summary()
    return evaluation.write_report(
        folder,
        title=TITLE,
        subject=SUBJECT,
        summary=summary,
        protocols={"majority": summary, "plurality": reports.make_summary(80, 0)},
        mistakes=reports.make_mistakes(),
    )


def write_comparison(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(comparison, "draw_recalls", lambda *_: b"png")
    monkeypatch.setattr(comparison, "draw_differences", lambda *_: b"png")
    return comparison.write_comparison(
        folder, title=TITLE, subject=SUBJECT, names=("first", "second"), comparison=reports.make_comparison()
    )


def write_video(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "report.html"
    video.write_report(
        path,
        reports.make_timeline(),
        title=TITLE,
        facts={"Length": "0:13", **SUBJECT},
        images=reports.frames,
        duration_s=13.0,
        clip="annotated.mp4",
    )
    return path


PAGES = {"evaluation": write_evaluation, "comparison": write_comparison, "video": write_video}


@pytest.mark.parametrize("name", PAGES)
def test_page_text_matches_golden_file(name, tmp_path, monkeypatch):
    path = PAGES[name](tmp_path, monkeypatch)
    assert reports.page_text(path) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
