from __future__ import annotations

import copy
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien.inference.analyzer
import mien.runtime
from mien.errors import ImageReadError, InputError, MienError, ModelError
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.inference.explain import explain
from mien.inference.options import AnalysisOptions
from mien.manifest import QualityTemperature
from mien.metrics import softmax
from mien.parallel import ITEMS_PER_WORKER
from support.images import PORTRAITS, bust, rotated
from support.models import make_explainable, make_model


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def expression_analyzer():
    return Analyzer(threads=1)


def plain(faces):
    return [face.to_dict() for face in faces]


def test_no_images_or_no_faces_give_empty_results(analyzer):
    assert list(analyzer.analyze_many([])) == []
    assert analyzer.analyze(np.full((120, 160, 3), 90, dtype=np.uint8)).faces == ()


def test_portrait_has_one_complete_face(analyzer, portrait):
    (face,) = analyzer.analyze(portrait)
    assert face.mesh_xyz.shape == (478, 3)
    assert abs(face.head_pose.yaw_deg) < 10
    assert face.quality.frontality > 0.9
    assert face.expression.probabilities.sum() == pytest.approx(1)
    assert face.expression.labels == analyzer.manifest.labels


def test_every_image_source_has_the_same_result(analyzer, examples, portrait):
    path = examples / "astronaut.jpg"
    expected = plain(analyzer.analyze(portrait))
    assert plain(analyzer.analyze(path)) == expected
    assert plain(analyzer.analyze(str(path))) == expected
    assert plain(analyzer.analyze(path.read_bytes())) == expected
    with path.open("rb") as file:
        assert plain(analyzer.analyze(file)) == expected
    assert plain(analyzer.analyze(Image.fromarray(portrait))) == expected


def test_quality_raises_temperature_in_every_method(tmp_path, portrait):
    spec = QualityTemperature(size_px=1e4, per_halving=0.2, sharpness=1.0, per_blur=0.5)  # hard for any face
    model = make_explainable(tmp_path / "m.onnx", quality_temperature=spec)
    analyzer = Analyzer(model)
    classifier = ExpressionClassifier(model)
    (face,) = analyzer.analyze(portrait)
    assert face.quality is not None
    temperature = classifier.manifest.temperature * spec.factor(face.quality)
    expected = softmax(classifier.logits(classifier.crop(portrait, face)[None]), temperature)[0]
    (predicted,) = analyzer.predict_faces(portrait, analyzer.detect(portrait))
    (explained,) = explain(portrait, analyzer=analyzer)
    for one in (face, predicted, explained.face):
        assert one.expression is not None
        np.testing.assert_allclose(one.expression.probabilities, expected, rtol=1e-4)
    assert temperature > 2 * classifier.manifest.temperature


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("turn_deg", [90, 135, 180])
def test_rotated_face_has_label_of_upright_face(expression_analyzer, name, turn_deg):
    """Pixels without their EXIF rotation."""
    [upright] = expression_analyzer.analyze(bust(name))
    [face] = expression_analyzer.analyze(rotated(bust(name), turn_deg))
    assert face.expression.label == upright.expression.label


def test_analyze_raises_for_unreadable_images(analyzer, tmp_path):
    with pytest.raises(ImageReadError):
        analyzer.analyze(tmp_path / "missing.jpg")
    with pytest.raises(InputError):
        analyzer.analyze(np.zeros((5, 5)))
    with pytest.raises(InputError, match="NoneType"):
        analyzer.analyze(None)


def test_analyzer_is_immutable(analyzer):
    with pytest.raises(AttributeError):
        analyzer.options = AnalysisOptions()
    with pytest.raises(FrozenInstanceError):
        analyzer.options.min_confidence = 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("threads", "2"), ("threads", None), ("threads", True), ("max_faces", 2.0), ("max_faces", "2")),
        *(
            ("detector_size", 640.5),
            ("detector_size", None),
            ("min_confidence", "0.5"),
            ("min_confidence", float("nan")),
        ),
        *(("max_error", "0.1"), ("max_error", float("nan")), ("pose", None), ("pose", 1), ("flip_tta", "no")),
        *(("max_pixels", None), ("max_pixels", 1e6), ("color", "hsv"), ("color", None), ("model", None), ("model", 3)),
    ],
)
def test_rejects_arguments_of_other_types(tiny_model, analyzer, name, value):
    with pytest.raises(InputError, match=f"{name} is .*; expected"):
        Analyzer(**{"model": tiny_model, name: value})
    if name not in ("model", "threads"):
        with pytest.raises(InputError, match=f"{name} is .*; expected"):
            analyzer.analyze(np.zeros((9, 9, 3), np.uint8), **{name: value})


