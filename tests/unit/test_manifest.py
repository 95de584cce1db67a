from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.errors import ManifestError
from mien.manifest import (
    AlignmentSpec,
    InputSpec,
    Manifest,
    QualityTemperature,
    RegionSpec,
    RiskPoint,
    TrainingSource,
    file_sha256,
    manifest_path,
    parse_manifest,
    read_manifest,
    result_license,
    write_manifest,
)
from mien.results import Quality

MANIFEST = Manifest(
    name="expression",
    version="1.0",
    task="expression",
    input=InputSpec(size=112),
    sha256="0" * 64,
    license="MIT",
    labels=("neutral", "happiness", "fröhlich"),
    alignment=AlignmentSpec(template="ferplus", margin=0.1),
    temperature=1.25,
    quality_temperature=QualityTemperature(size_px=40.0, per_halving=0.1, sharpness=0.8, per_blur=0.5),
    abstain_below=0.3,
    risk_coverage=(
        RiskPoint(coverage=1.0, error=0.2, confidence=0.0),
        RiskPoint(coverage=0.5, error=0.1, confidence=0.7),
    ),
    regions=(RegionSpec(name="eyes", bbox_xyxy=(0.0, 0.1, 1.0, 0.5)),),
    trained_on=(TrainingSource(name="FER+", license="MIT"),),
    metrics={"ferplus/valid": {"accuracy": 0.87, "per_class": [1, 2, None]}},
    source={"recipe": "recipes/x.toml", "commit": "abc"},
)


def point(coverage: float, error: float, confidence: float) -> dict[str, float]:
    return {"coverage": coverage, "error": error, "confidence": confidence}


def record(**changes: object) -> dict[str, Any]:
    return {**json.loads(MANIFEST.to_json()), **changes}


def parse(value: object) -> Manifest:
    return parse_manifest(json.dumps(value).encode(), "models/x.json")


def test_json_round_trip():
    assert parse_manifest(MANIFEST.to_json().encode()) == MANIFEST


def test_optional_keys_have_defaults():
    required = {"schema": 2, "name": "d", "version": "1", "task": "face-detection", "input": {"size": 0}}
    manifest = parse({**required, "sha256": "0", "license": "MIT"})
    assert manifest.input == InputSpec(size=0, channels="RGB", layout="NCHW", range=(0.0, 255.0))
    assert manifest.temperature == 1
    assert manifest.alignment is None
    assert manifest.regions == ()
    assert manifest.risk_coverage == ()


def test_reads_licence_key_of_schema_1():
    old = json.loads(MANIFEST.to_json().replace('"license"', '"licence"'))
    assert parse({**old, "schema": 1}) == MANIFEST


def test_omits_empty_regions():
    assert "regions" in json.loads(MANIFEST.to_json())
    plain = replace(MANIFEST, regions=())
    assert "regions" not in json.loads(plain.to_json())
    assert parse_manifest(plain.to_json().encode()) == plain


def test_omits_empty_class_prior():
    shares = {**dict.fromkeys(MANIFEST.labels[1:], 0.0), MANIFEST.labels[0]: 1.0}
    assert json.loads(replace(MANIFEST, class_prior=shares).to_json())["class_prior"] == shares
    assert "class_prior" not in json.loads(MANIFEST.to_json())


def test_omits_empty_risk_coverage():
    assert "risk_coverage" in json.loads(MANIFEST.to_json())
    plain = replace(MANIFEST, risk_coverage=())
    assert "risk_coverage" not in json.loads(plain.to_json())
    assert parse_manifest(plain.to_json().encode()) == plain


def test_converts_integers_to_floats():
    manifest = parse(record(temperature=2, input={"size": 112, "range": [0, 1]}))
    assert (manifest.temperature, manifest.input.range) == (2.0, (0.0, 1.0))
    assert isinstance(manifest.temperature, float)


