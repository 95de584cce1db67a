"""Diagnosis of an installation: versions, hardware, devices, networks in use, a self-test and timings."""

from __future__ import annotations

import platform
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import numpy as np

from mien._version import __version__
from mien.cpu_features import cpu_features, cpu_name
from mien.devices import Precision, available_devices, explain_conflict, failed_devices, installed_builds
from mien.errors import DeviceError, MienError, ModelError, UnknownModelError
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.results import Face
from mien.runtime import ASSETS, DEFAULT_MODEL, usable_cores

SIZE_HW = (480, 640)
"""Size of the test image in pixels."""
CORNER_XY = (210, 130)
"""Position of the face's photograph in the test image, in pixels."""
EXPECTED_LABEL = "happiness"
"""Expression that people and all shipped models perceive in the test image."""
EXPECTED_BBOX_XYXY = (276.0, 186.0, 367.0, 297.0)
"""Box of the face in the test image."""
BBOX_TOLERANCE = 12.0
"""Maximum distance in pixels of a side of the detected box from the expected one."""
LOGIT_TOLERANCE = {"float32": 0.02, "int8": 0.2}
"""Maximum difference of the logits from those of float32 on the CPU, as a share of the largest logit."""
RUNS = 15
"""Number of timed runs; the median is reported."""


@dataclass(frozen=True)
class SelfTest:
    """Result of the analysis of the test image.

    Attributes:
        label: predicted expression; None without a face.
        expected: expected expression; None for a model without it.
        logit_difference: maximum difference of the logits from those of float32 on the CPU, as a share of the largest.
        problems: what failed; empty for a passed test.
    """

    label: str | None
    expected: str | None
    logit_difference: float
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """State of an installation.

    Attributes:
        versions: version by package; `onnxruntime` is the imported build.
        platform: operating system, machine and CPU.
        cpu_features: instruction sets that matter for int8.
        usable_cores: number of cores that this process may use.
        devices: devices that the installed build of ONNX Runtime supports.
        extras: True for each extra with all packages installed.
        networks: file, device and precision by role.
        self_test: result of the analysis of the test image; None when a network cannot be opened.
        timings_ms: median wall time by stage, in milliseconds.
        problems: what is wrong, with the repair.
    """

    versions: dict[str, str]
    platform: dict[str, str]
    cpu_features: tuple[str, ...]
    usable_cores: int
    devices: tuple[str, ...]
    extras: dict[str, bool]
    networks: dict[str, dict[str, str]] = field(default_factory=dict)
    self_test: SelfTest | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """True when the self-test passed."""
        return self.self_test is not None and not self.self_test.problems

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        return {**asdict(self), "is_healthy": self.is_healthy}


def diagnose(
    model: str | Path = DEFAULT_MODEL, *, threads: int = 0, device: str = "auto", precision: Precision = "auto"
) -> Diagnosis:
    """Examine the installation, and analyze a test image with the networks of an analyzer.

    Args:
        model: see `Analyzer`.
        threads: see `Analyzer`.
        device: see `Analyzer`.
        precision: see `Analyzer`.

    Raises:
        InputError: if an argument is invalid.
        DeviceError: if the named device is not available.
    """
    builds = installed_builds()
    problems = []
    if repair := explain_conflict(builds):
        problems.append(f"{' and '.join(builds)} overwrite each other; keep one: {repair}")
    networks: dict[str, dict[str, str]] = {}
    timings: dict[str, float] = {}
    self_test = None
    try:
        started = time.perf_counter()
        analyzer = Analyzer(model, threads=threads, device=device, precision=precision)
        timings["open"] = 1000 * (time.perf_counter() - started)
        image = make_test_image()
        faces = analyzer.detect(image)
        analyzer.mesh.fit(image, faces)  # opens the detailed network too
        networks = {
            role: {"file": network.path.name, "device": network.device, "precision": network.precision}
            for role, network in analyzer.networks.items()
        }
        timings |= _measure(analyzer, image, faces)
        self_test = run_self_test(analyzer, model)
    except (DeviceError, UnknownModelError):
        raise
    except ModelError as error:
        problems.append(str(error))
    problems += [f'device "{kind}" cannot start: see docs/devices.md' for kind in failed_devices()]
    return Diagnosis(
        versions=_versions(builds),
        platform={"system": platform.platform(), "machine": platform.machine(), "cpu": cpu_name()},
        cpu_features=cpu_features(),
        usable_cores=usable_cores(),
        devices=tuple(available_devices()),
        extras=installed_extras(),
        networks=networks,
        self_test=self_test,
        timings_ms={stage: round(value, 2) for stage, value in timings.items()},
        problems=tuple(problems),
    )


