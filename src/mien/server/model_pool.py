"""Pool of expression models, loaded once and shared by all requests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mien.errors import InputError, UnknownModelError
from mien.inference.analyzer import Analyzer
from mien.inference.result import Result
from mien.manifest import read_manifest
from mien.records import convert
from mien.runtime import DEFAULT_MODEL, find_model, shipped_models
from mien.server.batching import BatchKey
from mien.server.schemas import ModelDescription, ModelsResponse
from mien.server.settings import ServerSettings


class ModelPool:
    """Expression models by name, loaded on first use with the threads and limits of the settings.

    Raises:
        InputError: when two models have the same name.
        ModelError: when a model is unknown, its manifest is invalid, or it is not an expression model.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._analyzers: dict[str, Analyzer] = {}
        names = settings.model or sorted(shipped_models(), key=lambda name: name != DEFAULT_MODEL)
        self.paths: dict[str, Path] = {}
        for path in map(find_model, names):
            if path.stem in self.paths:
                raise InputError(f"two models are named {path.stem}: {self.paths[path.stem]} and {path}.")
            self.paths[path.stem] = path
        self.manifests = {name: read_manifest(path) for name, path in self.paths.items()}
        self.default = next(iter(self.paths))

    def resolve(self, name: str | None) -> str:
        """Return the name of a model; None selects the default.

        Raises:
            UnknownModelError: when no model has this name.
        """
        if name is None:
            return self.default
        if name not in self.paths:
            raise UnknownModelError(name, self.paths)
        return name

    def analyzer(self, name: str) -> Analyzer:
        """Return the analyzer of a model; it is loaded on first use.

        Raises:
            ModelError: when the model is broken or not an expression model.
        """
        with self._lock:
            if name not in self._analyzers:
                self._analyzers[name] = Analyzer(
                    self.paths[name],
                    threads=self._settings.network_threads,
                    max_faces=self._settings.max_faces,
                    max_pixels=self._settings.max_pixels,
                )
            return self._analyzers[name]

    def analyze(self, key: BatchKey, images: Sequence[bytes]) -> list[Result]:
        """Analyze encoded images; the expression network processes their faces together.

        Raises:
            ModelError: when a network fails.
        """
        analyzer = self.analyzer(key.model)
        batch_faces = self._settings.batch_faces
        return list(analyzer.analyze_many(images, batch_faces=batch_faces, decode_ahead=0, pose=key.pose))

    def to_dict(self) -> dict[str, Any]:
        """Return the name of the default model and the descriptions of all models, as JSON values."""
        descriptions = [
            msgspec.structs.replace(convert(manifest, ModelDescription, from_attributes=True), name=name)
            for name, manifest in self.manifests.items()
        ]
        return msgspec.to_builtins(ModelsResponse(default=self.default, models=descriptions))
