"""Registry of networks by name, and their construction from recipe options."""

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any

from mien.errors import ConfigError
from mien.models.backbones import FaceMobileNet
from mien.models.efficientface import EfficientFace
from mien.models.hybrid import HybridNet
from mien.models.network import ExpressionNetwork
from mien.records import convert_record

MODELS: dict[str, type[EfficientFace | FaceMobileNet | HybridNet]] = {
    "efficientface": EfficientFace,
    "face-mobilenet": FaceMobileNet,
    "hybrid": HybridNet,
}
"""Network classes by the `model.name` of a recipe."""


def build_model(name: str, classes: int, options: Mapping[str, Any], *, affect: bool = False) -> ExpressionNetwork:
    """Build a network with random weights.

    Args:
        name: a key of `MODELS`.
        classes: number of logits.
        options: keyword arguments of the network's class, as plain values from a recipe.
        affect: add a head for valence and arousal.

    Raises:
        ConfigError: if the network is unknown, or an option is unknown, of another type or out of range.
    """
    options = complete_options(name, options)
    try:
        network = MODELS[name](classes, **options)
    except ValueError as error:  # raised by torch for a number out of range
        raise ConfigError(f"[model] has a value out of range: {error}.") from None
    if affect:
        network.add_affect_head()
    return network


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked options of a network, with defaults for those that are missing.

    Raises:
        ConfigError: see `build_model`.
    """
    if name not in MODELS:
        raise ConfigError(f"model.name is {name!r}; expected one of {', '.join(MODELS)}.")
    hints = typing.get_type_hints(MODELS[name].__init__)
    fields = [
        (option.name, hints[option.name], dataclasses.field(default=option.default))
        for option in inspect.signature(MODELS[name]).parameters.values()
        if option.name != "classes"
    ]
    kind = dataclasses.make_dataclass("Options", fields, kw_only=True)
    return dataclasses.asdict(convert_record(dict(options), kind, where="model", error=ConfigError))
