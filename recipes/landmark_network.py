"""Small landmark network: layers, initial weights, and export as an ONNX file with a manifest.

The network is the trunk of the shipped face mesh, extended to maps of 2 x 2, with two linear heads. It is trained by
recipes/distill_landmarks.py.
"""

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from landmark_crops import SIZE
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien.atomic import write_atomic
from mien.errors import ParityError
from mien.export.simplify import simplify
from mien.export.weights import halve_kernels, shorten_names
from mien.faces.mesh_network import POINTS
from mien.manifest import InputSpec, Manifest, TrainingSource, file_sha256, write_manifest
from mien.models.mesh_trunk import BLOCKS, CHANNELS, MeshBlock, load_mesh, mesh_stages
from mien.models.network import trace_graph
from mien.runtime import find_model, open_session

TEACHER = "face-landmarks"
"""Name of the shipped mesh."""
OUTPUTS = ("landmarks", "presence")
MAX_DIFFERENCE = 0.1
"""Maximum difference of the exported landmarks, in pixels, and logits from those of the network in torch."""

LICENSE = (
    "MIT for the weights, as far as mien's authors can grant it; the training images keep their owners' terms: "
    "see trained_on"
)
TRAINED_ON = (
    TrainingSource(
        name="FER+ (votes: Barsoum et al. 2016; faces: FER2013), every second face of the training split, no votes",
        license="votes MIT; faces collected from the web for the FER2013 challenge, for research",
    ),
    TrainingSource(
        name="muxspace/facial_expressions, photographs of six in seven people in one half of it, no labels",
        license="Apache-2.0",
    ),
    TrainingSource(
        name="MediaPipe face mesh (Google), teacher and pretrained weights",
        license="Apache-2.0; Google does not publish its training images",
    ),
)


class AnnealedPReLU(nn.Module):
    """PReLU with constant slopes (C,) that are multiplied by `strength`, 1 at first; ReLU for 0."""

    def __init__(self, slopes: Tensor) -> None:
        super().__init__()
        self.slopes: Tensor
        self.register_buffer("slopes", slopes.clone())
        self.strength = 1.0

    def forward(self, features: Tensor) -> Tensor:
        """Apply the activation to (N, C, H, W)."""
        if self.strength <= 0:
            return F.relu(features)
        return F.prelu(features, (self.slopes * self.strength).to(features.dtype))


