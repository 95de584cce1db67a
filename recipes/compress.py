"""Smaller variants of `mobile` and `expression`, for the study in docs/models/compression.md.

    python recipes/compress.py ferplus.zip [mobile-64-tuned ...]

writes runs/compression/NAME.onnx, uncalibrated, for every variant of `VARIANTS` or for those that are named. Variants
without steps change a shipped model and train nothing. The others are trained on the FER+ votes and the predictions of
`mobile` for the same augmented crops; a step takes 64 faces.
"""

import argparse
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from compress_network import (
    SmallMobileNetV3,
    end_simulation,
    estimate_norms,
    load_exported,
    prune,
    simulate_quantization,
)
from compress_weights import share_weights
from torch import Tensor

from mien.atomic import write_atomic
from mien.export.onnx import export_graph
from mien.export.quantize import quantize_graph
from mien.export.weights import store_weights
from mien.manifest import read_manifest, write_manifest
from mien.models import ExpressionNetwork, build_model
from mien.runtime import find_model
from mien.training.config import Config, read_recipe
from mien.training.data import Batches, Faces, evaluation_crops, load_faces, read_index
from mien.training.distributed import SINGLE_PROCESS
from mien.training.optimizer import set_learning_rate
from mien.training.sampling import class_prior
from mien.training.step import TrainStep
from mien.training.targets import Targets

HERE = Path(__file__).parent
RECIPES = {"mobile": "ferplus-efficientface.toml", "expression": "ferplus-hybrid-again.toml"}
TRAINING = "ferplus-tiny.toml"
"""Recipe with data, augmentation and targets of all variants."""
CALIBRATION_FACES = 600
PRUNING_FACES = 1500


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A smaller model.

    Attributes:
        start: shipped model with the initial weights; "" starts from random weights.
        network: "" for the network of `start`; or "mobilenetv3", "efficientface".
        side: side in pixels of the network's input after its resize; 0 leaves it unchanged.
        width: factor of all channels of a network with random weights.
        keep: share of the hidden channels after pruning.
        last: channels of the last convolution after pruning; 0 prunes nothing.
        normalized: estimate the statistics of batch norms again on plain training faces.
        bits: bits of the weights in simulated quantization; 0 simulates none.
        storage: how the file stores and computes, a key of `STORAGES`.
        steps: training steps of 64 faces.
        lr: peak learning rate.
    """

    start: str = "mobile"
    network: str = ""
    side: int = 0
    width: float = 1.0
    keep: float = 1.0
    last: int = 0
    normalized: bool = False
    bits: int = 0
    storage: str = "int8 weights"
    steps: int = 0
    lr: float = 5e-4


VARIANTS = {
    "mobile-float32": Variant(storage="float32"),
    "mobile-float16": Variant(storage="float16 weights"),
    "mobile-int8": Variant(storage="int8"),
    "mobile-4-bit": Variant(storage="4-bit weights"),
    "mobile-shared": Variant(storage="16 shared weights"),
    "mobile-80": Variant(side=80),
    "mobile-80-normalized": Variant(side=80, normalized=True),
    "mobile-64": Variant(side=64),
    "mobile-64-normalized": Variant(side=64, normalized=True),
    "mobile-64-tuned": Variant(side=64, normalized=True, steps=100),
    "mobile-pruned-80": Variant(keep=0.8, last=768),
    "mobile-pruned-80-normalized": Variant(keep=0.8, last=768, normalized=True),
    "mobile-pruned-80-tuned": Variant(keep=0.8, last=768, normalized=True, steps=80),
    "mobile-pruned-80-shared": Variant(keep=0.8, last=768, storage="16 shared weights"),
    "mobile-pruned-60": Variant(keep=0.6, last=512),
    "mobile-pruned-60-normalized": Variant(keep=0.6, last=512, normalized=True),
    "mobile-pruned-60-tuned": Variant(keep=0.6, last=512, normalized=True, steps=80),
    "mobile-4-bit-tuned": Variant(bits=4, storage="4-bit weights", steps=60, lr=2e-4),
    "mobile-int8-tuned": Variant(bits=8, storage="int8", steps=40, lr=1e-4),
    "expression-int8-weights": Variant(start="expression"),
    "expression-4-bit": Variant(start="expression", storage="4-bit weights"),
    "expression-128": Variant(start="expression", side=128),
    "efficientface-0.55": Variant(start="", network="efficientface", width=0.55, side=96, steps=100, lr=2e-3),
    "mobilenetv3-0.75": Variant(start="", network="mobilenetv3", width=0.75, side=96, steps=100, lr=2e-3),
}


def main() -> None:
    """Write the variants that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="FER+, a folder or a zip archive")
    parser.add_argument("variants", nargs="*", help="names of variants, all by default")
    parser.add_argument("--store", default="runs/compression/faces", help="folder of the prepared faces")
    parser.add_argument("--output", type=Path, default=Path("runs/compression"))
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, torch's default for 0")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    config = read_recipe(HERE / TRAINING, overrides(options))
    faces, _ = load_faces(read_index(config.data), config.data, options.output)
    for name in options.variants or VARIANTS:
        torch.manual_seed(0)
        write_variant(VARIANTS[name], faces, config, options.output / f"{name}.onnx")


