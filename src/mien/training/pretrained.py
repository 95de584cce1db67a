"""Initialization of a network from pretrained weights."""

from pathlib import Path

import numpy as np
import torch

from mien.errors import CheckpointError, ConfigError, ModelError
from mien.models import ExpressionNetwork, build_model
from mien.training.checkpoint import load_checkpoint
from mien.training.config import Config, ModelConfig
from mien.training.data import Faces, evaluation_crops

STATISTICS_FACES = 256
"""Training faces from which statistics of folded batch norms are computed."""


def check_model(config: ModelConfig, size: int) -> None:
    """Check before any work that the network can be built and its pretrained weights exist.

    Args:
        config: model section of the recipe.
        size: side of the crops in pixels, `data.size`.

    Raises:
        ConfigError: if the network or an option is unknown, the crops are too small for it, the weights file is
            missing, or layers are frozen without pretrained weights, which would leave them random.
    """
    model = build_model(config.name, 2, config.options).eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, size, size))
    except ModelError as error:
        raise ConfigError(f"data.size is {size}: {error}") from None
    path = Path(config.pretrained)
    if path.suffix == ".onnx":
        raise ConfigError(
            f"model.pretrained is {path}: a model file cannot be trained further. Give the checkpoint (.ckpt) of its "
            "run, or name the model as a teacher, target.teachers."
        )
    if path.suffix and not path.is_file():
        raise ConfigError(
            f"no pretrained weights at {path}. Set model.pretrained to the path of an existing file, "
            'or to "" for random weights.'
        )
    if config.options.get("frozen") and not config.pretrained:
        raise ConfigError(
            f"model.frozen is {config.options['frozen']}, but there are no pretrained weights: frozen layers would "
            "stay random. Set model.pretrained=FILE or model.frozen=0."
        )


def load_pretrained(model: ExpressionNetwork, config: Config, faces: Faces) -> dict[str, int]:
    """Load the pretrained weights of a recipe, if any.

    Returns:
        For a checkpoint, the number of tensors that were `loaded` and of those that are `missing` in it.

    Raises:
        ModelError: if the file is missing or does not fit.
    """
    path = Path(config.model.pretrained)
    if not config.model.pretrained:
        return {}
    if path.suffix == ".ckpt":
        return load_matching_weights(model, path, faces.names)
    order = np.random.default_rng(config.training.seed).permutation(len(faces.rows))
    rows = faces.rows[order[:STATISTICS_FACES]]
    model.load_pretrained(path, evaluation_crops(faces.store, rows, config.data).float())
    return {}


def load_matching_weights(model: ExpressionNetwork, path: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Load a checkpoint's averaged weights that match the network in name and shape.

    The classifier is loaded only if the checkpoint has the same classes in the same order.

    Raises:
        CheckpointError: if the file cannot be read, no layer before the classifier matches, or a frozen one is missing.
    """
    checkpoint = load_checkpoint(path)
    own = model.state_dict()
    same_classes = tuple(checkpoint.labels) == names
    weights = {
        name: value
        for name, value in checkpoint.ema.items()
        if name in own and own[name].shape == value.shape and (same_classes or not name.startswith("classifier."))
    }
    if not any(value.ndim > 1 for name, value in weights.items() if not name.startswith("classifier.")):
        raise CheckpointError(
            f"{path} has no weights for this network: model.name and its options must match those of the checkpoint."
        )
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    if missing := [name for name in frozen if name not in weights]:
        raise CheckpointError(
            f"{path} lacks {missing[0]}, which the recipe freezes ({len(missing)} of {len(frozen)} such weights): it "
            "would stay random. Lower model.frozen, or use a checkpoint of the same network."
        )
    model.load_state_dict(weights, strict=False)
    return {"loaded": len(weights), "missing": len(own) - len(weights)}
