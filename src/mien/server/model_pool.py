"""The models that a server reads with, opened once and shared by all requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import ImageReadError, InputError, UnknownModelError
from mien.imaging import read_image
from mien.inference.analyzer import Analysis, Analyzer
from mien.manifest import Manifest, read_manifest
from mien.runtime import DEFAULT_MODEL, find_model, shipped_models
from mien.server.batching import Kind
from mien.server.settings import ServerSettings

MAX_SCANS = 100
"""Progressive JPEGs have about ten; a few hundred bytes make one more, and each is a walk over all pixels."""
_JPEG, _JPEG_SCAN = b"\xff\xd8", b"\xff\xda"


class ModelShelf:
    """Expression models by name. The default is opened with `open_default`, the others when they are first asked for.

    Args:
        settings: which models, their threads and limits.

    Raises:
        InputError: when two models have one name.
        ModelError: when a model is unknown, its manifest is wrong, or it reads no expressions.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._analyzers: dict[Kind, Analyzer] = {}
        names = settings.model or sorted(shipped_models(), key=lambda name: name != DEFAULT_MODEL)
        self.paths: dict[str, Path] = {}
        for path in map(find_model, names):
            if path.stem in self.paths:
                raise InputError(f"two models are named {path.stem}: {self.paths[path.stem]} and {path}.")
            self.paths[path.stem] = path
        self.manifests = {name: read_manifest(path) for name, path in self.paths.items()}
        self.default = next(iter(self.paths))

    def open_default(self) -> None:
        """Open the default model.

        Raises:
            ModelError: when it is broken or reads no expressions.
        """
        self.analyzer(Kind(self.default, pose=True))

    def manifest(self, name: str | None) -> Manifest:
        """The manifest of a model; None is the default.

        Raises:
            UnknownModelError: when there is none of this name.
        """
        if name is not None and name not in self.manifests:
            raise UnknownModelError(name, self.manifests)
        return self.manifests[name or self.default]

    def analyzer(self, kind: Kind) -> Analyzer:
        """What reads images of a kind; the same for every caller."""
        with self._lock:
            if kind not in self._analyzers:
                self._analyzers[kind] = Analyzer(
                    self.paths[kind.model],
                    pose=kind.pose,
                    max_faces=self._settings.max_faces,
                    threads=self._settings.network_threads,
                )
            return self._analyzers[kind]

    def decode(self, data: bytes) -> np.ndarray:
        """An encoded image as (H, W, 3) uint8 RGB.

        Raises:
            ImageReadError: when it is broken, no image, or has more pixels than the settings allow or more than
                `MAX_SCANS` scans.
        """
        if data.startswith(_JPEG) and data.count(_JPEG_SCAN) > MAX_SCANS:
            raise ImageReadError(f"the image is a JPEG of more than {MAX_SCANS} scans: save it again.")
        return read_image(data, max_pixels=self._settings.max_pixels)

    def read(self, kind: Kind, images: Sequence[bytes]) -> list[Analysis]:
        """The faces of encoded images, in order; all of them go through the expression network together.

        Raises:
            ModelError: when a network fails.
        """
        broken: dict[int, ImageReadError] = {}

        def decoded() -> Iterator[np.ndarray]:
            for place, data in enumerate(images):
                try:
                    yield self.decode(data)
                except ImageReadError as error:
                    # another one, because the one that was raised holds on to the image
                    broken[place] = ImageReadError(str(error))

        analyzer, faces = self.analyzer(kind), self._settings.batch_faces
        read = iter(list(analyzer.analyze_many(decoded(), batch_faces=faces, decode_ahead=1)))
        return [
            Analysis(source="", error=broken[place]) if place in broken else replace(next(read), source="")
            for place in range(len(images))
        ]

    def to_dict(self) -> dict[str, Any]:
        """The default's name, and what every manifest tells."""
        return {
            "default": self.default,
            "models": [_describe(name, manifest) for name, manifest in self.manifests.items()],
        }


def _describe(name: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "name": name,
        "version": manifest.version,
        "labels": list(manifest.labels),
        "input": {"size": manifest.input.size, "channels": manifest.input.channels},
        "alignment": {"template": manifest.alignment.template, "margin": manifest.alignment.margin}
        if manifest.alignment
        else None,
        "temperature": manifest.temperature,
        "quality_temperature": asdict(manifest.quality_temperature) if manifest.quality_temperature else None,
        "abstain_below": manifest.abstain_below,
        "licence": manifest.licence,
        "trained_on": list(manifest.trained_on),
        "metrics": manifest.metrics,
    }