def overrides(options: argparse.Namespace) -> list[str]:
    """Return the recipe's settings that depend on the command line."""
    return [f"data.path={options.data}", f"data.store={options.store}", f"training.threads={options.threads}"]


def write_variant(variant: Variant, faces: Faces, config: Config, output: Path) -> None:
    """Build, train and export a variant; print its size and the processor time of its training."""
    rows = faces.rows[np.random.default_rng(0).permutation(len(faces.rows))[:PRUNING_FACES]]
    images = evaluation_crops(faces.store, rows, config.data)
    started = time.process_time()
    graph = build_graph(variant, images, faces, config, output.stem)
    minutes = (time.process_time() - started) / 60
    graph = STORAGES[variant.storage](graph, images)
    source = {**asdict(variant), "faces": variant.steps * config.training.batch, "minutes": round(minutes, 1)}
    manifest = replace(
        read_manifest(find_model(variant.start or "mobile")),
        name=output.stem,
        version="0",
        sha256=hashlib.sha256(graph).hexdigest(),
        metrics={},
        regions=(),
        source=source,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, graph)
    write_manifest(manifest, output)
    print(f"{output}  {len(graph) / 1e6:.2f} MB  {source['faces']} faces in {minutes:.1f} minutes", flush=True)


def build_graph(variant: Variant, images: Tensor, faces: Faces, config: Config, name: str) -> bytes:
    """Build and train the network of a variant and return its float32 graph.

    Args:
        variant: the variant.
        images: (N, 3, S, S) uint8 training faces, for pruning and statistics.
        faces: all training faces.
        config: the recipe.
        name: name of the variant, for messages.
    """
    if variant == Variant(start=variant.start, storage=variant.storage):
        return find_model(variant.start).read_bytes()
    network = build_network(variant, images.float(), len(faces.names))
    if variant.bits:
        simulate_quantization(network, variant.bits)
    if variant.steps:
        train(network, variant, faces, config, name)
    end_simulation(network)
    return export_graph(network.eval(), config.data.size)


def build_network(variant: Variant, images: Tensor, classes: int) -> ExpressionNetwork:
    """Build the network of a variant, with the weights of its start, pruned."""
    if variant.network == "mobilenetv3":
        return SmallMobileNetV3(classes, width=variant.width, upsample=variant.side)
    config = read_recipe(HERE / RECIPES[variant.start or "mobile"])
    if not variant.start:
        return build_model(config.model.name, classes, {**config.model.options, "width": variant.width})
    network = build_model(config.model.name, classes, config.model.options)
    load_exported(network, find_model(variant.start), images[:200])
    if variant.last:
        prune(network, images, variant.keep, variant.last)
    network.pixels.upsample = variant.side or network.pixels.upsample
    if variant.normalized:
        estimate_norms(network, images)
    return network


def train(network: ExpressionNetwork, variant: Variant, faces: Faces, config: Config, name: str) -> None:
    """Train a network by distillation: the votes of a face and what `mobile` predicts for the same crop."""
    target = replace(config.target, teachers=("mobile",), flip_tta=False, cache=False)
    warmup = 20 if variant.start else 60
    options = replace(config.training, lr=variant.lr, head_lr=variant.lr, warmup=warmup)
    config = replace(config, target=target, training=options)
    batches = Batches(faces, config, Targets(faces, config, Path()))
    prior = class_prior(faces.label_distribution, 0.0)
    update = TrainStep(network, network.frozen_features, config, prior, SINGLE_PROCESS)
    for step in range(variant.steps):
        set_learning_rate(update.optimizer, options, step, variant.steps)
        loss = update(*batches.at(step), batches.shards, step)
        if step % 10 == 9:
            print(f"{name}: step {step + 1} of {variant.steps}, loss {loss:.3f}", flush=True)


def quantize(graph: bytes, images: Tensor) -> bytes:
    """Return a graph that computes in int8, with ranges from training faces (N, 3, S, S)."""
    return quantize_graph(graph, images[:CALIBRATION_FACES].permute(0, 2, 3, 1).numpy())[0]


STORAGES: dict[str, Callable[[bytes, Tensor], bytes]] = {
    "float32": lambda graph, _: store_weights(graph, "float32"),
    "float16 weights": lambda graph, _: store_weights(graph, "float16"),
    "int8 weights": lambda graph, _: store_weights(graph, "int8"),
    "4-bit weights": lambda graph, _: share_weights(graph, is_uniform=True),
    "16 shared weights": lambda graph, _: share_weights(graph, is_uniform=False),
    "int8": quantize,
}
"""Functions from a float32 graph and training faces to the graph of the file."""


if __name__ == "__main__":
    main()
