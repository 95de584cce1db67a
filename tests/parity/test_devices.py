"""Each execution provider against the CPU's: the same faces and labels, probabilities within 0.01.

Devices that the installed build of ONNX Runtime does not support are skipped: `nox -s openvino` tests OpenVINO, and on
a machine with an NVIDIA GPU the tests run with `pip install 'mien[gpu]'` (see docs/devices.md).
"""

from __future__ import annotations

import numpy as np
import pytest

from mien import Analyzer, DeviceError
from mien.devices import PROVIDERS, available_devices
from mien.diagnosis import diagnose
from mien.inference.classifier import ExpressionClassifier
from mien.runtime import shipped_models

IMAGES = ("astronaut.jpg", "biden.jpg", "group.jpg", "obama.jpg")
UNSUPPORTED = {("openvino", "compact")}
"""Models that OpenVINO 2025.4 fails to compile (it moves a product of channels behind a convolution)."""
OTHERS = [name for name in PROVIDERS if name != "cpu"]


@pytest.fixture(scope="module", params=OTHERS)
def device(request):
    """A device that starts here."""
    if request.param not in available_devices():
        pytest.skip(f"this build of ONNX Runtime does not support {request.param}")
    try:
        ExpressionClassifier(device=request.param)
    except DeviceError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture(scope="module")
def on_cpu():
    return Analyzer(threads=1, device="cpu", precision="float32", action_units=True)


@pytest.fixture(scope="module")
def on_device(device):
    return Analyzer(threads=1, device=device, precision="float32", action_units=True)


def test_every_network_runs_on_the_device(on_device, device, examples):
    on_device.analyze(examples / "astronaut.jpg")
    assert {network.device for network in on_device.networks.values()} == {device}
    roles = {"face detector", "small mesh", "detailed mesh", "expression", "blendshapes"}
    assert set(on_device.networks) == roles


@pytest.mark.parametrize("name", IMAGES)
def test_faces_labels_and_probabilities_agree(on_cpu, on_device, examples, name):
    expected = on_cpu.analyze(examples / name).faces
    faces = on_device.analyze(examples / name).faces
    assert len(faces) == len(expected) > 0
    for one, other in zip(faces, expected, strict=True):
        assert one.expression.label == other.expression.label
        np.testing.assert_allclose(one.expression.probabilities, other.expression.probabilities, atol=0.01)
        np.testing.assert_allclose(one.bbox_xyxy, other.bbox_xyxy, atol=1.0)
        np.testing.assert_allclose(one.mesh_xyz, other.mesh_xyz, atol=1.0)
        assert one.head_pose.yaw_deg == pytest.approx(other.head_pose.yaw_deg, abs=1.0)
        np.testing.assert_allclose(list(one.action_units.values()), list(other.action_units.values()), atol=0.05)


@pytest.mark.parametrize("name", IMAGES)
def test_poses_of_the_small_network_agree(on_cpu, on_device, examples, name):
    expected = on_cpu.analyze(examples / name, action_units=False).faces
    faces = on_device.analyze(examples / name, action_units=False).faces
    for one, other in zip(faces, expected, strict=True):
        np.testing.assert_allclose(one.mesh_xyz, other.mesh_xyz, atol=1.0)
        assert one.head_pose.yaw_deg == pytest.approx(other.head_pose.yaw_deg, abs=1.0)


@pytest.mark.parametrize("model", shipped_models())
def test_batches_agree_with_single_faces(device, model, on_cpu, group):
    """Batches change their size from call to call; a provider compiles or plans for each size."""
    if (device, model) in UNSUPPORTED:
        with pytest.raises(DeviceError, match='device "openvino" cannot run it') as error:
            ExpressionClassifier(model, 1, device=device)
        assert "\n" not in str(error.value)
        return
    _, crops = on_cpu.crop_faces(group, on_cpu.detect(group))
    crops = np.concatenate([np.stack(crops)] * 11)[:33]
    classifier = ExpressionClassifier(model, 1, device=device, precision="float32")
    expected = ExpressionClassifier(model, 1, device="cpu", precision="float32").logits(crops)
    for count in (33, 1, 2, 5):
        np.testing.assert_allclose(classifier.logits(crops[:count]), expected[:count], atol=0.05)


def test_doctor_accepts_the_device(device):
    diagnosis = diagnose(device=device)
    assert diagnosis.is_healthy, diagnosis.self_test
    assert diagnosis.networks["expression"]["device"] == device