class LandmarkNetwork(nn.Module):
    """Predicts landmarks and presence from crops of `SIZE` pixels."""

    def __init__(self) -> None:
        super().__init__()
        channels = CHANNELS[-1]
        blocks = [MeshBlock(channels, channels) for _ in range(BLOCKS)]
        last = nn.Sequential(MeshBlock(channels, channels, stride=2), *blocks)
        self.trunk = nn.Sequential(*mesh_stages(), last)
        self.points: nn.Module = nn.Conv2d(channels, 3 * POINTS, 2)
        self.presence = nn.Conv2d(channels, 1, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return landmarks (N, 478 * 3) in pixels and presence logits (N, 1) of images (N, 3, SIZE, SIZE) 0..1."""
        features = self.trunk(images)
        return self.points(features).flatten(1), self.presence(features).flatten(1)


def freeze_slopes(network: nn.Module) -> None:
    """Replace every PReLU by an `AnnealedPReLU` with its slopes."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, nn.PReLU):
            setattr(network, name, AnnealedPReLU(layer.weight.data))
        else:
            freeze_slopes(layer)


def set_slope_strength(network: nn.Module, strength: float) -> None:
    """Set the factor 0..1 of the slopes of all activations."""
    for layer in network.modules():
        if isinstance(layer, AnnealedPReLU):
            layer.strength = strength


def build_network(draw_images: Callable[[], Tensor], mean_xyz: Tensor) -> LandmarkNetwork:
    """Build the network with the weights of the shipped mesh, and heads that predict the mean mesh.

    Args:
        draw_images: returns a few hundred training crops (N, 3, SIZE, SIZE) 0..1, to restore batch norms.
        mean_xyz: (478, 3) mean landmarks of the training faces, in pixels of the crop.
    """
    network = LandmarkNetwork()
    load_mesh(nn.ModuleList(list(network.trunk)), Path(TEACHER), draw_images())
    freeze_slopes(network)
    for head, deviation, bias in ((network.points, 0.002, mean_xyz.flatten()), (network.presence, 0.01, torch.ones(1))):
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        nn.init.normal_(head.weight, std=deviation)
        head.bias.data.copy_(bias)
    return network


def principal_components(values: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return mean (V,) and orthonormal principal components (rank, V) of rows (N, V), the strongest first."""
    mean = values.double().mean(0)
    _, vectors = torch.linalg.eigh((values.double() - mean).T.cov())
    return mean.float(), vectors[:, -rank:].flip(1).T.float()


@torch.no_grad()
def restrict_landmarks(network: LandmarkNetwork, mean: Tensor, components: Tensor) -> LandmarkNetwork:
    """Return a copy of a network whose landmarks are projected on principal components, in two smaller layers.

    Args:
        network: a network with one layer for the landmarks.
        mean: (478 * 3,) mean landmarks in pixels.
        components: (R, 478 * 3) orthonormal rows.
    """
    head = network.points
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    reduce = nn.Conv2d(head.in_channels, len(components), 2)
    expand = nn.Conv2d(len(components), len(mean), 1)
    assert reduce.bias is not None
    assert expand.bias is not None
    reduce.weight.copy_(torch.einsum("rv,vchw->rchw", components, head.weight))
    reduce.bias.copy_(components @ (head.bias - mean))
    expand.weight.copy_(components.T[:, :, None, None])
    expand.bias.copy_(mean)
    restricted = copy.deepcopy(network)
    restricted.points = nn.Sequential(reduce, expand)
    return restricted


def landmark_graph(network: LandmarkNetwork) -> bytes:
    """Return the ONNX graph of a network whose activations are ReLUs, with kernels stored as fp16.

    The input `pixels` is (N, SIZE, SIZE, 3) uint8 RGB; the outputs are `landmarks` (N, 478 * 3) in pixels of the crop
    and the logit `presence` (N, 1), float32. Batch norms and the division by 255 are folded into the kernels.
    """
    network = copy.deepcopy(network)
    stem = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    stem.weight.data /= 255
    model = onnx.load_from_string(trace_graph(network, SIZE, *OUTPUTS))
    simplify(model)
    model = _with_pixel_input(model)
    halve_kernels(model)
    shorten_names(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _with_pixel_input(model: ModelProto) -> ModelProto:
    """Return a graph whose stem reads the interleaved channels of a row of pixels as one row, as the shipped mesh does.

    The 3 x 3 kernel with stride 2 becomes one of 3 x 9 with a stride of 2 x 6, so that no layout is converted.
    """
    stem = next(node for node in model.graph.node if "images" in node.input)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kernel = numpy_helper.to_array(stored[stem.input[1]]).transpose(0, 2, 3, 1)
    stored[stem.input[1]].CopyFrom(numpy_helper.from_array(kernel.reshape(len(kernel), 1, 3, 9), stem.input[1]))
    rows = numpy_helper.from_array(np.array([0, 1, SIZE, 3 * SIZE]), "rows shape")
    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["values", rows.name], ["rows"]),
        helper.make_node(
            "Conv", ["rows", *stem.input[1:]], list(stem.output), kernel_shape=[3, 9], strides=[2, 6], pads=[0, 0, 1, 3]
        ),
        *(node for node in model.graph.node if node is not stem),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIZE, SIZE, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in zip(OUTPUTS, (3 * POINTS, 1), strict=True)
    ]
    graph = helper.make_graph(nodes, "face-landmarks-small", [pixels], outputs, [*model.graph.initializer, rows])
    opsets = [opset for opset in model.opset_import if opset.domain == ""]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version, producer_name="mien")


@torch.no_grad()
def check_parity(network: LandmarkNetwork, graph: bytes, images: Tensor) -> None:
    """Compare an exported graph with its network in torch, on images (N, 3, SIZE, SIZE) uint8 RGB.

    Raises:
        ParityError: if landmarks or logits differ by more than `MAX_DIFFERENCE`.
    """
    expected = network.eval()(images / 255)
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    outputs = open_session(graph, device="cpu").run(list(OUTPUTS), {"pixels": pixels})
    for name, reference, output in zip(OUTPUTS, expected, outputs, strict=True):
        difference = float(np.abs(reference.numpy() - np.asarray(output)).max())
        if not difference <= MAX_DIFFERENCE:
            raise ParityError(f"the exported graph's {name} differ by {difference:.2g}, allowed {MAX_DIFFERENCE}.")


def write_model(graph: bytes, asset: Path, step: int) -> Manifest:
    """Write a graph to a file, with the manifest of a network that was trained for this number of steps."""
    manifest = Manifest(
        name="face-landmarks-small",
        version="1",
        task="face-landmarks",
        input=InputSpec(size=SIZE, channels="RGB", layout="NHWC", range=(0.0, 255.0)),
        sha256=hashlib.sha256(graph).hexdigest(),
        license=LICENSE,
        trained_on=TRAINED_ON,
        source={
            "model": "small landmark network, 478 points, fp16 weights",
            "recipe": "recipes/distill_landmarks.py",
            "step": step,
            "teacher": TEACHER,
            "teacher_sha256": file_sha256(find_model(TEACHER)),
        },
    )
    write_atomic(asset, graph)
    write_manifest(manifest, asset)
    return manifest