def test_accepts_numbers_of_numpy(tiny_model, group):
    analyzer = Analyzer(tiny_model, threads=np.int64(1), max_faces=np.int32(2), pose=np.False_)
    assert len(analyzer.analyze(group, min_confidence=np.float32(0.5), detector_size=np.int16(640))) == 2
    assert type(analyzer.options.max_faces) is int


@pytest.mark.parametrize(
    "arguments", [{"max_faces": 0}, {"threads": -1}, {"min_confidence": 0}, {"detector_size": 1}, {"max_error": 2}]
)
def test_rejects_arguments_out_of_range(tiny_model, arguments):
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
    np.testing.assert_allclose(analyzer.analyze(portrait)[0].expression.probabilities, mirrored.probabilities, atol=0.1)


def test_a_misspelt_option_names_the_nearest(analyzer, portrait):
    with pytest.raises(InputError, match=r"^unknown option max_face\. Did you mean max_faces\?$"):
        analyzer.analyze(portrait, max_face=1)


@pytest.mark.filterwarnings("ignore::mien.MienWarning")
def test_detector_size_of_one_call_equals_that_of_the_analyzer(tiny_model, analyzer, group):
    small = Analyzer(tiny_model, detector_size=128, threads=1).analyze(group)
    assert len(small) < len(analyzer.analyze(group))
    for other in (
        analyzer.analyze(group, detector_size=128),
        next(analyzer.analyze_many([group], detector_size=128)),
        analyzer.with_options(detector_size=128).analyze(group),
    ):
        np.testing.assert_array_equal([face.bbox_xyxy for face in other], [face.bbox_xyxy for face in small])
    with pytest.raises(InputError, match="detector_size is 9000"):
        analyzer.analyze(group, detector_size=9000)


def test_action_units_of_posed_faces_are_those_of_the_detailed_mesh(tiny_model, portrait):
    posed = Analyzer(tiny_model, threads=1).analyze(portrait).faces
    analyzer = Analyzer(tiny_model, threads=1, action_units=True)
    [face] = analyzer.predict_faces(portrait, posed)
    [expected] = analyzer.analyze(portrait).faces
    assert face.action_units == pytest.approx(expected.action_units)


def test_networks_state_device_and_precision(tiny_model, group):
    analyzer = Analyzer(tiny_model, threads=1, device="cpu", precision="float32", pose=False)
    assert set(analyzer.networks) == {"face detector", "expression"}
    assert {(one.device, one.precision) for one in analyzer.networks.values()} == {("cpu", "float32")}
    analyzer.analyze(group, action_units=True, pose=True)
    meshes = {"small mesh", "detailed mesh"}
    assert set(analyzer.networks) == {"face detector", "expression", "blendshapes", *meshes}


@pytest.mark.parametrize("arguments", [{"device": "cudda"}, {"precision": "int4"}, {"device": 1}])
def test_rejects_unknown_devices_and_precisions(tiny_model, arguments):
    with pytest.raises(InputError, match=r"unknown (device|precision)"):
        Analyzer(tiny_model, **arguments)


def test_with_options_changes_defaults_and_shares_the_networks(analyzer, group):
    other = analyzer.with_options(max_faces=1, pose=False)
    [face] = other.analyze(group)
    assert face.head_pose is None
    assert other.classifier is analyzer.classifier
    assert (analyzer.options.max_faces, other.options.max_faces) == (None, 1)
    with pytest.raises(InputError, match="max_faces is 0"):
        analyzer.with_options(max_faces=0)


def test_eight_threads_agree_with_one(analyzer, portrait, group):
    images = [portrait, group[::2, ::2].copy(), portrait[:, ::-1].copy(), portrait[:20]]
    expected = [plain(analyzer.analyze(image)) for image in images] * 2
    with ThreadPoolExecutor(8) as pool:
        assert [plain(faces) for faces in pool.map(analyzer.analyze, images * 2)] == expected


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_analyze_many_keeps_order_and_skips_bad_images(analyzer, examples, portrait, group, tmp_path, workers):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((examples / "astronaut.jpg").read_bytes()[:2000])
    blank = np.zeros((64, 80, 3), dtype=np.uint8)
    sources = [portrait, blank, broken, group, b"", examples / "astronaut.jpg", blank]
    analyses = list(analyzer.analyze_many(sources, workers=workers))
    assert [analysis.error is None for analysis in analyses] == [True, True, False, True, False, True, True]
    assert [analysis.source for analysis in analyses] == [
        *("image 0", "image 1", str(broken), "image 3", "image 4", str(examples / "astronaut.jpg"), "image 6")
    ]
    assert (analyses[1].width, analyses[1].height, analyses[1].faces) == (80, 64, ())
    alone = analyzer.analyze(group)
    assert len(analyses[3].faces) > 1
    assert plain(analyses[3].faces) == plain(alone)
    record = analyses[2].to_dict()
    assert (record["width"], record["height"], record["faces"]) == (0, 0, [])
    assert record["error"]["code"] == "image_unreadable"
    assert str(broken) in record["error"]["message"]


