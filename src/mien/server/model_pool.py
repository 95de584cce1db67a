"""Pool of expression models, loaded once and shared by all requests."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from mien.class_prior import log_ratios, read_prior
from mien.errors import InputError
from mien.faces.detection import check_detector_size
from mien.inference.analyzer import Analyzer
from mien.inference.options import AnalysisOptions
from mien.inference.result import Result
from mien.manifest import read_manifest
from mien.records import convert
from mien.runtime import DEFAULT_MODEL, find_model, shipped_models
from mien.server.errors import HTTPProblem
from mien.server.parameters import StreamParameters
from mien.server.schemas import ModelDescription, ModelsResponse
from mien.server.settings import ServerSettings, flag


class Selection(NamedTuple):
    """The model and the options of a request."""

    model: str
    options: AnalysisOptions


class ModelPool:
    """Expression models by name, loaded on first use with the threads of the settings.

    Raises:
        InputError: when two models have the same name, a setting is out of range, or a model lacks a class of the
            prior.
        ModelError: when a model is unknown, its manifest is invalid, it is not an expression model, or it has no class
            frequencies for the prior.
    """

    def __init__(self, settings: ServerSettings) -> None:
        check_detector_size("max_detector_size", settings.max_detector_size)
        self._settings = settings
        self._lock = threading.Lock()
        self._analyzers: dict[str, Analyzer] = {}
        names = settings.model or sorted(shipped_models(), key=lambda name: name != DEFAULT_MODEL)
        self.paths: dict[str, Path] = {}
        self._sources: dict[str, str] = {}
        for source in names:
            path = find_model(source)
            if path.stem in self.paths:
                raise InputError(f"two models are named {path.stem}: {self.paths[path.stem]} and {path}.")
            self.paths[path.stem] = path
            self._sources[path.stem] = source
        self.manifests = {name: read_manifest(path) for name, path in self.paths.items()}
        self.default = next(iter(self.paths))
        self._prior = None if settings.prior is None else read_prior(settings.prior)
        if self._prior is not None:
            for manifest in self.manifests.values():
                log_ratios(manifest, self._prior)

    def resolve(self, parameters: StreamParameters) -> Selection:
        """Return the model and the options of a request; absent ones have their defaults.

        Raises:
            HTTPProblem: when no model has the name, an option is above a limit, or the model has no error rates for
                `max_error`.
        """
        name = self.default if parameters.model is UNSET else parameters.model
        if name not in self.paths:
            raise HTTPProblem(404, "model_unknown", f"unknown model {name[:64]!r}; known: {', '.join(self.paths)}.")
        given = parameters.options()
        for option, limit in (("max_faces", "max_faces"), ("detector_size", "max_detector_size")):
            if given.get(option, 0) > (most := getattr(self._settings, limit)):
                message = f"{option} is {given[option]}; this server's limit is {most} ({flag(limit)})."
                raise HTTPProblem(422, "parameter", message)
        if "max_error" in given and not self.manifests[name].risk_coverage:
            raise HTTPProblem(422, "parameter", f"the model {name} has no error rates; leave max_error out.")
        if "max_error" in given and self._prior is not None:
            raise HTTPProblem(422, "parameter", "this server corrects for class frequencies; leave max_error out.")
        defaults = {
            "max_faces": self._settings.max_faces + 1,  # one more shows that faces are left out
            "max_pixels": self._settings.max_pixels,
            "prior": self._prior,
        }
        return Selection(name, AnalysisOptions(**{**defaults, **given}))

    def analyzer(self, name: str) -> Analyzer:
        """Return the analyzer of a model; it is loaded on first use.

        Raises:
            ModelError: when the model is broken or not an expression model.
        """
        with self._lock:
            if name not in self._analyzers:
                settings = self._settings
                self._analyzers[name] = Analyzer(
                    self._sources[name],
                    threads=settings.network_threads,
                    device=settings.device,
                    precision=settings.precision,
                )
            return self._analyzers[name]

    def analyze(self, selection: Selection, image: bytes) -> Result:
        """Analyze an encoded image; the result has no pixels, and an `error` if the image is unreadable.

        Raises:
            ModelError: when a network fails.
        """
        (result,) = self.analyzer(selection.model).analyze_many([image], workers=1, **vars(selection.options))
        return replace(result, image=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the name of the default model and the descriptions of all models, as JSON values."""
        descriptions = [
            msgspec.structs.replace(convert(manifest, ModelDescription, from_attributes=True), name=name)
            for name, manifest in self.manifests.items()
        ]
        return msgspec.to_builtins(ModelsResponse(default=self.default, models=descriptions))
