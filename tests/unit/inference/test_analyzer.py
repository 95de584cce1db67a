from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien.inference.analyzer
from mien.errors import ImageReadError, InputError, ModelError
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.inference.explain import explain
from mien.inference.options import AnalysisOptions
from mien.manifest import QualityTemperature
from mien.metrics import softmax
from support.images import PORTRAITS, bust, turned
from support.models import make_explainable


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def expression_analyzer():
    return Analyzer(threads=1)


def plain(faces):
    return [face.to_dict() for face in faces]


def test_no_images_no_faces(analyzer):
    assert list(analyzer.analyze_many([])) == []
    assert analyzer.analyze(np.full((120, 160, 3), 90, dtype=np.uint8)).faces == ()


def test_a_portrait_gives_one_whole_face(analyzer, portrait):
    (face,) = analyzer.analyze(portrait)
    assert face.mesh_xyz.shape == (478, 3)
    assert abs(face.head_pose.yaw_deg) < 10
    assert face.quality.frontality > 0.9
    assert face.expression.probabilities.sum() == pytest.approx(1)
    assert face.expression.labels == analyzer.manifest.labels


def test_every_source_gives_the_same(analyzer, examples, portrait):
    path = examples / "astronaut.jpg"
    expected = plain(analyzer.analyze(portrait))
    assert plain(analyzer.analyze(path)) == expected
    assert plain(analyzer.analyze(str(path))) == expected
    assert plain(analyzer.analyze(path.read_bytes())) == expected
    with path.open("rb") as file:
        assert plain(analyzer.analyze(file)) == expected
    assert plain(analyzer.analyze(Image.fromarray(portrait))) == expected


def test_every_way_to_a_face_minds_its_quality(tmp_path, portrait):
    spec = QualityTemperature(size_px=1e4, per_halving=0.2, sharpness=1.0, per_blur=0.5)  # hard for any face
    model = make_explainable(tmp_path / "m.onnx", quality_temperature=spec)
    analyzer = Analyzer(model)
    classifier = ExpressionClassifier(model)
    (face,) = analyzer.analyze(portrait)
    assert face.quality is not None
    temperature = classifier.manifest.temperature * spec.factor(face.quality)
    expected = softmax(classifier.logits(classifier.crop(portrait, face)[None]), temperature)[0]
    (read,) = analyzer.predict_faces(portrait, analyzer.detect(portrait))
    (explained,) = explain(portrait, analyzer=analyzer)
    for found in (face, read, explained.face):
        assert found.expression is not None
        np.testing.assert_allclose(found.expression.probabilities, expected, rtol=1e-4)
    assert temperature > 2 * classifier.manifest.temperature


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("turn_deg", [90, 135, 180])
def test_a_face_that_lies_otherwise_is_read_as_the_upright_one(expression_analyzer, name, turn_deg):
    """Pixels without their EXIF rotation."""
    [upright] = expression_analyzer.analyze(bust(name))
    [face] = expression_analyzer.analyze(turned(bust(name), turn_deg))
    assert face.expression.label == upright.expression.label


