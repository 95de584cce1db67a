"""Pool of expression models, loaded once and shared by all requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mien.errors import ImageReadError, InputError, UnknownModelError
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.inference.result import Result
from mien.manifest import Manifest, read_manifest
from mien.runtime import DEFAULT_MODEL, find_model, shipped_models
from mien.server.batching import BatchKey
from mien.server.schemas import ModelDescription, ModelsResponse
from mien.server.settings import ServerSettings


class ModelPool:
    """Expression models by name. `load_default` loads the default one; the others are loaded on first use.

    Args:
        settings: names of the models, their threads and limits.

    Raises:
        InputError: when two models have the same name.
        ModelError: when a model is unknown, its manifest is invalid, or it is not an expression model.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._analyzers: dict[BatchKey, Analyzer] = {}
        names = settings.model or sorted(shipped_models(), key=lambda name: name != DEFAULT_MODEL)
        self.paths: dict[str, Path] = {}
        for path in map(find_model, names):
            if path.stem in self.paths:
                raise InputError(f"two models are named {path.stem}: {self.paths[path.stem]} and {path}.")
            self.paths[path.stem] = path
        self.manifests = {name: read_manifest(path) for name, path in self.paths.items()}
        self.default = next(iter(self.paths))

    def load_default(self) -> None:
        """Load the default model.

        Raises:
            ModelError: when it is broken or not an expression model.
        """
        self.analyzer(BatchKey(self.default, pose=True))

    def manifest(self, name: str | None) -> Manifest:
        """Return the manifest of a model; None selects the default.

        Raises:
            UnknownModelError: when no model has this name.
        """
        if name is not None and name not in self.manifests:
            raise UnknownModelError(name, self.manifests)
        return self.manifests[name or self.default]

    def analyzer(self, key: BatchKey) -> Analyzer:
        """Return the shared analyzer of a batch key."""
        with self._lock:
            if key not in self._analyzers:
                self._analyzers[key] = Analyzer(
                    self.paths[key.model],
                    pose=key.pose,
                    max_faces=self._settings.max_faces,
                    threads=self._settings.network_threads,
                )
            return self._analyzers[key]

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an image to (H, W, 3) uint8 RGB.

        Raises:
            ImageReadError: when it is not a readable image, or has more pixels than the settings allow.
        """
        return read_image(data, max_pixels=self._settings.max_pixels)

    def analyze(self, key: BatchKey, images: Sequence[bytes]) -> list[Result]:
        """Analyze encoded images; the expression network processes their faces together.

        Raises:
            ModelError: when a network fails.
        """
        errors: dict[int, ImageReadError] = {}

        def decoded() -> Iterator[np.ndarray]:
            for index, data in enumerate(images):
                try:
                    yield self.decode(data)
                except ImageReadError as error:
                    # a new error, because the traceback of the raised one references the image
                    errors[index] = ImageReadError(str(error))

        batch_faces = self._settings.batch_faces
        results = iter(
            list(self.analyzer(key).analyze_many(decoded(), batch_faces=batch_faces, decode_ahead=1))
        )
        return [
            Result(source="", error=errors[index]) if index in errors else replace(next(results), source="")
            for index in range(len(images))
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the name of the default model and the descriptions of all models, as JSON values."""
        descriptions = [
            msgspec.structs.replace(
                msgspec.convert(manifest, ModelDescription, from_attributes=True), name=name
            )
            for name, manifest in self.manifests.items()
        ]
        return msgspec.to_builtins(ModelsResponse(default=self.default, models=descriptions))
