from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import mien
from mien.errors import ImageReadError, InputError
from mien.inference.analyzer import Analyzer
from mien.inference.result import Result, to_pandas
from mien.schema import table_columns


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def result(analyzer, examples):
    return analyzer.analyze(examples / "group.jpg")


def test_empty_result():
    result = Result(source="blank.png", width=4, height=3)
    assert (len(result), list(result), bool(result)) == (0, [], False)
    assert repr(result) == "<Result blank.png: 4x3, 0 faces>"
    assert len(result.to_pandas()) == 1
    assert result._repr_png_() is None


def test_behaves_like_its_faces(result):
    assert len(result) == len(result.faces) == len(list(result)) == 11
    assert result[0] is result.faces[0]
    assert result[-2:] == result.faces[-2:]


def test_repr_lists_first_faces(result):
    lines = repr(result).splitlines()
    assert lines[0].startswith("<Result ")
    assert lines[0].endswith("11 faces>")
    assert len(lines) == 7
    assert lines[-1] == "  ... and 6 more"


def test_json_equals_dict(result):
    assert json.loads(result.to_json()) == result.to_dict()
    assert list(result.to_dict()) == ["image", "width", "height", "faces", "warnings", "error"]


def test_table_has_one_row_per_face(analyzer, result):
    table = result.to_pandas()
    assert list(table) == list(table_columns(analyzer.manifest.labels))
    assert len(table) == 11
    assert list(table["face"]) == list(range(1, 12))
    assert table["p_happiness"][0] == pytest.approx(result[0].expression["happiness"], abs=1e-6)


def test_table_of_several_results_keeps_unreadable_images(analyzer, examples, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    sources = [tmp_path / "broken.jpg", examples / "astronaut.jpg", np.zeros((64, 64, 3), np.uint8)]
    table = to_pandas(analyzer.analyze_many(sources))
    assert list(table["error"].fillna("")) == ["image_unreadable", "", ""]
    assert list(table["face"].fillna(0)) == [0, 1, 0]
    assert mien.to_pandas([]).empty


def test_table_of_one_result_is_its_own(result):
    assert to_pandas(result).equals(result.to_pandas())


def test_table_has_the_action_units_of_every_result(analyzer, portrait):
    plain, full = analyzer.analyze(portrait), analyzer.analyze(portrait, action_units=True)
    table = to_pandas([plain, full])
    assert list(table) == list(full.columns)
    assert table["AU12"].isna().tolist() == [True, False]


def test_plot_draws_on_a_copy(result):
    drawn = result.plot()
    assert drawn.mode == "RGB"
    assert drawn.width >= result.width


def test_plot_needs_pixels_that_were_not_kept(analyzer, portrait):
    (result,) = analyzer.analyze_many([portrait])
    with pytest.raises(InputError, match=r"result\.plot\(image\)"):
        result.plot()
    assert result.plot(portrait).width >= portrait.shape[1]
    with pytest.raises(InputError, match="has changed"):
        result.plot(portrait[:-1])


def test_plot_takes_pixels_of_opencv(analyzer, portrait):
    bgr = np.ascontiguousarray(portrait[:, :, ::-1])
    (result,) = analyzer.analyze_many([bgr], color="bgr")
    np.testing.assert_array_equal(result.plot(bgr, color="bgr"), result.plot(portrait))
    np.testing.assert_array_equal(analyzer.analyze(bgr, color="bgr").plot(color="bgr"), result.plot(portrait))
    with pytest.raises(InputError, match="color is 'hsv'"):
        result.plot(bgr, color="hsv")


def test_plot_of_unreadable_image_raises_its_error(analyzer):
    (result,) = analyzer.analyze_many([b"no image"])
    with pytest.raises(ImageReadError):
        result.plot()
    assert "image 0" in repr(result)


def test_notebook_shows_annotated_image(result):
    shown = Image.open(io.BytesIO(result._repr_png_()))
    assert max(shown.size) <= 960


def test_expression_lookup_and_top(result):
    expression = result[0].expression
    ranking = expression.top(8)
    assert [value for _, value in ranking] == sorted((value for _, value in ranking), reverse=True)
    assert ranking[0] == (expression.top(1)[0][0], pytest.approx(expression.confidence))
    assert expression[ranking[0][0]] == ranking[0][1]
    with pytest.raises(KeyError, match="joy"):
        expression["joy"]


def test_options_of_a_call_override_defaults(analyzer, group):
    assert len(analyzer.analyze(group, max_faces=2)) == 2
    assert len(analyzer.analyze(group)) == 11
    assert analyzer.analyze(group, pose=False, max_faces=1)[0].head_pose is None
    assert analyzer.analyze(group, max_faces=1)[0].head_pose is not None
    (many,) = analyzer.analyze_many([group], max_faces=3, min_confidence=0.7)
    assert len(many) == 3
    with pytest.raises(ImageReadError, match="pixels"):
        analyzer.analyze(Image.fromarray(group), max_pixels=100)


def test_pose_can_be_asked_for_later(tiny_model, portrait):
    analyzer = Analyzer(tiny_model, pose=False, threads=1)
    assert analyzer.analyze(portrait)[0].head_pose is None
    assert analyzer.analyze(portrait, pose=True)[0].head_pose is not None


@pytest.mark.parametrize("option", [{"max_faces": 0}, {"min_confidence": 0}, {"max_error": 2}, {"max_pixels": 0}])
def test_rejects_option_out_of_range_in_a_call(analyzer, portrait, option):
    with pytest.raises(InputError):
        analyzer.analyze(portrait, **option)
    with pytest.raises(InputError):
        analyzer.analyze_many([portrait], **option)


def test_table_without_faces_has_the_same_columns(analyzer, result):
    empty = analyzer.analyze(np.zeros((64, 64, 3), np.uint8))
    assert list(empty.to_pandas().columns) == list(result.to_pandas().columns)
    (unreadable,) = analyzer.analyze_many([b"no image"])
    assert list(unreadable.to_pandas().columns) == list(result.to_pandas().columns)


def test_notebook_shows_nothing_when_the_image_is_gone(analyzer, examples, tmp_path):
    path = tmp_path / "photo.jpg"
    shutil.copy(examples / "astronaut.jpg", path)
    result = analyzer.analyze(path)
    path.unlink()
    assert result._repr_png_() is None
