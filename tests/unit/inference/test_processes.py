"""An analyzer in other processes: it is opened again from its arguments."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest

from mien import Analyzer, MienError, ModelError
from mien.results import Face
from support.models import make_model


@pytest.fixture(scope="module")
def analyzer(tiny_model) -> Analyzer:
    return Analyzer(tiny_model, threads=1, max_faces=3, detector_size=512, max_pixels=2 * 10**6, pose=False)


def plain(faces: tuple[Face, ...]) -> list[dict]:
    return [face.to_dict() for face in faces]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_duplicates_have_the_same_options_and_results(analyzer, group, duplicate):
    other = duplicate(analyzer)
    assert other is not analyzer
    assert (other.options, other.manifest) == (analyzer.options, analyzer.manifest)
    assert plain(other.analyze(group).faces) == plain(analyzer.analyze(group).faces)


def test_options_of_with_options_are_kept(analyzer):
    other = pickle.loads(pickle.dumps(analyzer.with_options(max_faces=1)))
    assert other.options.max_faces == 1


def test_device_and_precision_are_kept(tiny_model):
    other = pickle.loads(pickle.dumps(Analyzer(tiny_model, pose=False, threads=1, device="cpu", precision="float32")))
    arguments = other.__reduce__()[0].keywords
    assert (arguments["device"], arguments["precision"], arguments["threads"]) == ("cpu", "float32", 1)
    assert "device='cpu', precision='float32'" in repr(other)


def test_relative_paths_of_models_are_kept_in_another_folder(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    data = pickle.dumps(Analyzer(tiny_model.name, pose=False))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data).manifest.labels


def test_pickle_of_a_missing_model_is_an_error(tiny_model, tmp_path):
    for suffix in (".onnx", ".json"):
        (tmp_path / f"m{suffix}").write_bytes(tiny_model.with_suffix(suffix).read_bytes())
    data = pickle.dumps(Analyzer(tmp_path / "m.onnx", pose=False))
    (tmp_path / "m.onnx").unlink()
    with pytest.raises(MienError, match="unknown model"):
        pickle.loads(data)


@pytest.mark.parametrize("duplicate", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))])
def test_duplicates_refuse_a_model_that_was_replaced(tmp_path, duplicate):
    path = make_model(tmp_path / "m.onnx")
    analyzer = Analyzer(path, pose=False)
    make_model(path, temperature=2.0)
    with pytest.raises(ModelError, match=r"m\.onnx has changed since it was loaded; create the Analyzer again"):
        duplicate(analyzer)


def test_duplicates_may_have_another_precision_of_a_shipped_model():
    analyzer = Analyzer("expression", pose=False, precision="int8")
    rebuild, arguments = analyzer.__reduce__()
    rebuild.keywords["precision"] = "float32"
    assert rebuild(*arguments).manifest.sha256 != analyzer.manifest.sha256


def count_faces(analyzer: Analyzer, image: np.ndarray) -> int:
    return len(analyzer.analyze(image))


@pytest.mark.parametrize("method", ["spawn", *(["forkserver"] if sys.platform.startswith("linux") else [])])
def test_works_in_processes(analyzer, group, method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert list(pool.map(partial(count_faces, analyzer), [group])) == [3]
        error = pool.submit(count_faces, analyzer, np.zeros(3)).exception(timeout=60)
    assert isinstance(error, MienError)


def test_works_in_joblib(analyzer, group):
    joblib = pytest.importorskip("joblib")
    counts = joblib.Parallel(n_jobs=2)(joblib.delayed(count_faces)(analyzer, image) for image in [group, group])
    assert counts == [3, 3]
