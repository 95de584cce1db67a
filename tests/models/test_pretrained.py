from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from mien.errors import ModelError
from mien.models import FaceMobileNet, HybridNet
from mien.runtime import find_model

WEIGHTS = Path(__file__).parents[2] / "recipes/faceres.safetensors"


def folded_forward(weights, images, blocks):
    """Apply the published network: no batch norm, ReLU6, TensorFlow's SAME padding."""
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)

    def same(x, name, stride, groups=1):
        weight = weights[f"{name}.weight"].float()
        pad = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        x = F.pad(x, pad if weight.shape[-1] == 3 else (0, 0, 0, 0))
        return F.relu6(F.conv2d(x, weight, weights[f"{name}.bias"].float(), stride, groups=groups))

    x = same(images, "stem", 2)
    for block in range(blocks):
        x = same(x, f"blocks.{block}.depthwise", strides[block], groups=x.shape[1])
        x = same(x, f"blocks.{block}.pointwise", 1)
    return x


def test_restored_batch_norms_keep_the_function():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 64, 64, generator=generator) * 255
    model = FaceMobileNet(8, frozen=6).eval()
    model.load_pretrained(WEIGHTS, images)
    other = torch.rand(2, 3, 64, 64, generator=generator) * 255
    with torch.no_grad():
        features = model.trunk(model.frozen_features(other))
        expected = folded_forward(load_file(WEIGHTS), other, 13)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)
    assert expected.abs().max() > 0.1


def test_names_the_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.safetensors"):
        FaceMobileNet(8).load_pretrained(tmp_path / "nothing.safetensors", torch.zeros(1, 3, 32, 32))


def mesh_maps(images):
    """Return the maps of the shipped landmark mesh at 1/4, 1/8, ... of its input's sides."""
    model = onnx.load(find_model("face-landmarks"))
    ends = [node.input[0] for node in model.graph.node if node.op_type == "MaxPool"][1:5]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ends)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    images = images.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return [torch.from_numpy(output) for output in session.run(ends, {session.get_inputs()[0].name: images})]


def test_mesh_trunk_equals_the_shipped_mesh():
    generator = torch.Generator().manual_seed(0)
    model = HybridNet(8, backbone="face-mesh").train()
    model.load_pretrained(Path("face-landmarks"), torch.rand(4, 3, 64, 64, generator=generator) * 255)
    assert model.training
    assert model.stages.training
    images = torch.randint(0, 256, (2, 3, 256, 256), generator=generator).float()
    features = model.eval().pixels(images)
    with torch.no_grad():
        for stage, expected in zip(model.stages, mesh_maps(images), strict=True):
            features = stage(features)
            torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["nothing.onnx", "face_landmarks", "open", "expression", "face-detector", "text.onnx"])
def test_mesh_trunk_rejects_other_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.onnx").write_text("not a graph")
    model = HybridNet(8, backbone="face-mesh")
    message = f"{name} is not MediaPipe's face mesh as mien ships it. Set model.pretrained=face-landmarks"
    with pytest.raises(ModelError, match=message):
        model.load_pretrained(Path(name), torch.zeros(1, 3, 64, 64))