@pytest.mark.parametrize("stage", ["pose_faces", "crop"])
def test_analyze_many_continues_after_error_of_one_image(tiny_model, portrait, group, monkeypatch, stage):
    analyzer = Analyzer(tiny_model, threads=1)
    owner = mien.inference.analyzer if stage == "pose_faces" else analyzer.classifier
    original = getattr(owner, stage)

    def refuse(image, *rest, **options):
        if np.array_equal(image, group):
            raise InputError("the transform shrinks the image to nothing")
        return original(image, *rest, **options)

    monkeypatch.setattr(owner, stage, refuse)
    before, refused, after = analyzer.analyze_many([portrait, group, portrait])
    assert plain(before.faces) == plain(after.faces) == plain(analyzer.analyze(portrait))
    assert (refused.faces, refused.error.code) == ((), "input")
    with pytest.raises(InputError, match="to nothing"):
        analyzer.analyze(group)


def test_analyze_many_copies_mutable_inputs(analyzer, examples, portrait, group):
    small = group[:300, :400]
    expected = [plain(analyzer.analyze(image)) for image in (portrait, group)]

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

    def closed_pillow_images():
        for name in ("obama", "group"):
            with Image.open(examples / f"{name}.jpg") as image:
                yield image

    first, second, _ = analyzer.analyze_many(one_buffer())
    assert plain(first.faces) == expected[1]
    assert plain(first.faces) != plain(second.faces)
    for images in (closed_files(), closed_pillow_images()):
        one, other = analyzer.analyze_many(images)
        assert (one.error, other.error) == (None, None)
        assert plain(other.faces) == expected[1]


def test_analyze_many_yields_results_before_iterable_raises(analyzer, portrait):
    def failing():
        yield from [portrait] * 3
        raise RuntimeError("the camera is gone")

    results = []
    with pytest.raises(RuntimeError, match="the camera is gone"):
        results.extend(analyzer.analyze_many(failing()))
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
def test_analyze_many_rejects_a_single_image(analyzer, one):
    with pytest.raises(InputError, match="use analyze for one image"):
        analyzer.analyze_many(one)


class Table(dict):
    """Looks like a data frame, which iterates over the names of its columns."""

    columns = ("path",)


@pytest.mark.parametrize(
    ("images", "hint"),
    [
        *((Table(path=["a.jpg"]), "got a Table; pass the column"), ({"a": "a.jpg"}, r"images\.values\(\)")),
        *((7, "got int"), (None, "got NoneType"), (np.zeros((9, 9), np.uint8), "use analyze for one image")),
        *((np.zeros((n, 9, 8), np.uint8), rf"\({n}, 9, 8\); pass gray images .* as list\(images\)") for n in (2, 3)),
    ],
)
def test_analyze_many_says_what_to_pass(analyzer, images, hint):
    with pytest.raises(InputError, match=hint):
        analyzer.analyze_many(images)


def test_analyze_many_keeps_results_beside_items_of_any_kind(analyzer, portrait, tmp_path):
    class Broken:
        def read(self):
            raise RuntimeError("the connection was lost")

    class BrokenPath:
        __fspath__ = Broken.read

        def __init__(self):
            os.PathLike.register(type(self))

    closed = Image.fromarray(portrait)
    closed.close()
    odd = [
        None,
        7,
        {},
        ("a.jpg", "label"),
        [portrait],
        Broken(),
        BrokenPath(),
        object,
        float("nan"),
        "a\0b",
        "",
        tmp_path,
    ]
    odd += [closed, portrait / 255, portrait.astype(object), np.ma.array(portrait), "https://example.org/a.jpg"]
    images = [image for item in odd for image in (item, portrait)]
    for workers in (1, 3):
        results = list(analyzer.analyze_many(images, workers=workers))
        assert [len(result.faces) for result in results] == [0, 1] * len(odd)
        assert all(isinstance(result.error, MienError) for result in results[::2])


