"""Fusion of face and voice, fitted to your copy of RAVDESS or CREMA-D, without torch.

    python recipes/fusion.py RAVDESS/ --corpus ravdess -o ravdess-fusion.onnx

Fits the weight of the voice, a temperature, and a head on the embeddings of both, with modality dropout and
cross-validation over speakers: minutes, nearly all for the videos. There is no loop, checkpoint or graphics card to
manage, so that this is a script and not a recipe of `mien train`. `mien.fusion.model.FusionModel` reads the result.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from mien.adaptation.fusion import fit_fusion
from mien.adaptation.fusion_file import METRICS, check_fusion_path, write_fusion
from mien.adaptation.model_file import check_packages
from mien.adaptation.utterances import UtteranceReader
from mien.errors import InputError
from mien.inference.classifier import ExpressionClassifier
from mien.runtime import DEFAULT_MODEL
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.corpora import READERS, SOURCES

CORPORA = ("ravdess", "crema-d")
"""Corpora with one person per video."""


def main() -> None:
    """Measure the utterances, fit the fusion, and write it with its manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder or .zip file of the corpus, with its videos")
    parser.add_argument("--corpus", choices=CORPORA, default="ravdess")
    parser.add_argument("--face", default=DEFAULT_MODEL, help="face model, by name or path")
    parser.add_argument("--voice", default="voice", help="voice model, by name or path")
    parser.add_argument("--output", "-o", type=Path, required=True)
    options = parser.parse_args()
    check_packages("Fitting a fusion")
    try:
        check_fusion_path(options.output)
    except InputError as error:
        parser.error(str(error))
    reader = UtteranceReader(
        ExpressionClassifier(options.face, threads=1, precision="float32"), VoiceAnalyzer(options.voice, threads=1)
    )
    utterances, skipped = reader.read(READERS[options.corpus](options.data))
    for reason, count in Counter(skipped.values()).most_common():
        print(f"skipped {count}: {reason}")
    fit = fit_fusion(utterances)
    print(f"{len(utterances)} utterances, fitted {'pool and head' if fit.correction else 'pool'} ({METRICS}):")
    for name, numbers in fit.numbers.items():
        print(f"{name:7}accuracy {numbers['accuracy']:.1%}  ECE {numbers['ece']:.3f}")
    write_fusion(fit, reader.classifier.manifest, reader.analyzer.manifest, SOURCES[options.corpus], options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
