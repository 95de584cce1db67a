"""Fusion of face and voice on generated utterances whose class only both together show.

python benchmarks/fusion.py [--speakers 10] [--per-speaker 16] [--json]

The utterances have the layout of RAVDESS and pass through the whole pipeline: videos of photographs with a smile or a
frown, and sounds of an angry or a sad voice in eight variants. The class is the exclusive or of both, so that each
modality by itself is at chance by construction. "face head" and "voice head" are fitted like the fusion, to one
modality. All are fitted to half of the speakers and measured on the others. The last two rows are the fusion without
one modality, next to the model of the other; they must be equal.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mien.adaptation.correction import FaceFeatures, principal_components
from mien.adaptation.fusion import combine, fit_fusion
from mien.adaptation.fusion_file import write_fusion
from mien.adaptation.selection import choose_correction
from mien.adaptation.utterances import AudiovisualUtterance, UtteranceReader
from mien.fusion.model import FusionModel
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import TrainingSource
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.corpora import read_ravdess
from support.audiovisual import write_exclusive_or

Utterances = list[AudiovisualUtterance]


def accuracy(predictions: list[np.ndarray], utterances: Utterances) -> float:
    hits = [row.argmax() == utterance.label for row, utterance in zip(predictions, utterances, strict=True)]
    return float(np.mean(hits))


def one_modality(modality: str, fitted: Utterances, test: Utterances) -> list[np.ndarray]:
    """Return the logits of a head on the components of one embedding and their products."""
    embeddings = np.stack([getattr(utterance, modality).embedding for utterance in fitted]).astype(np.float64)
    basis = principal_components(embeddings)
    rows = [basis.project(embeddings)[:, :16]]
    rows.append(basis.project(np.stack([getattr(item, modality).embedding for item in test]))[:, :16])
    classes = len(fitted[0].face.probabilities)
    parts = [
        FaceFeatures(
            logits=np.zeros((len(values), classes)),
            features=combine(values, values),
            labels=np.array([utterance.label for utterance in utterances]),
            groups=np.unique([utterance.speaker for utterance in utterances], return_inverse=True)[1],
        )
        for values, utterances in zip(rows, (fitted, test), strict=True)
    ]
    correction = choose_correction(parts[0]).correction
    if correction is None:
        # no head is better than none: the more frequent class, for all
        return list(np.tile(np.bincount(parts[0].labels, minlength=classes), (len(test), 1)))
    return list(correction.apply(parts[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speakers", type=int, default=10)
    parser.add_argument("--per-speaker", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reader = UtteranceReader(ExpressionClassifier(threads=1, precision="float32"), VoiceAnalyzer(threads=1))
    face, voice = reader.classifier.manifest, reader.analyzer.manifest
    with tempfile.TemporaryDirectory() as folder:
        root = write_exclusive_or(Path(folder) / "data", options.speakers, options.per_speaker)
        utterances, skipped = reader.read(read_ravdess(root))
        fitted = [utterance for utterance in utterances if int(utterance.speaker) % 2]
        test = [utterance for utterance in utterances if not int(utterance.speaker) % 2]
        path = Path(folder) / "fusion.onnx"
        write_fusion(fit_fusion(fitted), face, voice, TrainingSource(name="generated utterances", license="MIT"), path)
        model = FusionModel(path, face=face, voice=voice)
    rows = {
        "face model": accuracy([item.face.probabilities for item in test], test),
        "voice model": accuracy([np.nan_to_num(item.voice.probabilities) for item in test], test),
        "face head": accuracy(one_modality("face", fitted, test), test),
        "voice head": accuracy(one_modality("voice", fitted, test), test),
        "fusion": accuracy([model.fuse(item.face, item.voice) for item in test], test),
        "fusion without voice": accuracy([model.fuse(item.face, None) for item in test], test),
        "fusion without face": accuracy([model.fuse(None, item.voice) for item in test], test),
    }
    is_equal = all(
        (model.fuse(item.face, None) == item.face.probabilities).all()
        and (model.fuse(None, item.voice) == np.nan_to_num(item.voice.probabilities)).all()
        for item in test
    )
    if options.json:
        print(json.dumps({"fitted": len(fitted), "test": len(test), "missing_is_equal": is_equal, **rows}))
        return
    print(f"{len(fitted)} utterances to fit, {len(test)} of other speakers to measure, {len(skipped)} skipped\n")
    for name, value in rows.items():
        print(f"{name:22}{value:7.1%}")
    print(f"\nwith one modality missing, equal to the other alone: {is_equal}")


if __name__ == "__main__":
    main()