def installed_extras() -> dict[str, bool]:
    """Return for each extra of mien whether all its packages are installed; empty when mien is not installed."""
    try:
        requirements = requires("mien") or []
    except PackageNotFoundError:
        return {}
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        if extra := re.search(r"extra == ['\"]([\w-]+)['\"]", requirement):
            packages.setdefault(extra[1], []).append(requirement)

    def is_complete(extra: str) -> bool:
        return all(is_met(requirement) for requirement in packages.get(extra, []))

    def is_met(requirement: str) -> bool:
        # an extra may contain others: mien[table,pandas]
        if others := re.match(r"mien\[([\w,\s-]+)\]", requirement):
            return all(is_complete(other.strip()) for other in others[1].split(","))
        package = re.match(r"[\w.-]+", requirement)
        return package is not None and _is_installed(package[0])

    return {extra: is_complete(extra) for extra in packages}


def make_test_image() -> np.ndarray:
    """Return a gray image (480, 640, 3) uint8 RGB with the photograph of one face."""
    photograph = read_image(ASSETS / "self-test.jpg")
    image = np.full((*SIZE_HW, 3), 127, dtype=np.uint8)
    x, y = CORNER_XY
    image[y : y + photograph.shape[0], x : x + photograph.shape[1]] = photograph
    return image


def run_self_test(analyzer: Analyzer, model: str | Path) -> SelfTest:
    """Analyze the test image, and compare the result with the expected one and with float32 on the CPU."""
    image = make_test_image()
    expected = EXPECTED_LABEL if EXPECTED_LABEL in analyzer.manifest.labels else None
    try:
        faces = analyzer.analyze(image).faces
        if len(faces) != 1:
            return SelfTest(None, expected, 0.0, (f"{len(faces)} faces in the test image; expected one",))
        difference = _logit_difference(analyzer, model, image, faces[0])
    except MienError as error:
        return SelfTest(None, expected, 0.0, (str(error),))
    problems = []
    if np.abs(faces[0].bbox_xyxy - EXPECTED_BBOX_XYXY).max() > BBOX_TOLERANCE:
        problems.append(f"the face is at {faces[0].bbox_xyxy.round()}; expected {EXPECTED_BBOX_XYXY}")
    expression = faces[0].expression
    label = None if expression is None else expression.labels[int(expression.probabilities.argmax())]
    if expected is not None and label != expected:
        problems.append(f"the expression is {label}; expected {expected}")
    tolerance = LOGIT_TOLERANCE[analyzer.classifier.network.precision]
    if not difference <= tolerance:
        problems.append(f"the logits differ by {difference:.1%} from those of float32 on the CPU")
    return SelfTest(label, expected, round(difference, 5), tuple(problems))


def _logit_difference(analyzer: Analyzer, model: str | Path, image: np.ndarray, face: Face) -> float:
    precision: Precision = "auto" if Path(model).suffix else "float32"
    reference = ExpressionClassifier(model, threads=1, device="cpu", precision=precision)
    crop = analyzer.classifier.crop(image, face)[None]
    expected = reference.logits(crop)
    return float(np.abs(analyzer.classifier.logits(crop) - expected).max() / np.abs(expected).max())


def _measure(analyzer: Analyzer, image: np.ndarray, faces: list[Face]) -> dict[str, float]:
    """Return the median time of each stage of the analysis of an image with these faces, in ms of wall time."""
    stages: dict[str, float] = {"detect": _median_ms(lambda: analyzer.detect(image))}
    if faces:
        _, crops = analyzer.crop_faces(image, faces)
        stages["mesh, pose and crop"] = _median_ms(lambda: analyzer.crop_faces(image, faces))
        stages["classify"] = _median_ms(lambda: analyzer.classifier.classify(np.stack(crops)))
    stages["whole image"] = _median_ms(lambda: analyzer.analyze(image))
    return stages


def _median_ms(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _versions(builds: dict[str, str]) -> dict[str, str]:
    import onnxruntime as ort

    return {
        "mien": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        **{package: number for package, number in builds.items() if package != "onnxruntime"},
    }


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
