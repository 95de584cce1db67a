"""The networks of an analyzer, opened on one device."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mien.devices import Precision
from mien.errors import ModelError
from mien.faces import LandmarkMesh
from mien.faces.blendshapes import BlendshapeModel
from mien.faces.detection import FaceDetector
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest
from mien.runtime import LoadedModel, portable_name


class Networks:
    """Detector, expression model, landmark mesh and blendshapes; the last two are opened on first use. Thread-safe.

    Args:
        model: name of a shipped expression model, or path of an `.onnx` file.
        threads: threads of every network; 0 lets ONNX Runtime choose.
        device: see `mien.runtime.open_session`.
        precision: see `mien.runtime.load_model`.
        with_mesh: open the landmark mesh now.

    Attributes:
        model: name of the expression model, or its absolute path, from which it is opened again.
        arguments: the other arguments for it.

    Raises:
        InputError: if the device or the precision is unknown.
        DeviceError: if the device is not available.
        ModelError: if the model is unknown or broken.
    """

    def __init__(self, model: str | Path, *, threads: int, device: str, precision: Precision, with_mesh: bool) -> None:
        self.arguments: dict[str, Any] = {"threads": threads, "device": device, "precision": precision}
        self._lock = threading.Lock()
        self._single_threaded: Networks | None = None
        self._mesh: LandmarkMesh | None = None
        self._blendshapes: BlendshapeModel | None = None
        # ONNX Runtime loads files side by side: half the time to start
        with ThreadPoolExecutor(3) as pool:
            detector = pool.submit(FaceDetector, **self.arguments)
            classifier = pool.submit(ExpressionClassifier, model, **self.arguments)
            mesh = pool.submit(self.mesh) if with_mesh else None
        self.detector = detector.result()
        self.classifier = classifier.result()
        self.model = portable_name(model)
        if mesh is not None:
            mesh.result()

    def with_one_thread(self) -> Networks:
        """Return networks with one thread each, for parallel calls; opened on first use.

        The same networks if their number of threads was set, or if they do not run on the CPU.

        Raises:
            ModelError: if the file of the expression model has been replaced.
        """
        if self.arguments["threads"] or self.classifier.network.device != "cpu":
            return self
        with self._lock:
            if self._single_threaded is None:
                arguments = {**self.arguments, "threads": 1}
                networks = Networks(self.model, **arguments, with_mesh=self._mesh is not None)
                network = self.classifier.network
                check_unchanged(network.path, network.manifest.to_json(), networks.classifier.manifest)
                self._single_threaded = networks
            return self._single_threaded

    def mesh(self) -> LandmarkMesh:
        """Return the landmark mesh."""
        with self._lock:
            if self._mesh is None:
                self._mesh = LandmarkMesh(**self.arguments)
            return self._mesh

    def blendshapes(self) -> BlendshapeModel:
        """Return the blendshape model."""
        with self._lock:
            if self._blendshapes is None:
                self._blendshapes = BlendshapeModel(**self.arguments)
            return self._blendshapes

    def loaded(self) -> dict[str, LoadedModel]:
        """Return the open networks by their role."""
        networks = {"face detector": self.detector.network}
        if self._mesh is not None:
            networks |= self._mesh.loaded
        networks["expression"] = self.classifier.network
        if self._blendshapes is not None:
            networks["blendshapes"] = self._blendshapes.network
        return networks


def check_unchanged(path: Path, before: str, after: Manifest) -> None:
    """Raise `ModelError` if a model file was replaced between two loads.

    Args:
        path: the file.
        before: manifest of the first load as JSON.
        after: manifest of the second load.
    """
    if after.to_json() != before:
        raise ModelError(f"{path} has changed since it was loaded; create the Analyzer again.")
