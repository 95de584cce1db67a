"""Model manifest: the JSON file beside every `.onnx` file.

A model without a manifest, or whose SHA-256 differs from its manifest, is refused: every published number must be
traceable to a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.atomic import write_atomic
from mien.errors import InputError, ManifestError
from mien.records import convert_record

if TYPE_CHECKING:
    from mien.results import Quality

SCHEMA = 2
"""Version of the format that is written. Schema 1, with the key `licence` for `license`, is still read."""
_IMAGE = (("RGB", "BGR"), ("NCHW", "NHWC"))
INPUTS = {
    "expression": _IMAGE,
    "face-detection": _IMAGE,
    "face-landmarks": _IMAGE,
    "face-blendshapes": (("XY",), ("NPC",)),
    "voice-activity": (("SAMPLES",), ("TN",)),
    "voice-expression": (("LOG_MEL",), ("NMT",)),
    "fusion": (("EMBEDDINGS",), ("ND",)),
}
"""Channels and layouts of the input of each task."""
TASKS = tuple(INPUTS)
"""Tasks of a model."""
OPTIONAL_KEYS = ("quality_temperature", "class_prior", "risk_coverage", "regions")
"""Keys that are left out of the JSON when empty."""
UNSTATED_LICENSE = "not stated"
"""License of data or weights for which none is known."""
RESTRICTION = "; restricted by its training data: "
"""Start of the part of a license that `result_license` adds."""
RESTRICTED = re.compile(r"non-?\s?commercial|\bNC\b|research|academic", re.IGNORECASE)
"""Words of a license that does not allow every use."""
MAX_HALVINGS = 3
"""Maximum number of halvings of the face size that raise the temperature."""


MAX_ROUNDING = 1e-3
"""Maximum difference of a sum of rounded shares from 1."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Input tensor of a model: `(N, channels, size, size)` for layout NCHW, `(N, size, channels)` for layout NPC.

    Attributes:
        size: height and width in pixels; 0 when both are dynamic. For layout NPC the number of mesh points, for NMT
            that of mel bands, for TN that of samples per frame; 0 for ND.
        channels: "RGB" or "BGR"; "XY" for points; "LOG_MEL" and "SAMPLES" for sound; "EMBEDDINGS" of other models.
        layout: "NCHW" or "NHWC"; "NPC" for points; "NMT" (mel bands, time) and "TN" (frames, samples) for sound; "ND"
            for embeddings.
        range: values of black and white, or of the quietest and the loudest sound.
    """

    size: int
    channels: str = "RGB"
    layout: str = "NCHW"
    range: tuple[float, float] = (0.0, 255.0)


@dataclass(frozen=True, kw_only=True)
class AlignmentSpec:
    """Arguments of `mien.faces.align_face` for the crop that a model was trained on."""

    template: str
    margin: float


@dataclass(frozen=True, kw_only=True)
class RegionSpec:
    """Face region that a model weights.

    Attributes:
        name: display name.
        bbox_xyxy: left, top, right, bottom as shares 0..1 of the crop.
    """

    name: str
    bbox_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class QualityTemperature:
    """Temperature correction for small and blurred faces; see docs/reliability.md.

    Attributes:
        size_px: `Quality.size_px` below which a face counts as small.
        per_halving: increase of the log temperature per halving of the size below it, at most `MAX_HALVINGS` halvings.
        sharpness: `Quality.sharpness` below which a face counts as blurred.
        per_blur: increase of the log temperature at sharpness 0; linear in between.
    """

    size_px: float
    per_halving: float
    sharpness: float
    per_blur: float

    def factor(self, quality: Quality) -> float:
        """Return the factor of the temperature for a face of this quality, at least 1."""
        halvings = math.log2(self.size_px / max(quality.size_px, self.size_px / 2**MAX_HALVINGS))
        blur = 1 - quality.sharpness / self.sharpness
        return math.exp(self.per_halving * max(halvings, 0.0) + self.per_blur * min(max(blur, 0.0), 1.0))


@dataclass(frozen=True, kw_only=True)
class RiskPoint:
    """Point of the risk-coverage curve, measured on validation faces.

    Attributes:
        coverage: share of the faces that get a label.
        error: share of those labels that are wrong.
        confidence: minimum probability of a label.
    """

    coverage: float
    error: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class TrainingSource:
    """Data set or model that weights learned from.

    Attributes:
        name: name, with authors, split or number of faces where they are known.
        license: license of the images and labels, or of the model's weights.
    """

    name: str = "unnamed source"
    license: str = UNSTATED_LICENSE


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Description of a model file; docs/manifest.md documents the JSON keys.

    Attributes:
        name: public name of the model, the name of its file; `source` has the recipe.
        temperature: divisor of the logits before the softmax, fitted on validation data.
        quality_temperature: temperature correction for small and blurred faces; None when not measured.
        class_prior: share of each class for which the probabilities hold, by label; empty when not measured. See
            docs/class-priors.md.
        abstain_below: largest probability below which no label is given.
        risk_coverage: risk-coverage curve from all faces down; empty when not measured.
        regions: face regions of the graph's output `regions`, in its order; empty when it has none.
        trained_on: every data set and model behind the weights: training data, initial weights, teachers, and what
            those learned from.
        metrics: numbers by data set and split, as `mien evaluate --json` prints them.
        sha256: hex SHA-256 of the model file.
        source: recipe and commit, or the origin of a third-party file.
    """

    name: str
    version: str
    task: str
    input: InputSpec
    sha256: str
    license: str
    schema: int = SCHEMA
    labels: tuple[str, ...] = ()
    alignment: AlignmentSpec | None = None
    temperature: float = 1.0
    quality_temperature: QualityTemperature | None = None
    class_prior: dict[str, float] = field(default_factory=dict)
    abstain_below: float = 0.0
    risk_coverage: tuple[RiskPoint, ...] = ()
    regions: tuple[RegionSpec, ...] = ()
    trained_on: tuple[TrainingSource, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest as indented JSON that ends in a newline, without empty `OPTIONAL_KEYS`."""
        record = {key: value for key, value in asdict(self).items() if value or key not in OPTIONAL_KEYS}
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def result_license(stated: str, sources: Iterable[TrainingSource]) -> str:
    """Return the license of weights: that of their author, and the sources that do not allow every use.

    Args:
        stated: license as the author states it, or the result for the weights that the sources are added to.
        sources: the data sets and models behind the weights, or those that are added.
    """
    license_name, _, before = stated.partition(RESTRICTION)
    texts = (f"{source.name} ({source.license})" for source in sources if RESTRICTED.search(source.license))
    added = [text for text in texts if f"; {text};" not in f"; {before};"]
    restrictions = "; ".join([before, *added] if before else added)
    return (license_name or UNSTATED_LICENSE) + (RESTRICTION + restrictions if restrictions else "")


def manifest_path(model_path: Path) -> Path:
    """Return the path of a model file's manifest: `a.json` for `a.onnx`, `a.tflite.json` for `a.tflite`."""
    if model_path.suffix == ".onnx":
        return model_path.with_suffix(".json")
    return model_path.with_name(f"{model_path.name}.json")


def check_manifest_path(model_path: Path) -> None:
    """Raise `InputError` if the manifest of a new model would overwrite a file that is not a manifest."""
    path = manifest_path(model_path)
    if path.exists() and not is_manifest(path):
        raise InputError(f"{path} is not a manifest and would be overwritten; give another --output.")


def is_manifest(path: Path) -> bool:
    """Return whether a file is a manifest of any model."""
    try:
        parse_manifest(path.read_bytes())
    except (ManifestError, OSError):
        return False
    return True


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(manifest: Manifest, model_path: Path) -> Path:
    """Write the manifest beside its model atomically and return its path."""
    path = manifest_path(model_path)
    write_atomic(path, manifest.to_json())
    return path


def read_manifest(model_path: Path) -> Manifest:
    """Read and validate the manifest of a model file, including the file's hash.

    Raises:
        ManifestError: when it is missing, is not JSON, lacks a key, has a value of the wrong type, or when
            the SHA-256 of the model file differs.
    """
    path = manifest_path(model_path)
    if not path.is_file():
        raise ManifestError(f"{model_path} has no manifest; expected {path.name} beside it (mien export writes both).")
    manifest = parse_manifest(path.read_bytes(), path)
    sha256 = file_sha256(model_path)
    if sha256 != manifest.sha256:
        raise ManifestError(
            f"{model_path} is not the file that {path.name} describes: sha256 {sha256[:12]}..., "
            f"expected {manifest.sha256[:12]}.... Restore the file or export it again."
        )
    return manifest


def parse_manifest(data: bytes, origin: Path | str = "manifest") -> Manifest:
    """Parse and validate a manifest from JSON bytes; `origin` is the file name in messages.

    Raises:
        ManifestError: on invalid JSON, another schema, an unknown or missing key, or an invalid value.
    """
    try:
        record = json.loads(data.decode("utf-8"), object_hook=_rename_licence)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{origin} is not JSON: {error}.") from None
    if not isinstance(record, dict):
        raise ManifestError(f"{origin}: expected a JSON object, got {type(record).__name__}.")
    if record.get("schema") not in (1, SCHEMA):
        raise ManifestError(
            f"{origin}: schema {record.get('schema')!r}, this version of mien reads 1 and {SCHEMA}. "
            "Export the model again."
        )
    try:
        manifest = convert_record({**record, "schema": SCHEMA}, Manifest, error=ValueError)
        manifest = replace(manifest, sha256=manifest.sha256.lower())
        _check_values(manifest)
    except ValueError as error:
        raise ManifestError(f"{origin}: {error}") from None
    return manifest


def _rename_licence(record: dict[str, Any]) -> dict[str, Any]:
    """Rename the key `licence` of schema 1."""
    return {"license" if key == "licence" else key: value for key, value in record.items()}


def _check_values(manifest: Manifest) -> None:
    if manifest.task not in TASKS:
        raise ValueError(f"task is {manifest.task!r}; expected one of: {', '.join(TASKS)}.")
    channels, layouts = INPUTS[manifest.task]
    if manifest.input.channels not in channels or manifest.input.layout not in layouts:
        raise ValueError(f"input: expected channels {' or '.join(channels)} and layout {' or '.join(layouts)}.")
    if not 0 <= manifest.input.size <= 4096 or len(manifest.input.range) != 2:
        raise ValueError("input: expected a size of 0..4096 and a range of two numbers.")
    if not all(map(math.isfinite, manifest.input.range)):
        raise ValueError(f"input.range is {list(manifest.input.range)}; expected finite numbers.")
    if manifest.alignment is not None and not math.isfinite(manifest.alignment.margin):
        raise ValueError(f"alignment.margin is {manifest.alignment.margin}; expected a finite number.")
    if manifest.task == "expression" and (manifest.alignment is None or manifest.input.size == 0):
        raise ValueError("an expression model needs alignment and input.size.")
    if manifest.task in ("expression", "voice-expression", "fusion"):
        _check_classes(manifest)


def _check_classes(manifest: Manifest) -> None:
    if len(manifest.labels) < 2 or len(set(manifest.labels)) != len(manifest.labels):
        raise ValueError("labels: expected at least two, all different.")
    if not 0 < manifest.temperature < 1000:
        raise ValueError(f"temperature is {manifest.temperature}; expected a number within (0, 1000).")
    if not 0 <= manifest.abstain_below <= 1:
        raise ValueError(f"abstain_below is {manifest.abstain_below}; expected a number within [0, 1].")
    if manifest.quality_temperature is not None:
        _check_quality_temperature(manifest.quality_temperature)
    if manifest.class_prior:
        _check_class_prior(manifest.class_prior, manifest.labels)
    _check_risk(manifest.risk_coverage)
    if len({region.name for region in manifest.regions}) != len(manifest.regions):
        raise ValueError("regions: expected different names.")
    for region in manifest.regions:
        _check_region(region)


def _check_quality_temperature(spec: QualityTemperature) -> None:
    if not (0 < spec.size_px < math.inf and 0 < spec.sharpness <= 1):
        raise ValueError("quality_temperature: expected a finite size_px above 0 and sharpness within (0, 1].")
    if not (0 <= spec.per_halving <= 5 and 0 <= spec.per_blur <= 5):
        raise ValueError("quality_temperature: expected per_halving and per_blur within 0..5.")


def _check_class_prior(shares: dict[str, float], labels: tuple[str, ...]) -> None:
    if set(shares) != set(labels):
        raise ValueError(f"class_prior: expected a share of each of {', '.join(labels)}.")
    if not all(0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > MAX_ROUNDING:
        raise ValueError("class_prior: expected shares within 0..1 that sum to 1.")


def _check_risk(points: tuple[RiskPoint, ...]) -> None:
    for point in points:
        if not (0 < point.coverage <= 1 and 0 <= point.error <= 1 and 0 <= point.confidence <= 1):
            raise ValueError(f"risk_coverage: {point} is not within 0..1.")
    for before, after in pairwise(points):
        if not (after.coverage < before.coverage and after.confidence >= before.confidence):
            raise ValueError("risk_coverage: expected decreasing coverage and non-decreasing confidence.")


def _check_region(region: RegionSpec) -> None:
    left, top, right, bottom = region.bbox_xyxy
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(f"bbox_xyxy of {region.name}: {list(region.bbox_xyxy)} is not a box within 0..1.")