def test_bad_images_raise(analyzer, tmp_path):
    with pytest.raises(ImageReadError):
        analyzer.analyze(tmp_path / "missing.jpg")
    with pytest.raises(InputError):
        analyzer.analyze(np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(InputError, match="NoneType"):
        analyzer.analyze(None)


def test_it_cannot_be_changed(analyzer):
    with pytest.raises(AttributeError):
        analyzer.options = AnalysisOptions()
    with pytest.raises(FrozenInstanceError):
        analyzer.options.min_confidence = 0.1


@pytest.mark.parametrize(
    "arguments",
    [{"max_faces": 0}, {"threads": -1}, {"min_confidence": 0}, {"detector_size": 1}, {"max_error": 2}],
)
def test_arguments_out_of_range_are_refused(tiny_model, arguments):
    with pytest.raises(InputError):
        Analyzer(tiny_model, **arguments)


def test_options(tiny_model, group, portrait):
    analyzer = Analyzer(tiny_model, max_faces=2, pose=False, flip_tta=True, threads=1)
    faces = analyzer.analyze(group)
    everyone = Analyzer(tiny_model, threads=1).analyze(group)
    assert len(faces) == 2 < len(everyone)
    for face, same in zip(faces, everyone, strict=False):
        np.testing.assert_array_equal(face.bbox_xyxy, same.bbox_xyxy)
        assert face.mesh_xyz is None
        assert face.head_pose is None
        assert face.quality.frontality is None
    mirrored = analyzer.analyze(np.ascontiguousarray(portrait[:, ::-1]))[0].expression
    np.testing.assert_allclose(
        analyzer.analyze(portrait)[0].expression.probabilities, mirrored.probabilities, atol=0.1
    )


def test_eight_threads_give_what_one_gives(analyzer, portrait, group):
    images = [portrait, group[::2, ::2].copy(), portrait[:, ::-1].copy(), portrait[:20]]
    expected = [plain(analyzer.analyze(image)) for image in images] * 2
    with ThreadPoolExecutor(8) as pool:
        assert [plain(faces) for faces in pool.map(analyzer.analyze, images * 2)] == expected


@pytest.mark.parametrize("batch_faces", [1, 3, 100])
def test_many_keep_their_order_and_pass_over_bad_ones(
    analyzer, examples, portrait, group, tmp_path, batch_faces
):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((examples / "astronaut.jpg").read_bytes()[:2000])
    blank = np.zeros((64, 80, 3), dtype=np.uint8)
    sources = [portrait, blank, broken, group, b"", examples / "astronaut.jpg", blank]
    analyses = list(analyzer.analyze_many(sources, batch_faces=batch_faces, decode_ahead=2))
    assert [analysis.error is None for analysis in analyses] == [True, True, False, True, False, True, True]
    assert [analysis.source for analysis in analyses] == [
        *("image 0", "image 1", str(broken), "image 3", "image 4", str(examples / "astronaut.jpg"), "image 6")
    ]
    assert (analyses[1].width, analyses[1].height, analyses[1].faces) == (80, 64, ())
    alone = analyzer.analyze(group)
    assert len(analyses[3].faces) == len(alone) > 1
    for face, same in zip(analyses[3].faces, alone, strict=True):
        np.testing.assert_array_equal(face.bbox_xyxy, same.bbox_xyxy)
        np.testing.assert_allclose(face.expression.probabilities, same.expression.probabilities, atol=1e-4)
    record = analyses[2].to_dict()
    assert (record["width"], record["height"], record["faces"]) == (0, 0, [])
    assert record["error"]["code"] == "image_unreadable"
    assert str(broken) in record["error"]["message"]


@pytest.mark.parametrize("stage", ["measure_faces", "crop"])
def test_many_go_on_when_a_later_stage_refuses_a_image(tiny_model, portrait, group, monkeypatch, stage):
    analyzer = Analyzer(tiny_model, threads=1)
    home = mien.inference.analyzer if stage == "measure_faces" else analyzer._classifier
    usual = getattr(home, stage)

    def refuse(image, *rest):
        if np.array_equal(image, group):
            raise InputError("the transform shrinks the image to nothing")
        return usual(image, *rest)

    monkeypatch.setattr(home, stage, refuse)
    before, refused, after = analyzer.analyze_many([portrait, group, portrait])
    assert plain(before.faces) == plain(after.faces) == plain(analyzer.analyze(portrait))
    assert (refused.faces, refused.error.code) == ((), "input")
    with pytest.raises(InputError, match="to nothing"):
        analyzer.analyze(group)


def test_many_take_over_what_the_caller_goes_on_to_change(analyzer, examples, portrait, group):
    small, wanted = group[:300, :400], [plain(analyzer.analyze(image)) for image in (portrait, group)]

    def one_buffer():
        buffer = np.empty_like(group)
        buffer[:] = 0
        for image in (group, portrait, small):
            buffer[:] = 0
            buffer[: image.shape[0], : image.shape[1]] = image
            yield buffer

    def closed_files():
        for name in ("obama", "group"):
            with (examples / f"{name}.jpg").open("rb") as file:
                yield file

    def closed_pictures():
        for name in ("obama", "group"):
            with Image.open(examples / f"{name}.jpg") as picture:
                yield picture

    first, second, _ = analyzer.analyze_many(one_buffer())
    assert plain(first.faces) == wanted[1]
    assert plain(first.faces) != plain(second.faces)
    for given in (closed_files(), closed_pictures()):
        one, other = analyzer.analyze_many(given)
        assert (one.error, other.error) == (None, None)
        assert plain(other.faces) == wanted[1]


def test_many_give_what_came_before_the_iterable_failed(analyzer, portrait):
    def failing():
        yield from [portrait] * 3
        raise RuntimeError("the camera is gone")

    given = []
    with pytest.raises(RuntimeError, match="the camera is gone"):
        given.extend(analyzer.analyze_many(failing()))
    results = analyzer.analyze_many(failing())
    assert [len(next(results).faces) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(RuntimeError, match="the camera is gone"):
        next(results)


@pytest.mark.parametrize(
    "one",
    [
        *("photo.jpg", Path("photo.jpg"), b"bytes", bytearray(b"bytes"), BytesIO(b"bytes")),
        *(np.zeros((9, 9, 3), np.uint8), Image.new("RGB", (9, 9))),
    ],
)
def test_many_refuse_a_single_image(analyzer, one):
    with pytest.raises(InputError, match="one image goes to analyze"):
        analyzer.analyze_many(one)


def test_faces_can_be_looked_up(analyzer, group):
    faces = analyzer.analyze(group).faces
    assert faces.index(faces[1]) == 1
    assert len({*faces, *faces}) == len(faces)


@pytest.mark.parametrize("image", ["photo.jpg", None, np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3))])
def test_what_is_no_pixels_is_refused_by_both_halves(tiny_model, portrait, image):
    analyzer = Analyzer(tiny_model, pose=False, threads=1)
    found = analyzer.detect(portrait)
    for half in (analyzer.detect, lambda image: analyzer.predict_faces(image, found)):
        with pytest.raises(InputError, match="expected an image"):
            half(image)


def test_many_end_when_the_model_fails(tiny_model, portrait, monkeypatch):
    analyzer = Analyzer(tiny_model, threads=1)

    def fail(*_):
        raise ModelError("the network fails")

    monkeypatch.setattr(mien.inference.analyzer, "measure_faces", fail)
    with pytest.raises(ModelError):
        list(analyzer.analyze_many([portrait]))


def test_a_records_probabilities_sum_to_one(analyzer, group):
    for face in analyzer.analyze(group):
        record = face.to_dict()["expression"]
        assert abs(sum(record["probabilities"].values()) - 1) < 1e-5
        assert abs(record["confidence"] - face.expression.confidence) < 1e-6


def test_many_read_no_further_ahead_than_told(analyzer):
    taken = 0
    blank = np.zeros((64, 64, 3), dtype=np.uint8)

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield blank

    analyses = analyzer.analyze_many(endless(), batch_faces=4, decode_ahead=3)
    assert taken == 0
    for _ in range(8):
        next(analyses)
    assert taken <= 8 + 3 + 1
    analyses.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-decode")]


def test_many_refuses_impossible_bounds_at_once(analyzer):
    with pytest.raises(InputError):
        analyzer.analyze_many([], batch_faces=0)
    with pytest.raises(InputError):
        analyzer.analyze_many([], decode_ahead=0)
