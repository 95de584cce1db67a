"""What a model file promises: the JSON that stands beside every `.onnx`.

Training and runtime meet here and nowhere else. Loading a model without a manifest, or with one whose hash is
not the file's, is refused: a number that nobody can trace is worse than no number.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from mien.atomic import write_atomic
from mien.errors import ManifestError

if TYPE_CHECKING:
    from mien.results import Quality

SCHEMA = 1
TASKS = ("expression", "face-detection", "face-landmarks")
OPTIONAL = ("quality_temperature", "risk_coverage", "regions")
"""Keys that came after the first release: left out of the JSON when empty."""
HALVINGS = 3
"""Below this many halvings of its size a face is not called smaller."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The tensor that a model takes: `(N, channels, size, size)` for layout NCHW.

    Attributes:
        size: height and width in pixels; 0 when both are free.
        channels: "RGB" or "BGR".
        layout: "NCHW" or "NHWC".
        range: the values of black and white.
    """

    size: int
    channels: str = "RGB"
    layout: str = "NCHW"
    range: tuple[float, float] = (0.0, 255.0)


@dataclass(frozen=True, kw_only=True)
class AlignmentSpec:
    """How `mien.faces.align_face` cuts the crop that a model was trained on."""

    template: str
    margin: float


@dataclass(frozen=True, kw_only=True)
class RegionSpec:
    """A part of the face that a model weighs.

    Attributes:
        name: as it is shown.
        bbox_xyxy: left, top, right, bottom as shares 0..1 of the crop.
    """

    name: str
    bbox_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class QualityTemperature:
    """How much less sure a model is of a face that is small or blurred than its logits say: docs/reliability.md.

    Attributes:
        size_px: `Quality.size_px` from which on a face is not too small.
        per_halving: what every halving of the size below it adds to the log of the temperature, three halvings at most.
        sharpness: `Quality.sharpness` from which on a face is not blurred.
        per_blur: what no sharpness at all adds; in between in proportion.
    """

    size_px: float
    per_halving: float
    sharpness: float
    per_blur: float

    def factor(self, quality: Quality) -> float:
        """What the temperature is multiplied by for a face of this quality: 1 for a good one, else more."""
        halvings = math.log2(self.size_px / max(quality.size_px, self.size_px / 2**HALVINGS))
        blur = 1 - quality.sharpness / self.sharpness
        return math.exp(self.per_halving * max(halvings, 0.0) + self.per_blur * min(max(blur, 0.0), 1.0))


@dataclass(frozen=True, kw_only=True)
class RiskPoint:
    """What abstaining buys, measured on validation faces.

    Attributes:
        coverage: share of the faces that keep a label.
        error: share of those labels that are wrong.
        confidence: the least probability of a label that is kept.
    """

    coverage: float
    error: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A model's description; see the field names of the JSON in docs/manifest.md.

    Attributes:
        temperature: logits are divided by it before the softmax; fitted on validation data.
        quality_temperature: how the temperature rises for faces that are hard to read; None when not measured.
        abstain_below: no label is given when the largest probability is smaller.
        risk_coverage: error against share of labeled faces, from all faces down; empty when it was not measured.
        regions: the parts of the face behind the graph's output `regions`, in its order; empty when it has none.
        trained_on: name and licence of every data set behind the weights, the pretrained start included.
        metrics: numbers by data set and split, as `mien evaluate --json` prints them.
        sha256: of the model file.
        source: recipe and commit, or the origin of a vendored file.
    """

    name: str
    version: str
    task: str
    input: InputSpec
    sha256: str
    licence: str
    schema: int = SCHEMA
    labels: tuple[str, ...] = ()
    alignment: AlignmentSpec | None = None
    temperature: float = 1.0
    quality_temperature: QualityTemperature | None = None
    abstain_below: float = 0.0
    risk_coverage: tuple[RiskPoint, ...] = ()
    regions: tuple[RegionSpec, ...] = ()
    trained_on: tuple[dict[str, str], ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest as indented JSON, ending in a newline; optional keys only where they say something.

        Releases before such a key refuse it, and can read every other model.
        """
        record = asdict(self)
        for name in OPTIONAL:
            if not record[name]:
                del record[name]
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def manifest_path(model_path: Path) -> Path:
    """Where the manifest of a model file stands: the same name, ending in `.json`."""
    return model_path.with_suffix(".json")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(manifest: Manifest, model_path: Path) -> Path:
    """Write the manifest beside its model, whole or not at all; returns its path."""
    path = manifest_path(model_path)
    write_atomic(path, manifest.to_json())
    return path


def read_manifest(model_path: Path) -> Manifest:
    """Read and check the manifest of a model file, its hash included.

    Raises:
        ManifestError: when it is missing, is not JSON, lacks a key, has a value of the wrong kind, or when
            the model file's SHA-256 is not the one it names.
    """
    path = manifest_path(model_path)
    if not path.is_file():
        raise ManifestError(
            f"{model_path} has no manifest: {path.name} must stand beside it (mien export writes both)."
        )
    manifest = parse_manifest(path.read_bytes(), path)
    found = file_sha256(model_path)
    if found != manifest.sha256:
        raise ManifestError(
            f"{model_path} is not the file that {path.name} describes: sha256 {found[:12]}..., "
            f"expected {manifest.sha256[:12]}.... Restore the file or export it again."
        )
    return manifest


def parse_manifest(data: bytes, origin: Path | str = "manifest") -> Manifest:
    """Build a `Manifest` from JSON bytes.

    Raises:
        ManifestError: on anything that is not a manifest of this schema.
    """
    try:
        record = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{origin} is not JSON: {error}.") from None
    if not isinstance(record, dict):
        raise ManifestError(f"{origin}: expected a JSON object, found {type(record).__name__}.")
    if record.get("schema") != SCHEMA:
        raise ManifestError(
            f"{origin}: schema {record.get('schema')!r}, this version of mien reads {SCHEMA}. "
            "Export the model again."
        )
    try:
        manifest = _build(Manifest, record)
        _check_values(manifest)
    except (TypeError, ValueError, OverflowError) as error:
        raise ManifestError(f"{origin}: {error}") from None
    return manifest


def _build(kind: type, record: dict[str, Any]) -> Any:
    """A manifest dataclass from plain JSON; unknown and missing keys and wrong types are errors."""
    if not isinstance(record, dict):
        raise TypeError(f"{kind.__name__}: expected an object, found {type(record).__name__}")
    known = {item.name: item.default is MISSING and item.default_factory is MISSING for item in fields(kind)}
    if unknown := sorted(set(record) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r}")
    if missing := [name for name, is_required in known.items() if is_required and name not in record]:
        raise ValueError(f"missing key {missing[0]!r}")
    hints = get_type_hints(kind)
    return kind(**{name: _convert(name, hints[name], value) for name, value in record.items()})


def _convert(name: str, hint: Any, value: Any) -> Any:
    if hint is InputSpec:
        return _build(InputSpec, value)
    if hint == AlignmentSpec | None:
        return None if value is None else _build(AlignmentSpec, value)
    if hint == QualityTemperature | None:
        return None if value is None else _build(QualityTemperature, value)
    if hint in (str, int, float):
        return _scalar(name, hint, value)
    if hint == dict[str, Any]:
        return _instance(name, dict, value)
    items = _instance(name, list, value)
    if hint in (tuple[float, float], tuple[float, float, float, float]):
        return tuple(_scalar(name, float, item) for item in items)
    for kind in (RegionSpec, RiskPoint):
        if hint == tuple[kind, ...]:
            return tuple(_build(kind, item) for item in items)
    return tuple(_instance(name, str if hint == tuple[str, ...] else dict, item) for item in items)


def _scalar(name: str, hint: type, value: Any) -> Any:
    accepted = (int, float) if hint is float else hint
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise TypeError(f"{name}: expected {hint.__name__}, found {value!r}")
    return hint(value)


def _instance(name: str, kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _check_values(manifest: Manifest) -> None:
    if manifest.task not in TASKS:
        raise ValueError(f"task {manifest.task!r} is none of {', '.join(TASKS)}")
    if manifest.input.channels not in ("RGB", "BGR") or manifest.input.layout not in ("NCHW", "NHWC"):
        raise ValueError("input: channels are RGB or BGR, layout is NCHW or NHWC")
    if not 0 <= manifest.input.size <= 4096 or len(manifest.input.range) != 2:
        raise ValueError("input: size is 0..4096 and range is two numbers")
    if manifest.task == "expression":
        _check_expression(manifest)


def _check_expression(manifest: Manifest) -> None:
    if len(manifest.labels) < 2 or len(set(manifest.labels)) != len(manifest.labels):
        raise ValueError("labels: at least two, all different")
    if manifest.alignment is None or manifest.input.size == 0:
        raise ValueError("an expression model states its alignment and input size")
    if not 0 < manifest.temperature < 1000:
        raise ValueError(f"temperature {manifest.temperature} is not within (0, 1000)")
    if not 0 <= manifest.abstain_below <= 1:
        raise ValueError(f"abstain_below {manifest.abstain_below} is not within [0, 1]")
    if manifest.quality_temperature is not None:
        _check_quality_temperature(manifest.quality_temperature)
    _check_risk(manifest.risk_coverage)
    if len({region.name for region in manifest.regions}) != len(manifest.regions):
        raise ValueError("regions: their names are all different")
    for region in manifest.regions:
        _check_region(region)


def _check_quality_temperature(spec: QualityTemperature) -> None:
    if not (spec.size_px > 0 and 0 < spec.sharpness <= 1):
        raise ValueError("quality_temperature: size_px is above 0 and sharpness within (0, 1]")
    if not (0 <= spec.per_halving <= 5 and 0 <= spec.per_blur <= 5):
        raise ValueError("quality_temperature: per_halving and per_blur are within 0..5")


def _check_risk(points: tuple[RiskPoint, ...]) -> None:
    for point in points:
        if not (0 < point.coverage <= 1 and 0 <= point.error <= 1 and 0 <= point.confidence <= 1):
            raise ValueError(f"risk_coverage: {point} is not within 0..1")
    for before, after in pairwise(points):
        if not (after.coverage < before.coverage and after.confidence >= before.confidence):
            raise ValueError("risk_coverage: the coverage falls from point to point, as the confidence rises")


def _check_region(region: RegionSpec) -> None:
    if len(region.bbox_xyxy) != 4:
        raise ValueError(f"bbox_xyxy of {region.name}: expected 4 numbers, found {len(region.bbox_xyxy)}")
    left, top, right, bottom = region.bbox_xyxy
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(f"bbox_xyxy of {region.name}: {list(region.bbox_xyxy)} is no box within 0..1")
