"""How a run starts: with which network and which weights."""

import inspect
import typing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.errors import CheckpointError, ConfigError
from mien.models import MODELS, ExpressionNetwork
from mien.training.checkpoint import load_checkpoint
from mien.training.config import Config, ModelConfig, convert_values
from mien.training.data import Faces

CALIBRATION_FACES = 256


def build_model(config: ModelConfig, classes: int) -> ExpressionNetwork:
    """The network of a recipe, with random weights.

    Raises:
        ConfigError: on an unknown network, or an option that it does not have.
    """
    if config.name not in MODELS:
        raise ConfigError(f"model.name is {config.name!r}; expected one of {', '.join(MODELS)}.")
    network = MODELS[config.name]
    hints = typing.get_type_hints(network.__init__)
    known = {name: hints[name] for name in inspect.signature(network).parameters if name != "classes"}
    options = convert_values(known, config.options, "model.")
    try:
        return network(classes, **options)
    except ValueError as error:  # torch's own, of a number out of range
        raise ConfigError(f"[model] has a value out of range: {error}.") from None


def check_start(config: ModelConfig) -> None:
    """Refuse, before any work, a network that cannot be built or whose start is missing.

    Raises:
        ConfigError: on an unknown network or option, a named file that is not there, or layers that are frozen with no
            weights named: they would stay as random as they start.
    """
    build_model(config, classes=2)
    path = Path(config.pretrained)
    if path.suffix and not path.is_file():
        raise ConfigError(
            f"no pretrained weights at {path}. Give model.pretrained the path of a file that is there, "
            'or "" to start from random weights.'
        )
    if config.options.get("frozen") and not config.pretrained:
        raise ConfigError(
            f"model.frozen is {config.options['frozen']}, but no weights to keep are named: those layers would stay "
            "random. Give model.pretrained=FILE, or set model.frozen=0."
        )


def load_start(model: ExpressionNetwork, config: Config, faces: Faces) -> dict[str, int]:
    """Fill a network with the weights that the recipe starts from, if it names any.

    Returns:
        For a checkpoint how many tensors were `taken` from it and how many of the network's were `left`.

    Raises:
        ModelError: when the file is missing or does not fit.
    """
    path = Path(config.model.pretrained)
    if not config.model.pretrained:
        return {}
    if path.suffix == ".ckpt":
        return take_weights(model, path, faces.names)
    model.load_pretrained(path, _calibration_faces(config, faces))
    return {}


def take_weights(model: ExpressionNetwork, path: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Copy a checkpoint's averaged weights where name and shape are the network's; the rest stays as it is.

    The classifier is taken only from a checkpoint of the same classes in the same order.

    Raises:
        CheckpointError: when it cannot be read, or none of its layers before the classifier fits, or it lacks one that
            will not learn.
    """
    checkpoint, own = load_checkpoint(path), model.state_dict()
    same_classes = tuple(checkpoint.labels) == names
    taken = {
        name: value
        for name, value in checkpoint.ema.items()
        if name in own
        and own[name].shape == value.shape
        and (same_classes or not name.startswith("classifier."))
    }
    if not any(value.ndim > 1 for name, value in taken.items() if not name.startswith("classifier.")):
        raise CheckpointError(
            f"{path} has no weights for this network: model.name and its options have to be like the checkpoint's."
        )
    fixed = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    if missing := [name for name in fixed if name not in taken]:
        raise CheckpointError(
            f"{path} lacks {missing[0]}, which the recipe freezes ({len(missing)} of {len(fixed)} such weights): it "
            "would stay random. Lower model.frozen, or start from a network of the same shape."
        )
    model.load_state_dict(taken, strict=False)
    return {"taken": len(taken), "left": len(own) - len(taken)}


def _calibration_faces(config: Config, faces: Faces) -> Tensor:
    order = np.random.default_rng(config.training.seed).permutation(len(faces.rows))
    data = config.data
    crops = [
        faces.store.crop(int(row), size=data.size, template=data.template, margin=data.margin)
        for row in faces.rows[order[:CALIBRATION_FACES]]
    ]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()
