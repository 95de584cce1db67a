"""Parity of the page's engine with Python: faces, poses, qualities and expressions from the same pixels.

On the four example images, with WebAssembly, probabilities differ by at most 0.00006 and all other values are equal.
"""

import json

import numpy as np
import pytest

from mien import Analyzer
from mien.imaging import read_image, resize
from mien.runtime import DEFAULT_MODEL, shipped_models
from mien.video.follower import FaceFollower
from mien.video.io.sources import DecodedFrame
from support.browser import launch_chromium, missing_requirement, open_engine, serve_page, visit
from support.browser_fixtures import FIXTURE_FOLDER, FIXTURES, unpack
from support.images import painted_disk
from support.waiting import wait_until

LANDMARKS_PX = 0.2
POSE_DEG = 0.5
QUALITY = 0.005
PROBABILITY = 0.003


def needs_browser(test):
    reason = missing_requirement()
    return pytest.mark.slow(pytest.mark.skipif(reason is not None, reason=str(reason))(test))


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures_match_python(name):
    written = json.loads((FIXTURE_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert_equal(json.loads(json.dumps(FIXTURES[name]())), written)


def assert_equal(actual, expected):
    """Compare nested values: floats to six digits, as processors and NumPy round differently, all else exactly."""
    if isinstance(expected, dict) and expected.get("kind") == "float32":
        assert actual["shape"] == expected["shape"]
        np.testing.assert_allclose(unpack(actual), unpack(expected), rtol=1e-6, atol=1e-6)
        return
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        actual = list(actual.values())
        expected = list(expected.values())
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for actual_item, expected_item in zip(actual, expected, strict=True):
            assert_equal(actual_item, expected_item)
    else:
        is_float = isinstance(expected, float)
        assert actual == (pytest.approx(expected, rel=1e-6, abs=1e-9) if is_float else expected)


@pytest.fixture(scope="module")
def chromium():
    with launch_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def engine(chromium):
    with open_engine(chromium) as engine:
        assert engine.open()["type"] == "opened"
        yield engine


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(precision="float32")


@needs_browser
@pytest.mark.parametrize("name", ["astronaut.jpg", "biden.jpg", "group.jpg", "obama.jpg"])
def test_example_images_match_python(engine, analyzer, examples, name):
    assert_images_match(engine, analyzer, read_image(examples / name))


@needs_browser
def test_close_up_large_and_blank_images_match_python(engine, analyzer, examples):
    astronaut = read_image(examples / "astronaut.jpg")
    assert_images_match(engine, analyzer, np.ascontiguousarray(astronaut[40:240, 130:310]))
    assert_images_match(engine, analyzer, resize(astronaut, (1800, 1801)))
    assert_images_match(engine, analyzer, painted_disk())
    blank = np.full((90, 120, 3), 128, dtype=np.uint8)
    assert engine.analyze_image(blank)["result"]["faces"] == []


@needs_browser
@pytest.mark.parametrize("model", [name for name in shipped_models() if name != DEFAULT_MODEL])
def test_other_models_match_python(chromium, examples, model):
    with open_engine(chromium) as engine:
        assert engine.open(model)["type"] == "opened"
        assert_images_match(engine, Analyzer(model, precision="float32"), read_image(examples / "group.jpg"))


@needs_browser
@pytest.mark.parametrize("max_faces", [1, 2])
def test_largest_faces_match_python(chromium, analyzer, examples, max_faces):
    limited = analyzer.with_options(max_faces=max_faces)
    follower = FaceFollower(limited, detect_every=1)
    with open_engine(chromium) as engine:
        assert engine.open(max_faces=max_faces)["type"] == "opened"
        for name in ("astronaut.jpg", "biden.jpg", "group.jpg", "obama.jpg"):
            assert_images_match(engine, limited, read_image(examples / name))
        # In the enlarged image, the largest face suffices for a reduced image.
        assert_images_match(engine, limited, resize(read_image(examples / "group.jpg"), (1001, 1502)))
        image = read_image(examples / "group.jpg")
        # A slow machine detects faces in every one of these frames too.
        for index, timestamp_s in enumerate((0.0, 10.0, 20.0, 30.0)):
            frame = DecodedFrame(index=index, timestamp_s=timestamp_s, image=image)
            expected = [face.to_dict() for face in follower.step(frame).faces]
            faces = engine.analyze_frame(image, timestamp_s)["result"]["faces"]
            assert [face["track_id"] for face in faces] == [face["track_id"] for face in expected]
            assert len(faces) == max_faces
            for face, expected_face in zip(faces, expected, strict=True):
                assert_face_matches(face, expected_face)


@needs_browser
def test_rejects_a_limit_of_no_faces(chromium):
    with open_engine(chromium) as engine:
        assert "maxFaces is 0; expected an integer, 1 or more" in engine.open(max_faces=0)["message"]


def assert_images_match(engine, analyzer, image):
    frame = engine.analyze_image(image)["result"]
    assert (frame["height"], frame["width"]) == image.shape[:2]
    expected = [face.to_dict() for face in analyzer.analyze(image)]
    assert len(frame["faces"]) == len(expected) > 0
    for face, expected_face in zip(frame["faces"], expected, strict=True):
        assert_face_matches(face, expected_face)


@needs_browser
def test_video_frames_match_python(engine, analyzer, examples):
    engine.reset()
    follower = FaceFollower(analyzer, detect_every=10**6)
    scenes = [read_image(examples / f"{name}.jpg")[:400] for name in ("astronaut", "obama")]
    scenes.append(np.ascontiguousarray(scenes[1][::-1, ::-1]))  # upside down
    detections, rolls_deg = 0, []
    # One second in all: after that, which lost faces are remembered depends on the machine's speed.
    for index, timestamp_s in enumerate(np.arange(18) * 0.05):
        image = np.roll(scenes[index // 6], 5 * index, axis=1)
        response = engine.analyze_frame(image, float(timestamp_s))
        # The machine's speed decides in which frames the page detects faces; Python follows.
        if has_detected := "detect" in response["timings_ms"]:
            follower.schedule.restart()
        detections += has_detected
        frame = DecodedFrame(index=index, timestamp_s=float(timestamp_s), image=image)
        expected = [face.to_dict() for face in follower.step(frame).faces]
        faces = response["result"]["faces"]
        assert response["result"]["frame_index"] == index
        assert [face["track_id"] for face in faces] == [face["track_id"] for face in expected]
        for face, expected_face in zip(faces, expected, strict=True):
            assert_face_matches(face, expected_face)
            assert_expression_matches(face["smoothed"], expected_face["smoothed"])
            rolls_deg.append(abs(face["head_pose_deg"]["roll"]))
    # At least one in each scene.
    assert detections >= 3
    assert max(rolls_deg) > 170


@needs_browser
def test_rejects_timestamps_that_go_backwards_until_reset(engine):
    blank = np.zeros((64, 64, 3), dtype=np.uint8)
    engine.reset()
    assert engine.analyze_frame(blank, 2.0)["type"] == "frame"
    assert "time must not go back" in engine.analyze_frame(blank, 1.0)["message"]
    assert engine.reset()["type"] == "reset"
    assert engine.analyze_frame(blank, 1.0)["result"]["frame_index"] == 0


@needs_browser
def test_rejects_unknown_models_and_runs_on_one_thread_without_isolation(chromium):
    with open_engine(chromium, isolated=False) as engine:
        assert "could not be loaded" in engine.open("nobody")["message"]
        assert "is a model for face-detection" in engine.open("face-detector")["message"]
        opened = engine.open("open")
        assert opened["runtime"] == "WebAssembly, 1 thread"


@needs_browser
def test_second_visit_downloads_neither_models_nor_runtime(chromium):
    requests: list[str] = []
    with serve_page(requests=requests) as url, chromium.new_context() as profile:
        with visit(profile, url) as engine:
            assert engine.open("mobile")["type"] == "opened"
            wait_until(lambda: len(engine.stored_files()) == 5)
        assert sum(path.endswith((".onnx", ".wasm")) for path in requests) >= 4
        requests.clear()
        with visit(profile, url) as engine:
            assert engine.open("mobile")["type"] == "opened"
            models = ["face-detector", "face-landmarks-small", "face-landmarks", "mobile"]
            assert engine.stored_files() == [*(f"{model}.onnx" for model in models), "onnxruntime-wasm"]
    assert "/models/mobile.json" in requests
    assert not any(path.endswith((".onnx", ".wasm")) for path in requests)


def assert_face_matches(face, expected):
    assert face.keys() == expected.keys()
    np.testing.assert_allclose(face["bbox_xyxy"], expected["bbox_xyxy"], atol=LANDMARKS_PX)
    np.testing.assert_allclose(face["landmarks_xy"], expected["landmarks_xy"], atol=LANDMARKS_PX)
    assert face["is_face_doubtful"] == expected["is_face_doubtful"]
    assert face["confidence"] == pytest.approx(expected["confidence"], abs=1e-4)
    assert face["head_pose_deg"] == pytest.approx(expected["head_pose_deg"], abs=POSE_DEG)
    assert face["quality"] == pytest.approx(expected["quality"], abs=QUALITY)
    assert_expression_matches(face["expression"], expected["expression"])


def assert_expression_matches(expression, expected):
    assert (expression is None) == (expected is None)
    if expression is not None:
        assert expression["label"] == expected["label"]
        assert expression["confidence"] == pytest.approx(expected["confidence"], abs=PROBABILITY)
        assert list(expression["probabilities"]) == list(expected["probabilities"])
        assert expression["probabilities"] == pytest.approx(expected["probabilities"], abs=PROBABILITY)
