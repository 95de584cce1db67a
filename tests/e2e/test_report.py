"""Evaluation report and learning curve: page, JSON record and plots."""

from __future__ import annotations

import base64
import io
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError, MissingExtraError
from mien.evaluation.evaluate import Mistake
from mien.evaluation.groups import group_results
from mien.evaluation.summary import summarize
from mien.reports import learning_curve
from mien.reports.evaluation import write_report
from mien.reports.plot_style import make_figure
from mien.theme import LIGHT

HOSTILE = '$x^$ <script>alert("x")</script>&$title'
HOSTILE_FILE = "a\"b'><img src=x onerror=alert(1)>\udcff.png"
CLASSES = ("neutral", "happiness", HOSTILE, "怒り")
VOID = {"meta", "img", "source", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and text, and checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def make_summary(n: int = 120, missed: int = 3) -> dict:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) * 2 + 2 * np.eye(4)[labels]
    logits[:missed] = np.nan
    return summarize(labels, logits, CLASSES, temperature=1.4)


def make_mistakes() -> list[Mistake]:
    small, large = np.full((48, 48, 3), 90, np.uint8), np.full((500, 300, 3), 200, np.uint8)
    return [
        Mistake(image=small, name=HOSTILE_FILE, truth=HOSTILE, predicted="neutral", confidence=0.61),
        Mistake(image=large, name="missed.png", truth="neutral", predicted=None, confidence=None),
        Mistake(image=small, name="sure.png", truth="neutral", predicted=HOSTILE, confidence=np.float32(0.97)),
    ]


def open_uri(uri: str) -> Image.Image:
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    image.load()
    return image


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("out") / "new" / "folder"
    summary = make_summary()
    path = write_report(
        directory,
        title=f"Model on {HOSTILE}",
        subject={"model": "m", "data set": HOSTILE},
        summary=summary,
        protocols={"majority": summary, "plurality": make_summary(80, 0)},
        mistakes=iter(make_mistakes()),
    )
    assert path == directory / "report.html"
    return path, summary


def test_writes_report_without_faces(tmp_path):
    summary = summarize([], [], CLASSES)
    page = Page(write_report(tmp_path, title="Nothing", subject={}, summary=summary).read_text(encoding="utf-8"))
    assert "No expression was confused with another" in page.text
    assert "calibration is not defined" in page.text
    assert "mistakes" not in page.text
    assert len(page.all("table")) == 1


def test_writes_page_record_and_plots(report):
    names = sorted(path.name for path in report[0].parent.iterdir())
    assert names == ["confusion.png", "per_class.png", "reliability.png", "report.html", "report.json"]
    for name in ("confusion", "per_class", "reliability"):
        with Image.open(report[0].with_name(f"{name}.png")) as image:
            image.load()
            assert min(image.size) > 500
            assert image.info["dpi"] == pytest.approx((160, 160), abs=0.1)
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 20


def test_record_contains_summary_and_mistakes(report):
    record = json.loads(report[0].with_name("report.json").read_text(encoding="utf-8"))
    assert {key: record[key] for key in report[1]} == report[1]
    assert list(record["protocols"]) == ["majority", "plurality"]
    assert [item["name"] for item in record["mistakes"]][::2] == ["sure.png", "missed.png"]
    assert record["mistakes"][2]["predicted"] is None