@pytest.mark.parametrize("key", ["name", "version", "task", "input", "sha256", "license", "schema"])
def test_names_a_missing_key(key: str):
    value = record()
    del value[key]
    with pytest.raises(ManifestError, match=rf"^models/x\.json: .*{key}"):
        parse(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": [0.5]}, "unknown key mean"),
        ({"input": {"size": 112, "std": 1}}, "unknown key input.std"),
        ({"input": {"channels": "RGB"}}, "size"),
        ({"alignment": {"template": "ferplus"}}, "margin"),
        ({"risk_coverage": [{"coverage": 1, "error": 0.1}]}, "confidence"),
    ],
)
def test_names_unknown_and_missing_keys_in_sections(changes: dict, message: str):
    with pytest.raises(ManifestError, match=message) as raised:
        parse(record(**changes))
    assert "__init__" not in str(raised.value)
    assert '"' not in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 3},
        {"name": None},
        {"temperature": "1"},
        {"temperature": True},
        {"temperature": None},
        {"labels": "abc"},
        {"labels": [1, 2]},
        {"labels": None},
        {"input": [112]},
        {"input": None},
        {"input": {"size": 112.5}},
        {"input": {"size": "112"}},
        {"input": {"size": 112, "range": [0]}},
        {"input": {"size": 112, "range": [0, 1, 2]}},
        {"input": {"size": 112, "range": ["0", "1"]}},
        {"alignment": "ferplus"},
        {"regions": ["eyes"]},
        {"risk_coverage": [0.1]},
        {"risk_coverage": [{"coverage": "1", "error": 0.1, "confidence": 0.5}]},
        {"regions": [{"name": "eyes", "bbox_xyxy": [0, 0, "1", 1]}]},
        {"trained_on": {"name": "FER+"}},
        {"trained_on": ["FER+"]},
        {"metrics": []},
        {"source": "me"},
    ],
    ids=str,
)
def test_rejects_values_of_another_type(changes: dict):
    with pytest.raises(ManifestError, match=rf"^models/x\.json: {next(iter(changes))}\b"):
        parse(record(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "voice"},
        {"input": {"size": -1}},
        {"input": {"size": 10**6}},
        {"input": {"size": 0}},
        {"input": {"size": 112, "channels": "GBR"}},
        {"input": {"size": 112, "layout": "HWC"}},
        {"labels": []},
        {"labels": ["one"]},
        {"labels": ["one", "one"]},
        {"alignment": None},
        {"regions": [{"name": "eyes", "bbox_xyxy": [0, 0, 1]}]},
        {"regions": [{"name": "eyes", "bbox_xyxy": [0, 0, 1, 1.1]}]},
        {"regions": [{"name": "eyes", "bbox_xyxy": [0.5, 0, 0.5, 1]}]},
        {"regions": [{"name": "eyes", "bbox_xyxy": [0, 0, 1, 1]}] * 2},
        {"class_prior": {"neutral": 1.0}},
        {"class_prior": dict.fromkeys(MANIFEST.labels, 0.5)},
        {"class_prior": {**dict.fromkeys(MANIFEST.labels, 0.0), MANIFEST.labels[0]: -1.0, MANIFEST.labels[1]: 2.0}},
        {"risk_coverage": [point(1, 0.1, 0.5), point(1, 0.1, 0.5)]},
        {"risk_coverage": [point(1, 0.1, 0.5), point(0.5, 0.05, 0.4)]},
        {"risk_coverage": [point(1.1, 0.1, 0.5)]},
        {"risk_coverage": [point(0, 0.1, 0.5)]},
        {"risk_coverage": [point(1, -0.1, 0.5)]},
        {"risk_coverage": [point(1, float("nan"), 0.5)]},
        {"risk_coverage": [point(1, 0.1, 1.5)]},
        *({"input": {"size": 112, "range": [0, value]}} for value in (float("nan"), float("inf"))),
        *({"alignment": {"template": "ferplus", "margin": value}} for value in (float("nan"), float("-inf"))),
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"abstain_below": -0.1},
        {"abstain_below": 1.5},
        {"abstain_below": float("nan")},
    ],
    ids=str,
)
def test_rejects_values_out_of_range(changes: dict):
    with pytest.raises(ManifestError, match=r"models/x\.json"):
        parse(record(**changes))


@pytest.mark.parametrize("schema", [0, 3, "1", None, 1.5, [1], {"1": 1}])
def test_rejects_another_schema(schema: object):
    with pytest.raises(ManifestError, match="schema"):
        parse(record(schema=schema))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"null", b"[]", b"3", b'"text"', b"[" * 100_000])