def test_bgr_arrays_have_the_same_result(analyzer, group):
    swapped = np.ascontiguousarray(group[:, :, ::-1])
    expected = plain(analyzer.analyze(group))
    assert plain(analyzer.analyze(swapped, color="bgr")) == expected
    for workers in (1, 2):
        (result, unswapped) = analyzer.analyze_many([swapped, Image.fromarray(group)], color="bgr", workers=workers)
        assert plain(result.faces) == plain(unswapped.faces) == expected
    assert plain(analyzer.with_options(color="bgr").analyze(swapped)) == expected


def test_faces_compare_by_identity(analyzer, group):
    faces = analyzer.analyze(group).faces
    assert faces.index(faces[1]) == 1
    assert len({*faces, *faces}) == len(faces)


@pytest.mark.parametrize("image", ["photo.jpg", None, np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3))])
def test_detect_and_predict_faces_reject_non_images(tiny_model, portrait, image):
    analyzer = Analyzer(tiny_model, pose=False, threads=1)
    detections = analyzer.detect(portrait)
    for method in (analyzer.detect, lambda image: analyzer.predict_faces(image, detections)):
        with pytest.raises(InputError, match="expected an image"):
            method(image)


def test_analyze_many_raises_model_errors(tiny_model, portrait, monkeypatch):
    analyzer = Analyzer(tiny_model, threads=1)

    def fail(*_, **_options):
        raise ModelError("the network fails")

    monkeypatch.setattr(mien.inference.analyzer, "pose_faces", fail)
    with pytest.raises(ModelError):
        list(analyzer.analyze_many([portrait]))


def test_probabilities_of_a_record_sum_to_one(analyzer, group):
    for face in analyzer.analyze(group):
        record = face.to_dict()["expression"]
        assert abs(sum(record["probabilities"].values()) - 1) < 1e-5
        assert abs(record["confidence"] - face.expression.confidence) < 1e-6


def test_analyze_many_bounds_its_read_ahead(analyzer):
    taken = 0
    blank = np.zeros((64, 64, 3), dtype=np.uint8)

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield blank

    analyses = analyzer.analyze_many(endless(), workers=3)
    assert taken == 0
    for _ in range(8):
        next(analyses)
    assert taken < 8 + ITEMS_PER_WORKER * 3
    analyses.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-worker")]


def test_analyze_many_rejects_negative_workers(analyzer):
    with pytest.raises(InputError, match="workers is -1"):
        analyzer.analyze_many([], workers=-1)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_parallel_images_have_networks_with_one_thread_by_default(tiny_model, portrait, monkeypatch, threads):
    opened = []
    original = mien.runtime.open_first
    monkeypatch.setattr(mien.runtime, "open_first", lambda *args: opened.append(args[1]) or original(*args))
    analyzer = Analyzer(tiny_model, threads=threads, device="cpu")
    for _ in range(2):
        results = analyzer.analyze_many([portrait] * 3, workers=2)
        assert [len(result.faces) for result in results] == [1, 1, 1]
    assert opened == [threads] * 3 + [1] * 3 * (threads == 0)


@pytest.mark.parametrize("changes", [{"temperature": 2.0}, {}], ids=["calibration", "network"])
def test_parallel_images_refuse_a_model_that_was_replaced(tmp_path, portrait, monkeypatch, changes):
    monkeypatch.chdir(tmp_path)
    make_model(Path("mine.onnx"))
    analyzer = Analyzer("mine.onnx", device="cpu", pose=False)
    before = analyzer.analyze(portrait).to_dict()
    (make_model if changes else make_explainable)(Path("mine.onnx"), **changes)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"^mine\.onnx has changed since it was loaded; create"):
            list(analyzer.analyze_many([portrait], workers=2))
    (result,) = analyzer.analyze_many([portrait], workers=1)
    assert result.to_dict()["faces"] == before["faces"]


def test_relative_path_of_a_model_is_that_of_the_folder_in_which_it_was_opened(
    tiny_model, portrait, tmp_path, monkeypatch
):
    monkeypatch.chdir(tiny_model.parent)
    analyzer = Analyzer(tiny_model.name, device="cpu", pose=False)
    monkeypatch.chdir(tmp_path)
    assert [len(result) for result in analyzer.analyze_many([portrait] * 2, workers=2)] == [1, 1]
    assert len(copy.copy(analyzer).analyze(portrait)) == 1
    assert repr(analyzer).startswith(f"Analyzer({tiny_model.name!r}")


def test_errors_of_analyze_many_do_not_keep_the_image_in_memory(analyzer):
    (result,) = analyzer.analyze_many([b"not an image"])
    assert result.error.__traceback__ is None
    assert result.error.__context__ is None
