"""`predict_frame`: pandas and polars, no rows, no faces, missing and unreadable images, rejected frames."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from mien import Analyzer, InputError, predict_frame

KINDS = pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def paths(examples):
    return [str(examples / "group.jpg"), str(examples / "astronaut.jpg")]


def column(frame, name):
    return [None if pd.isna(value) else value for value in frame[name].to_list()]


@KINDS
def test_the_largest_face_of_every_image_is_beside_its_row(kind, analyzer, paths):
    frame = kind({"path": paths, "person": ["many", "one"]})
    predicted = predict_frame(frame, "path", analyzer)
    assert type(predicted) is type(frame)
    assert column(predicted, "person") == ["many", "one"]
    assert column(predicted, "face") == [1, 1]
    results = [analyzer.analyze(path) for path in paths]
    assert column(predicted, "label") == [result[0].expression.label for result in results]
    assert list(frame.columns) == ["path", "person"]


@KINDS
def test_all_faces_repeat_the_row(kind, analyzer, paths):
    predicted = predict_frame(kind({"path": paths[:1]}), "path", analyzer, all_faces=True)
    assert column(predicted, "face") == list(range(1, 12))
    assert column(predicted, "path") == 11 * paths[:1]


@KINDS
def test_missing_and_unreadable_images_have_an_error(kind, analyzer, paths):
    predicted = predict_frame(kind({"path": [None, "nowhere.jpg", paths[1]]}), "path", analyzer)
    assert [bool(code) for code in column(predicted, "error")] == [True, True, False]
    assert column(predicted, "face")[:2] == [None, None]


@KINDS
def test_no_rows(kind, analyzer):
    predicted = predict_frame(kind({"path": []}), "path", analyzer)
    assert (len(predicted), "label" in predicted.columns) == (0, True)


def test_index_and_column_types_of_pandas(analyzer, paths):
    frame = pd.DataFrame({"path": paths}, index=["b", "a"])
    predicted = predict_frame(frame, "path", analyzer)
    assert predicted.index.tolist() == ["b", "a"]
    assert (str(predicted.dtypes["face"]), str(predicted.dtypes["confidence"])) == ("Int64", "float64")


def test_taken_columns_need_a_prefix(analyzer, paths):
    frame = pd.DataFrame({"path": paths, "label": ["a", "b"]})
    with pytest.raises(InputError, match="already has the columns label; give a prefix, such as 'mien_'"):
        predict_frame(frame, "path", analyzer)
    assert "mien_label" in predict_frame(frame, "path", analyzer, prefix="mien_").columns


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (["a.jpg"], "frame is a list; expected a data frame"),
        (pd.DataFrame({"file": []}), "no column 'path'; it has file"),
        (pd.DataFrame([["a.jpg", "b.jpg"]], columns=["path", "path"]), "several columns 'path'"),
        (pd.DataFrame([["a.jpg"]]), "no column 'path'; it has 0"),
    ],
)
def test_rejects_what_is_not_a_frame_with_the_column(analyzer, frame, message):
    with pytest.raises(InputError, match=message):
        predict_frame(frame, "path", analyzer)


def test_column_without_a_name(analyzer, paths):
    frame = pd.DataFrame([[path] for path in paths])
    assert len(predict_frame(frame, 0, analyzer)) == len(frame)