def test_page_is_self_contained_without_script(report):
    page = Page(report[0].read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    sources = [attrs["src"] for attrs in page.all("img")] + [attrs["srcset"] for attrs in page.all("source")]
    assert len(sources) == 3 + 3 + 3
    for uri in sources:
        assert min(open_uri(uri).size) >= 48
    assert max(open_uri(page.all("img")[-1]["src"]).size) == 224


def test_escapes_hostile_names(report):
    page = Page(report[0].read_text(encoding="utf-8"))
    assert page.text.count(HOSTILE) >= 5
    assert HOSTILE_FILE.replace("\udcff", "?") in page.text
    assert any(HOSTILE_FILE.replace("\udcff", "?") in attrs["alt"] for attrs in page.all("img"))


def test_page_is_accessible(report):
    page = Page(report[0].read_text(encoding="utf-8"))
    assert page.all("html")[0]["lang"] == "en"
    assert all(attrs["alt"].strip() for attrs in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption")) == 2
    assert {attrs["scope"] for attrs in page.all("th")} == {"col", "row"}
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["aria-labelledby"] for attrs in page.all("section")} <= set(ids)
    assert len(page.all("h1")) == 1


def test_page_shows_scores_and_mistakes(report):
    path, summary = report
    text = Page(path.read_text(encoding="utf-8")).text
    assert "not what the person felt" in text
    assert f"{summary['accuracy']:.1%}" in text
    assert f"{summary['macro_f1']:.1%}" in text
    assert "3 not detected, counted as errors" in text
    assert text.index("sure.png") < text.index("missed.png")
    assert "no face found" in text


def test_second_report_replaces_first(tmp_path):
    summary = make_summary(20, 0)
    for title in ("first", "second"):
        path = write_report(tmp_path, title=title, subject={}, summary=summary, shown=0, mistakes=make_mistakes())
    text = path.read_text(encoding="utf-8")
    assert "second" in text
    assert "first" not in Page(text).text
    assert len(list(tmp_path.iterdir())) == 5


def test_groups_have_tables_and_plot(tmp_path):
    labels = np.zeros(60, dtype=int)
    answers = np.repeat([0, 1, 0, 0], [20, 10, 25, 5])
    names = ["4-19"] * 30 + [HOSTILE] * 25 + ["20-39"] * 5
    summary = {
        **make_summary(60, 0),
        "groups": group_results(labels, answers, {f"age {HOSTILE}": names}, 4),
        "groups_left_out": {f"person {HOSTILE}": "41 values, more than 40"},
    }
    page = Page(write_report(tmp_path, title="t", subject={}, summary=summary).read_text(encoding="utf-8"))
    assert "accuracy differs by 33.3 points between the best and the worst group" in page.text
    assert page.text.count("fewer than 20 faces") == 1
    assert f"Not evaluated: person {HOSTILE} (41 values, more than 40)." in page.text
    assert "not a statement about any person" in page.text
    assert "some gap between the best and the worst is expected by chance" in page.text
    assert page.text.index("4-19") < page.text.index("20-39")
    assert HOSTILE in page.text
    assert (tmp_path / "groups.png").stat().st_size > 10_000
    write_report(tmp_path, title="t", subject={}, summary=make_summary(60, 0))
    assert not (tmp_path / "groups.png").exists()


def test_rejects_invalid_image_before_writing(tmp_path):
    wrong = Mistake(image=np.zeros((4, 4)), name="x.png", truth="a", predicted="b", confidence=0.5)
    with pytest.raises(InputError, match=r"x\.png.*uint8"):
        write_report(tmp_path / "new", title="t", subject={}, summary=make_summary(9, 0), mistakes=[wrong])
    assert not (tmp_path / "new").exists()


def test_rejects_path_of_existing_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "file", title="t", subject={}, summary=make_summary(9, 0))


def test_names_missing_extra_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"mien\[report\]"):
        write_report(tmp_path / "new", title="t", subject={}, summary=make_summary(9, 0))
    assert not (tmp_path / "new").exists()


def write_log(path, lines) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_learning_curve_ignores_repeated_steps_and_incomplete_line(tmp_path):
    log = tmp_path / "log.jsonl"
    steps = [{"event": "step", "step": i, "loss": 2 - i / 100, "lr": 1e-3} for i in range(100)]
    evals = [{"event": "eval", "step": 99, "loss": float("nan"), "accuracy": 0.8}]
    write_log(log, [{"event": "start", "config": {}}, *steps, *steps[50:], *evals])
    whole = learning_curve.draw_learning_curve(log)
    assert Image.open(io.BytesIO(whole)).size == (1664, 832)
    with log.open("a", encoding="utf-8") as file:
        file.write('{"event": "step", "st')
    assert learning_curve.draw_learning_curve(log) == whole
    for part in (steps[:1], evals):
        write_log(log, part)
        assert learning_curve.draw_learning_curve(log) != whole


def test_accuracy_axis_has_minimum_range():
    figure = make_figure(4, 3, LIGHT)
    for accuracy, span in (([0.885, 0.8865, np.nan], 0.02), ([0.2, 0.7], 0.6)):
        axes = figure.add_subplot()
        evals = {"step": np.arange(len(accuracy)), "accuracy": np.array(accuracy)}
        learning_curve._draw_accuracy(axes, evals, LIGHT)
        low, high = axes.get_ylim()
        middle = (np.nanmin(accuracy) + np.nanmax(accuracy)) / 2
        assert (high - low, (low + high) / 2) == pytest.approx((span, middle))
        figure.canvas.draw()
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
            assert float(label.get_text().removesuffix("%")) == pytest.approx(100 * tick)
            assert len(label.get_text()) <= len("88.5%")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line with an `event`"),
        ('{"event": "start"}\n', "no line with an `event`"),
        ('{"event": "step", "loss": 1}\n\n', "line 1"),
        ('nonsense\n{"event": "step", "step": 1}\n', "line 1"),
    ],
)
def test_rejects_invalid_training_log(tmp_path, text, message):
    (tmp_path / "log.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        learning_curve.draw_learning_curve(tmp_path / "log.jsonl")


def test_rejects_missing_training_log(tmp_path):
    with pytest.raises(InputError, match="not a readable training log"):
        learning_curve.draw_learning_curve(tmp_path / "none.jsonl")
