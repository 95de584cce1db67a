"""Adaptation of a model file to labeled faces, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien import metrics
from mien.adaptation.correction import Basis, FaceFeatures, principal_components
from mien.adaptation.model_file import check_last_layer, check_packages, write_corrected
from mien.adaptation.selection import Choice, choose_correction, summarize
from mien.class_prior import label_shares
from mien.datasets.index import Index
from mien.errors import DatasetError, InputError
from mien.evaluation.labels import official_labels, select_labeled
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, TrainingSource, check_manifest_path, result_license
from mien.progress import Progress
from mien.runtime import check_float_name, find_model

MAX_ACCURACY = 0.99
"""Cross-validated accuracy above which the faces are too alike, or too few, to fit a temperature."""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """The result of `adapt`.

    Attributes:
        choice: the correction, and how it was chosen.
        before: numbers of the model on the faces, as in a manifest.
        after: numbers of the corrected model, cross-validated; those of the model if nothing was gained.
        manifest: of the written model file; None if nothing was gained.
        skipped: ids of images without a detected face, or that could not be read.
        absent: classes without a labeled face; the adapted model rarely predicts them.
    """

    choice: Choice
    before: dict[str, Any]
    after: dict[str, Any]
    manifest: Manifest | None
    skipped: list[str]
    absent: list[str]


def adapt(
    model: str | Path, index: Index, output: str | Path, *, group: str = "", progress: Progress | None = None
) -> Adaptation:
    """Fit a model to labeled faces and write it as a new file, unless it gains nothing.

    Args:
        model: name of a shipped model, or path of an `.onnx` file.
        index: the labeled images; those of a test split are left out. Images without a detected face are skipped,
            unless `index.is_cropped`.
        output: `.onnx` file to write, with its manifest beside it.
        group: column whose values must not be split in cross-validation, such as the person; by default every image is
            its own group, which overestimates the gain if people recur.
        progress: called during prediction and cross-validation.

    Raises:
        InputError: if a class or the column is unknown, the output has the name of an int8 file, or the manifest would
            overwrite another file.
        DatasetError: if there are too few faces.
        ModelError: if the model does not compute in float32, has no embedding output, or its last layer is not linear.
        MissingExtraError: if SciPy or onnx is not installed.
    """
    output = Path(output)
    check_packages("Adaptation")
    check_float_name(output)
    check_manifest_path(output)
    classifier = ExpressionClassifier(model, threads=1, precision="float32")
    check_last_layer(find_model(model))
    samples = tuple(sample for sample in index.samples if sample.split != "test")
    if not samples:
        raise DatasetError(f"{index.root}: all images are in the split test, which is left out; expected others.")
    _check_column(index, group)
    faces, basis, skipped = extract_features(
        classifier, select_labeled(replace(index, samples=samples)), group, progress
    )
    absent = [name for number, name in enumerate(classifier.manifest.labels) if number not in faces.labels]
    choice = choose_correction(faces, progress=progress)
    before, after = summarize(faces.logits, faces.labels), summarize(choice.logits, faces.labels)
    if choice.correction is None:
        return Adaptation(choice=choice, before=before, after=before, manifest=None, skipped=skipped, absent=absent)
    title = index.title or index.name
    source = TrainingSource(name=f"{title}: {len(faces)} faces, adaptation", license=index.license)
    temperature = fit_temperature(choice.logits, faces.labels)
    after = summarize(choice.logits / temperature, faces.labels)
    shares = label_shares(faces.labels, choice.logits.shape[1], choice.setting.balance)
    manifest = replace(
        classifier.manifest,
        name=output.stem,
        version="1",
        temperature=temperature,
        quality_temperature=None,
        class_prior=dict(zip(classifier.manifest.labels, shares.round(6).tolist(), strict=True)),
        abstain_below=min(classifier.manifest.abstain_below, 0.5),
        risk_coverage=(),
        trained_on=(*classifier.manifest.trained_on, source),
        license=result_license(classifier.manifest.license, [source]),
        metrics={f"{title}/cross-validated": {"labels": after, "labels, before adaptation": before}},
        source={
            "adapted_from": f"{classifier.manifest.name}, version {classifier.manifest.version}",
            "adapted_sha256": classifier.manifest.sha256,
            "penalty": choice.setting.penalty if np.isfinite(choice.setting.penalty) else "scale and biases only",
            "balance": choice.setting.balance,
            "groups": group or "images",
            "absent_classes": absent,
        },
    )
    written = write_corrected(find_model(model), choice.correction.on_embeddings(basis), manifest, output)
    return Adaptation(choice=choice, before=before, after=after, manifest=written, skipped=skipped, absent=absent)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of cross-validated logits; at least 1 if they separate nearly all faces."""
    temperature = round(metrics.fit_temperature(logits, labels), 4)
    is_separated = metrics.accuracy(labels, metrics.choose_labels(logits)) > MAX_ACCURACY
    return max(temperature, 1.0) if is_separated else temperature


def extract_features(
    classifier: ExpressionClassifier, index: Index, group: str, progress: Progress | None = None
) -> tuple[FaceFeatures, Basis, list[str]]:
    """Return the labeled faces, the basis of their features, and the ids of skipped images."""
    predictions = predict_dataset(classifier, index, with_embeddings=True, progress=progress)
    labels = official_labels(classifier.manifest, index)
    is_used = (labels >= 0) & np.isfinite(predictions.logits).all(axis=1)
    rows = np.flatnonzero(is_used)
    if not len(rows):
        raise DatasetError(f"{index.root}: no face was detected in any of the {len(labels)} labeled images.")
    assert predictions.embeddings is not None
    embeddings = predictions.embeddings[rows].astype(np.float64)
    basis = principal_components(embeddings)
    faces = FaceFeatures(
        logits=predictions.logits[rows].astype(np.float64) / classifier.manifest.temperature,
        features=basis.project(embeddings),
        labels=labels[rows],
        groups=_group_numbers(index, rows, group),
    )
    skipped = [sample.id for sample, used in zip(index.samples, is_used, strict=True) if not used]
    return faces, basis, skipped


def _check_column(index: Index, name: str) -> None:
    """Raise `InputError` unless a column of groups exists in the data; an empty name is none."""
    columns = sorted({column for sample in index.samples for column in sample.groups})
    if name and name not in columns:
        raise InputError(f"no column {name!r} in the data; it has {', '.join(columns) or 'no further columns'}.")


def _group_numbers(index: Index, rows: Sequence[int] | np.ndarray, group: str) -> np.ndarray:
    """Return the number of the group of every face (N,)."""
    if not group:
        return np.arange(len(rows))
    # an image without a group is its own
    names = [index.samples[row].groups.get(group) or f"image {row}" for row in rows]
    return np.unique(names, return_inverse=True)[1]
