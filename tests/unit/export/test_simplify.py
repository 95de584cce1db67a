"""Simplification of traced graphs: what does not depend on the pixels is computed once."""

import numpy as np
import onnx
import pytest

from mien.errors import ParityError
from mien.runtime import find_model, open_session, shipped_models

torch = pytest.importorskip("torch")
simplification = pytest.importorskip("mien.export.simplify")
network = pytest.importorskip("mien.models.network")

COMPUTED_ONCE = {"Shape", "ConstantOfShape", "Constant", "Expand", "Mod", "ScatterND", "Identity", "Where"}


class Shuffled(torch.nn.Module):
    """Resize, pad and shuffle, with sizes computed from the shapes of tensors; the batch is not the first size."""

    def forward(self, images):
        rows, columns = images.shape[2:]
        padded = torch.nn.functional.pad(images, (columns % 2, 1, rows % 2, 1))
        larger = torch.nn.functional.interpolate(padded, size=(22, 22), mode="bilinear")
        first, second = torch.cat([larger, 2 * larger], dim=1).chunk(2, dim=1)
        shuffled = torch.stack([first, second], dim=2).flatten(1, 2)
        return torch.stack([shuffled, shuffled]).sum(dim=0).mean(dim=(2, 3)), shuffled


def operators(model):
    return {node.op_type for node in model.graph.node}


@pytest.fixture
def model():
    return onnx.load_from_string(network.trace_graph(Shuffled(), 10, "logits", "maps"))


def test_computes_once_what_no_pixel_changes(model):
    before = open_session(model.SerializeToString())
    assert operators(model) & COMPUTED_ONCE
    simplification.simplify(model)
    onnx.checker.check_model(model, full_check=True)
    after = open_session(model.SerializeToString())
    assert not operators(model) & COMPUTED_ONCE
    for batch in (1, 4):
        images = np.random.default_rng(batch).uniform(0, 255, (batch, 3, 10, 10)).astype(np.float32)
        for expected, actual in zip(*(graph.run(None, {"images": images}) for graph in (before, after)), strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert [output.shape for output in after.get_outputs()] == [["batch", 6], ["batch", 6, 22, 22]]


def test_simplifying_again_changes_nothing(model):
    simplification.simplify(model)
    once = model.SerializeToString()
    simplification.simplify(model)
    assert model.SerializeToString() == once


def test_rejects_a_simplification_that_changes_the_outputs(model, monkeypatch):
    def double(node, shape, sizes):
        node.input[2:] = ["factors"]
        return {"factors": np.array([1, 1, 4, 4], dtype=np.float32)}

    monkeypatch.setattr(simplification, "_scale_by_factors", double)
    with pytest.raises(ParityError, match="simplified graph's"):
        simplification.simplify(model)


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_compute_no_shapes(name):
    model = onnx.load(find_model(name))
    assert not operators(model) & COMPUTED_ONCE
    for output in model.graph.output:
        assert all(size.dim_value for size in output.type.tensor_type.shape.dim[1:])
