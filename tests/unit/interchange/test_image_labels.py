"""Label Studio tasks and FiftyOne detections of image tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mien.interchange.image_labels import to_fiftyone, to_label_studio

LABELS = ("neutral", "happiness")


def face(image="a.jpg", number=1, label="happiness", **others):
    return {
        **{"image": image, "width": 200, "height": 100, "face": number},
        **{"x1": 20.0, "y1": 10.0, "x2": 60.0, "y2": 60.0, "yaw_deg": 5.0, "pitch_deg": None, "roll_deg": 0.0},
        **{"label": label, "confidence": 0.8, "p_neutral": 0.2, "p_happiness": 0.8, "error": None},
        **others,
    }


EMPTY = {"image": "empty.jpg", "width": 200, "height": 100, "x1": None, "error": None}
BROKEN = {"image": "broken.jpg", "width": 0, "height": 0, "x1": None, "error": "image_read"}
ROWS = [face(), face(number=2, label=None, x1=-10.0, x2=230.0), EMPTY, BROKEN]


def test_label_studio_boxes_are_percent_of_the_image():
    tasks = json.loads(to_label_studio(ROWS, "/data/local-files/?d="))
    assert [task["data"]["image"] for task in tasks] == ["/data/local-files/?d=a.jpg", "/data/local-files/?d=empty.jpg"]
    (prediction,) = tasks[0]["predictions"]
    box = {"x": 10, "y": 10, "width": 20, "height": 50, "rotation": 0}
    assert prediction["result"][0]["value"] == {**box, "rectanglelabels": ["happiness"]}
    assert prediction["score"] == 0.8
    assert tasks[1]["predictions"][0]["result"] == []


def test_label_studio_boxes_end_at_the_image_and_abstentions_are_unsure():
    value = json.loads(to_label_studio(ROWS))[0]["predictions"][0]["result"][1]["value"]
    assert (value["x"], value["width"], value["rectanglelabels"]) == (0, 100, ["unsure"])


def test_label_studio_has_whole_numbers_of_pixels():
    (task,) = json.loads(to_label_studio([face(width=200.0, height=100.0)]))
    result = task["predictions"][0]["result"][0]
    assert (repr(result["original_width"]), repr(result["original_height"])) == ("200", "100")


def test_fiftyone_boxes_are_relative_to_the_image():
    document = json.loads(to_fiftyone(ROWS, LABELS))
    assert document["classes"] == ["neutral", "happiness", "unsure"]
    image, empty = (str(Path(name).absolute()) for name in ("a.jpg", "empty.jpg"))
    assert list(document["labels"]) == [image, empty]
    first = document["labels"][image][0]
    assert first["bounding_box"] == pytest.approx([0.1, 0.1, 0.2, 0.5])
    assert first["attributes"] == {"p_neutral": 0.2, "p_happiness": 0.8, "yaw_deg": 5.0, "roll_deg": 0.0}
    assert document["labels"][empty] == []


def test_rows_of_an_image_need_not_be_adjacent():
    rows = [face(), face("b.jpg"), face(number=2), face("./a.jpg", number=3)]
    tasks = json.loads(to_label_studio(rows[:3]))
    assert [(task["data"]["image"], len(task["predictions"][0]["result"])) for task in tasks] == [
        ("a.jpg", 2), ("b.jpg", 1)
    ]  # fmt: skip
    detections = json.loads(to_fiftyone(rows, LABELS))["labels"]
    assert [(Path(name).name, len(faces)) for name, faces in detections.items()] == [("a.jpg", 3), ("b.jpg", 1)]


def test_paths_after_a_prefix_are_percent_encoded():
    rows = [face("photos/me & you #2 100%.jpg")]
    assert json.loads(to_label_studio(rows))[0]["data"]["image"] == "photos/me & you #2 100%.jpg"
    encoded = json.loads(to_label_studio(rows, "/data/local-files/?d="))[0]["data"]["image"]
    assert encoded == "/data/local-files/?d=photos/me%20%26%20you%20%232%20100%25.jpg"


def test_paths_of_windows_have_slashes():
    rows = [face("photos\\a.jpg")]
    assert json.loads(to_label_studio(rows))[0]["data"]["image"] == "photos/a.jpg"
    assert list(json.loads(to_fiftyone(rows, LABELS))["labels"]) == [str(Path("photos/a.jpg").absolute())]


@pytest.mark.skipif(sys.platform == "win32", reason="a backslash separates folders on Windows")
def test_a_backslash_in_the_name_of_a_file_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a\\b.jpg").touch()
    rows = [face("a\\b.jpg"), face("a\\c.jpg")]
    assert [task["data"]["image"] for task in json.loads(to_label_studio(rows))] == ["a\\b.jpg", "a/c.jpg"]
    assert list(json.loads(to_fiftyone(rows, LABELS))["labels"]) == [f"{tmp_path}/a\\b.jpg", f"{tmp_path}/a/c.jpg"]


def test_faces_of_an_image_that_was_analyzed_twice_are_there_once():
    rows = [face(), face(number=2, x1=90.0, x2=150.0), face(), face(number=2, x1=90.0, x2=150.0), face(number=3)]
    (task,) = json.loads(to_label_studio(rows))
    assert [region["id"] for region in task["predictions"][0]["result"]] == ["face1", "face2", "face3"]
    assert [len(faces) for faces in json.loads(to_fiftyone(rows, LABELS))["labels"].values()] == [3]


@pytest.mark.parametrize("convert", [to_label_studio, lambda rows: to_fiftyone(rows, LABELS)])
def test_no_rows_give_no_images(convert):
    document = json.loads(convert([]))
    assert document == [] or document["labels"] == {}
