from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien import Analyzer, ModelError, diagnosis
from mien.diagnosis import diagnose, installed_extras, make_test_image, run_self_test


@pytest.fixture(scope="module")
def default() -> diagnosis.Diagnosis:
    return diagnose(threads=1)


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(threads=1, device="cpu", pose=False)


def test_default_networks_pass(default):
    assert default.is_healthy
    assert default.self_test.label == default.self_test.expected == "happiness"
    assert set(default.networks) == {"face detector", "small mesh", "detailed mesh", "expression"}
    assert default.networks["expression"]["precision"] in ("float32", "int8")
    assert default.versions.keys() >= {"mien", "python", "numpy", "onnxruntime"}
    assert "cpu" in default.devices
    assert all(value > 0 for value in default.timings_ms.values())


def test_precision_is_that_of_the_request():
    networks = diagnose(threads=1, device="cpu", precision="float32").networks
    assert {network["precision"] for network in networks.values()} == {"float32"}


def test_own_model_is_compared_with_itself(tiny_model):
    test = diagnose(tiny_model, threads=1, device="cpu").self_test
    assert test.logit_difference == 0


def test_other_label_fails(analyzer, monkeypatch):
    monkeypatch.setattr(diagnosis, "EXPECTED_LABEL", "anger")
    test = run_self_test(analyzer, "expression")
    assert test.problems == ("the expression is happiness; expected anger",)


def test_missing_face_fails(analyzer, monkeypatch):
    monkeypatch.setattr(diagnosis, "make_test_image", lambda: np.full((480, 640, 3), 127, dtype=np.uint8))
    assert run_self_test(analyzer, "expression").problems == ("0 faces in the test image; expected one",)


def test_face_elsewhere_fails(analyzer, monkeypatch):
    image = np.roll(make_test_image(), 40, axis=1)
    monkeypatch.setattr(diagnosis, "make_test_image", lambda: image)
    (problem,) = run_self_test(analyzer, "expression").problems
    assert problem.startswith("the face is at")


def test_other_logits_fail(analyzer, monkeypatch):
    monkeypatch.setattr(diagnosis, "_logit_difference", lambda *arguments: 0.5)
    (problem,) = run_self_test(analyzer, "expression").problems
    assert problem == "the logits differ by 50.0% from those of float32 on the CPU"


def test_not_a_number_fails(analyzer, monkeypatch):
    monkeypatch.setattr(diagnosis, "_logit_difference", lambda *arguments: float("nan"))
    assert len(run_self_test(analyzer, "expression").problems) == 1


def test_failing_network_fails(analyzer, monkeypatch):
    def fail(*arguments):
        raise ModelError("out of memory")

    monkeypatch.setattr(diagnosis, "_logit_difference", fail)
    assert run_self_test(analyzer, "expression").problems == ("out of memory",)


def test_two_builds_are_a_problem(monkeypatch, tiny_model):
    builds = {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.29.1"}
    monkeypatch.setattr(diagnosis, "installed_builds", lambda: builds)
    (problem,) = diagnose(tiny_model, threads=1, device="cpu").problems
    assert problem.endswith("pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu==1.29.1")


def test_failed_devices_are_a_problem(monkeypatch, tiny_model):
    monkeypatch.setattr(diagnosis, "failed_devices", lambda: ["cuda"])
    assert diagnose(tiny_model, threads=1, device="cpu").problems == (
        'device "cuda" cannot start: see docs/devices.md',
    )


def test_extras_need_all_their_packages(monkeypatch):
    lines = [
        "numpy>=1.26",
        "numpy>=1; extra == 'one'",
        "numpy>=1; extra == 'two'",
        "nothing-of-this-name[x]>=1; python_version > '3' and extra == 'two'",
        "mien[one,two]; extra == 'three'",
        "mien[one]; extra == 'four'",
    ]
    monkeypatch.setattr(diagnosis, "requires", lambda name: lines)
    assert installed_extras() == {"one": True, "two": False, "three": False, "four": True}


def test_without_self_test_nothing_is_healthy(default):
    assert not replace(default, self_test=None).is_healthy
    assert default.to_dict()["is_healthy"] is True


def test_a_broken_model_is_a_problem_beside_the_versions(tiny_model, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    broken.with_suffix(".json").write_bytes(tiny_model.with_suffix(".json").read_bytes())
    examined = diagnose(broken)
    assert not examined.is_healthy
    assert "broken.onnx" in examined.problems[-1]
    assert examined.versions["onnxruntime"]
    assert (examined.networks, examined.self_test, examined.timings_ms) == ({}, None, {})


def test_the_test_face_is_detected_once_outside_the_timings(tiny_model, monkeypatch):
    calls = []
    detect = Analyzer.detect
    monkeypatch.setattr(Analyzer, "detect", lambda *arguments: (calls.append(1), detect(*arguments))[1])
    monkeypatch.setattr(diagnosis, "RUNS", 2)
    assert diagnose(tiny_model, threads=1, device="cpu").timings_ms.keys() >= {"detect", "classify"}
    warm_up = 1
    assert len(calls) == 1 + warm_up + 2
