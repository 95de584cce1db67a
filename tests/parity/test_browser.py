"""The page's engine against Python: the same faces, poses, qualities and expressions from the same pixels.

Measured on the four examples, on WebAssembly: the probabilities differ by 0.00006 at most, and all else that is told is
equal to its last digit.
"""

import json

import numpy as np
import pytest

from mien import Analyzer
from mien.imaging import read_image, resize
from mien.runtime import DEFAULT_MODEL, shipped_models
from mien.video.follower import FaceFollower
from mien.video.io.sources import DecodedFrame
from support.browser import driven_chromium, driven_engine, why_not
from support.browser_fixtures import FOLDER, MAKERS

LANDMARKS_PX, POSE_DEG, QUALITY, PROBABILITY = 0.2, 0.5, 0.005, 0.003


def needs_page(test):
    return pytest.mark.slow(pytest.mark.skipif(why_not() is not None, reason=str(why_not()))(test))


@pytest.mark.parametrize("name", MAKERS)
def test_fixtures_are_what_python_gives(name):
    written = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert_same(json.loads(json.dumps(MAKERS[name]())), written)


def assert_same(found, wanted):
    """Numbers, however nested, to nine digits; all else exactly."""
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == (pytest.approx(wanted, rel=1e-9, abs=1e-9) if isinstance(wanted, float) else wanted)


@pytest.fixture(scope="module")
def chromium():
    with driven_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def engine(chromium):
    with driven_engine(chromium) as engine:
        assert engine.open()["type"] == "opened"
        yield engine


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer()


@needs_page
@pytest.mark.parametrize("name", ["astronaut.jpg", "biden.jpg", "group.jpg", "obama.jpg"])
def test_images_read_as_in_python(engine, analyzer, examples, name):
    image = read_image(examples / name)
    assert_read_alike(engine, analyzer, image)


@needs_page
def test_a_close_up_and_a_image_without_faces_too(engine, analyzer, examples):
    astronaut = read_image(examples / "astronaut.jpg")
    assert_read_alike(engine, analyzer, np.ascontiguousarray(astronaut[40:240, 130:310]))
    assert_read_alike(engine, analyzer, resize(astronaut, (1800, 1801)))
    assert engine.image(np.full((90, 120, 3), 128, dtype=np.uint8))["frame"]["faces"] == []


@needs_page
@pytest.mark.parametrize("model", [name for name in shipped_models() if name != DEFAULT_MODEL])
def test_so_do_the_other_models(chromium, examples, model):
    with driven_engine(chromium) as engine:
        assert engine.open(model)["type"] == "opened"
        assert_read_alike(engine, Analyzer(model), read_image(examples / "group.jpg"))


def assert_read_alike(engine, analyzer, image):
    frame = engine.image(image)["frame"]
    assert (frame["height"], frame["width"]) == image.shape[:2]
    wanted = [face.to_dict() for face in analyzer.analyze(image)]
    assert len(frame["faces"]) == len(wanted) > 0
    for face, other in zip(frame["faces"], wanted, strict=True):
        assert_alike(face, other)


@needs_page
def test_moving_images_are_followed_as_in_python(engine, analyzer, examples):
    engine.reset()
    follower = FaceFollower(analyzer, every=10**6)
    scenes = [read_image(examples / "astronaut.jpg")[:400], read_image(examples / "obama.jpg")[:400]]
    readings = 0
    # one second in all, so that no face is forgotten: how long one is remembered depends on the machine's speed too
    for index, timestamp_s in enumerate(np.arange(12) * 0.08):
        image = np.roll(scenes[index // 6], 5 * index, axis=1)
        answer = engine.frame(image, float(timestamp_s))
        if has_read := "detect" in answer["parts_ms"]:  # when, depends on how fast this machine is
            follower._followed = 0
        readings += has_read
        frame = DecodedFrame(index=index, timestamp_s=float(timestamp_s), image=image)
        wanted = [face.to_dict() for face in follower.step(frame).faces]
        assert answer["frame"]["frame_index"] == index
        assert [face["track_id"] for face in answer["frame"]["faces"]] == [
            face["track_id"] for face in wanted
        ]
        for face, other in zip(answer["frame"]["faces"], wanted, strict=True):
            assert_alike(face, other)
            assert_same_expression(face["smoothed"], other["smoothed"])
    assert readings >= 2  # one a scene at least


@needs_page
def test_problems_are_told_in_words(engine):
    still = np.zeros((64, 64, 3), dtype=np.uint8)
    engine.reset()
    assert engine.frame(still, 2.0)["type"] == "frame"
    assert "time must not go back" in engine.frame(still, 1.0)["message"]
    assert engine.reset()["type"] == "reset"
    assert engine.frame(still, 1.0)["frame"]["frame_index"] == 0


@needs_page
def test_without_isolation_it_reads_on_one_thread(chromium):
    with driven_engine(chromium, isolated=False) as engine:
        assert "could not be loaded" in engine.open("nobody")["message"]
        assert "is a model for face-detection" in engine.open("face-detector")["message"]
        opened = engine.open("open")
        assert opened["backend"] == "WebAssembly, 1 thread"


def assert_alike(face, other):
    """One face of the page against Python's."""
    assert face.keys() == other.keys()
    np.testing.assert_allclose(face["bbox_xyxy"], other["bbox_xyxy"], atol=LANDMARKS_PX)
    np.testing.assert_allclose(face["landmarks_xy"], other["landmarks_xy"], atol=LANDMARKS_PX)
    assert face["confidence"] == pytest.approx(other["confidence"], abs=1e-4)
    assert face["head_pose_deg"] == pytest.approx(other["head_pose_deg"], abs=POSE_DEG)
    assert face["quality"] == pytest.approx(other["quality"], abs=QUALITY)
    assert_same_expression(face["expression"], other["expression"])


def assert_same_expression(seen, other):
    assert (seen is None) == (other is None)
    if seen is not None:
        assert seen["label"] == other["label"]
        assert seen["confidence"] == pytest.approx(other["confidence"], abs=PROBABILITY)
        assert list(seen["probabilities"]) == list(other["probabilities"])
        assert seen["probabilities"] == pytest.approx(other["probabilities"], abs=PROBABILITY)
