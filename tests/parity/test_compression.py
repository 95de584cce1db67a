"""Compressed variants compute what the models compute that they were made from."""

import copy
import importlib
import tomllib

import numpy as np
import pytest

from mien.models import build_model
from mien.runtime import ASSETS, open_session

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

MOBILE = ASSETS / "mobile.onnx"


@pytest.fixture(scope="module")
def load(root):
    """Function that imports a script by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "recipes")
        patch.syspath_prepend(root / "benchmarks")
        yield importlib.import_module


@pytest.fixture(scope="module")
def images():
    return torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture(scope="module")
def loaded(load, root, images):
    """EfficientFace with the weights of `mobile`."""
    options = tomllib.loads((root / "recipes/ferplus-efficientface.toml").read_text())["model"]
    network = build_model(options.pop("name"), 8, options)
    load("compress_network").load_exported(network, MOBILE, images)
    return network


@pytest.fixture
def network(loaded):
    """A copy of `loaded` that a test may change."""
    return copy.deepcopy(loaded)


def logits(model, images):
    return open_session(model, 1, device="cpu").run(["logits"], {"images": images.numpy()})[0]


def test_network_with_loaded_weights_computes_what_its_model_file_does(loaded, images):
    assert np.abs(loaded(images).detach().numpy() - logits(MOBILE, images)).max() < 1e-3


def test_statistics_of_frozen_layers_are_not_estimated_again(load, images):
    frozen, trained = torch.nn.BatchNorm2d(3).eval(), torch.nn.BatchNorm2d(3)
    frozen.running_mean.fill_(5)
    frozen.train = lambda mode=True: frozen
    load("compress_network").estimate_norms(torch.nn.Sequential(frozen, trained), images)
    assert (frozen.running_mean == 5).all()
    assert trained.running_mean.all()


def test_pruning_reproduces_a_layer_whose_inputs_are_redundant(load):
    values = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    values = torch.cat([values, 0.1 * values[:, :2]], dim=1)
    weight = torch.ones(3, 8)
    chosen, fitted = load("compress_network")._reduce(weight, values, 6)
    difference = values @ weight.T - values[:, chosen] @ fitted.T
    assert chosen.tolist() == [0, 1, 2, 3, 4, 5]
    assert (difference - difference.mean(dim=0)).abs().max() < 0.05


def test_pruned_network_has_fewer_channels(load, network, images):
    parameters = sum(value.numel() for value in network.parameters())
    load("compress_network").prune(network, images, 0.6, 512)
    assert network.classifier.in_features == 512
    assert sum(value.numel() for value in network.parameters()) < 0.62 * parameters
    assert torch.isfinite(network(images)).all()


def test_simulated_quantization_leaves_fifteen_values_per_channel(load, network):
    compress = load("compress_network")
    compress.simulate_quantization(network, 4)
    compress.end_simulation(network)
    weight = network.trunk[2].weight
    assert all(len(channel.unique()) <= 15 for channel in weight)
    assert type(network.trunk[2]) is torch.nn.Conv2d


@pytest.mark.parametrize("is_uniform", [True, False])
def test_weights_in_four_bits_are_restored(load, images, is_uniform):
    graph = load("compress_weights").share_weights(MOBILE.read_bytes(), is_uniform=is_uniform)
    assert len(graph) < 0.6 * MOBILE.stat().st_size
    assert np.corrcoef(logits(graph, images).ravel(), logits(MOBILE, images).ravel())[0, 1] > 0.9


def test_shared_values_stay_distinct_without_weights_near_them(load):
    centers = load("compress_weights")._cluster(np.repeat([-1.0, -0.5, 0.5, 1.0], 10))
    assert len(np.unique(centers)) == 16


def test_multiply_adds_of_a_graph_are_those_of_its_network(load, loaded):
    from mien.models.cost import measure_cost

    count = load("compression").count_multiply_adds(onnx.load(MOBILE))
    assert count == measure_cost(loaded, 64)[1]