def test_rejects_data_that_is_not_a_json_object(data: bytes):
    with pytest.raises(ManifestError, match="manifest"):
        parse_manifest(data)


def model_file(folder: Path) -> Path:
    path = folder / "small.onnx"
    path.write_bytes(b"weights")
    return path


def test_writes_and_reads_the_manifest_beside_the_model(tmp_path: Path):
    path = model_file(tmp_path)
    manifest = parse(record(sha256=file_sha256(path)))
    assert write_manifest(manifest, path) == manifest_path(path) == tmp_path / "small.json"
    assert read_manifest(path) == manifest
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small.json", "small.onnx"]


def test_hash_may_be_in_capitals(tmp_path: Path):
    path = model_file(tmp_path)
    manifest = parse(record(sha256=file_sha256(path)))
    write_manifest(replace(manifest, sha256=manifest.sha256.upper()), path)
    assert read_manifest(path) == manifest


def test_rejects_a_wrong_hash(tmp_path: Path):
    path = model_file(tmp_path)
    write_manifest(MANIFEST, path)
    with pytest.raises(ManifestError, match=r"small\.onnx is not the file that small\.json describes"):
        read_manifest(path)


def test_rejects_a_model_without_manifest(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"expected small\.json beside it"):
        read_manifest(model_file(tmp_path))


@pytest.mark.parametrize(
    ("size_px", "sharpness", "log_factor"),
    [
        (40, 0.8, 0.0),
        (400, 1.0, 0.0),
        (20, 0.8, 0.1),
        (10, 0.8, 0.2),
        (5, 0.8, 0.3),
        (1, 0.8, 0.3),
        (0, 0.8, 0.3),
        (40, 0.4, 0.25),
        (40, 0.0, 0.5),
        (5, 0.0, 0.8),
    ],
)
def test_quality_temperature_grows_for_small_and_blurred_faces(size_px, sharpness, log_factor):
    quality = Quality(size_px=size_px, sharpness=sharpness, frontality=None, visible=1.0)
    assert MANIFEST.quality_temperature is not None
    assert math.log(MANIFEST.quality_temperature.factor(quality)) == pytest.approx(log_factor)


@pytest.mark.parametrize(
    "changes",
    [
        {"size_px": 0.0},
        {"size_px": float("inf")},
        {"sharpness": 0.0},
        {"sharpness": 1.1},
        {"per_blur": -0.1},
        {"per_halving": 6.0},
    ],
)
def test_rejects_invalid_quality_temperature(changes):
    spec = {"size_px": 40.0, "per_halving": 0.1, "sharpness": 0.8, "per_blur": 0.5}
    assert parse(record(quality_temperature=spec)) == MANIFEST
    with pytest.raises(ManifestError, match="quality_temperature"):
        parse(record(quality_temperature={**spec, **changes}))


def test_quality_temperature_is_optional():
    plain = replace(MANIFEST, quality_temperature=None)
    assert "quality_temperature" not in plain.to_json()
    assert parse_manifest(plain.to_json().encode()) == plain


@pytest.mark.parametrize(
    ("license_name", "is_restricted"),
    [
        ("CC BY-NC 4.0", True),
        ("non-commercial research", True),
        ("faces for the challenge, for research", True),
        ("noncommercial", True),
        ("MIT", False),
        ("Apache-2.0; announced by NCSA", False),
        ("not stated", False),
    ],
)
def test_license_of_the_result_names_restrictions(license_name, is_restricted):
    text = result_license(
        "MIT", [TrainingSource(name="X", license=license_name), TrainingSource(name="Y", license="CC0")]
    )
    assert text == ("MIT" + f"; restricted by its training data: X ({license_name})" * is_restricted)
    assert result_license("", []) == "not stated"


def test_added_sources_extend_the_restrictions_of_a_license():
    first, second = (TrainingSource(name=name, license="research") for name in ("X", "Y"))
    license_name = result_license("MIT", [first])
    assert result_license(license_name, [second]) == "MIT; restricted by its training data: X (research); Y (research)"
    assert result_license(license_name, [first, TrainingSource(name="Z", license="CC0")]) == license_name
    part = TrainingSource(name="faces", license="research")
    whole = result_license("MIT", [TrainingSource(name="my faces", license="research")])
    assert result_license(whole, [part]).endswith("my faces (research); faces (research)")
