"""Comparison with other packages: scores, and the protocol of a runner."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import peers


def test_missed_face_counts_as_wrong():
    scores = peers.scores(["anger", None, "anger", "fear"], ["anger", "anger", "anger", "fear"])
    assert scores == {"accuracy": 0.75, "mean_recall": pytest.approx((2 / 3 + 1) / 2), "faces_found": 0.75}


def test_images_of_other_classes_are_skipped(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label\na.png,fear\nb.png,contempt\n")
    assert peers.read_labels(tmp_path, tmp_path) == ([tmp_path / "a.png"], ["fear"])


def test_sample_has_the_requested_size_and_is_repeatable(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label\n" + "".join(f"{number}.png,fear\n" for number in range(9)))
    first, _ = peers.read_labels(tmp_path, tmp_path, 4)
    assert len(first) == 4
    assert peers.read_labels(tmp_path, tmp_path, 4)[0] == first


def test_runner_of_mien_answers_with_label_and_seconds(tmp_path):
    with peers.start("mien", "mobile without pose, one face", None, tmp_path / "log") as worker:
        assert worker is not None
        answers = [worker.predict(image) for image in peers.portraits(tmp_path)]
    assert answers[0]["label"] == "happiness"
    assert all(0 < answer["cpu_s"] < 60 for answer in answers)


def test_package_that_does_not_start_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "mien", peers.Peer("missing.py", {"any": peers.Work()}))
    with peers.start("mien", "any", None, tmp_path / "log") as worker:
        assert worker is None
    assert "missing.py" in (tmp_path / "log").read_text()


def test_variants_are_compared_with_the_models_that_do_the_same():
    works = peers.PEERS["mien"].variants
    workers = [peers.Worker("mien", variant, work, None, "1") for variant, work in works.items()]
    workers.append(peers.Worker("other", "with mesh", peers.Work(has_mesh=True, is_single=True), None, "1"))
    cpu_s = dict.fromkeys(works, 5.0) | {"expression, one face": 4.0, "mobile, one face": 2.0, "with mesh": 12.0}
    for worker in workers:
        worker.cpu_s = worker.wall_s = [cpu_s[worker.variant]]
    slowest = peers.report(workers, [])["rows"][-1]
    assert (slowest["package"], slowest["expression"], slowest["mobile"]) == ("other", 3.0, 6.0)


class StubWorker:
    """Finds a happy face in the first image only."""

    def __init__(self) -> None:
        self.labels: list[str | None] = []
        self.sizes: list[tuple[int, int]] = []

    def predict(self, path):
        with Image.open(path) as opened:
            self.sizes.append(opened.size)
        return {"label": "Happy" if len(self.sizes) == 1 else None}


def test_labeled_images_get_a_border_and_labels_common_names(tmp_path):
    Image.new("L", (20, 30)).save(tmp_path / "face.jpg")
    worker = StubWorker()
    peers.measure_accuracy([worker], [tmp_path / "face.jpg"] * 2, tmp_path)
    assert worker.labels == ["happiness", None]
    assert worker.sizes == [(50, 60), (50, 60)]
