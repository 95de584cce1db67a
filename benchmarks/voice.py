"""The voice model on EmoDB with one speaker left out: recall, calibration, arousal, and degraded recordings.

python benchmarks/voice.py emodb.zip [--model voice] [--cache embeddings.npz] [--write]

Every speaker is predicted by heads fitted on the other nine; shrinkage and temperature are chosen by leaving out one of
those nine. The embeddings come from the shipped model, which has not learned from EmoDB before its heads. Unweighted
average recall is the mean recall over the classes; its interval is a bootstrap over speakers. `--write` puts the
numbers into the manifest of the model.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.evaluation.speech import speaker_interval
from mien.manifest import write_manifest
from mien.metrics import balanced_accuracy, expected_calibration_error, precision_recall_f1, softmax
from mien.runtime import find_model
from mien.voice.activity import SpeechDetector, SpeechSegmenter
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from mien.voice.augmentation import VARIANTS, augment, colored_noise, mix, to_telephone
from mien.voice.classifier import MAX_SECONDS, VoiceClassifier
from mien.voice.corpora import Utterance, read_emodb
from mien.voice.fitting import SpeakerFolds

VOICES_OF_BABBLE = 8
Sounds = list[np.ndarray]


def add_babble(samples: np.ndarray, rng: np.random.Generator, others: Sounds) -> np.ndarray:
    """Return speech with eight other utterances at 10 dB."""
    chosen = rng.choice(len(others), VOICES_OF_BABBLE, replace=False)
    babble = sum(np.resize(others[index] / others[index].std(), len(samples)) for index in chosen)
    return mix(samples, np.asarray(babble), 10)


def take_middle(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Return the middle of an utterance."""
    length = round(seconds * SAMPLE_RATE_HZ)
    start = max(0, (len(samples) - length) // 2)
    return samples[start : start + length]


CONDITIONS: dict[str, Callable[[np.ndarray, np.random.Generator, Sounds], np.ndarray]] = {
    "recorded": lambda samples, rng, others: samples,
    "telephone": lambda samples, rng, others: to_telephone(samples),
    "pink noise, 10 dB": lambda samples, rng, others: mix(samples, colored_noise(len(samples), 1.0, rng), 10),
    "babble, 10 dB": add_babble,
    "telephone, babble, 10 dB": lambda samples, rng, others: to_telephone(add_babble(samples, rng, others)),
    "middle 2 s": lambda samples, rng, others: take_middle(samples, 2.0),
    "middle 1 s": lambda samples, rng, others: take_middle(samples, 1.0),
    "clipped at 20%": lambda samples, rng, others: np.clip(samples, *(np.abs(samples).max() * np.array([-0.2, 0.2]))),
}
"""Degradations of the test utterances; babble is made of other speakers."""
FIT = "fit: "
"""Prefix of the embeddings of `VARIANTS`, which share the name "telephone" with `CONDITIONS`."""
TEST = "test: "
"""Prefix of the embeddings of `CONDITIONS`."""


def embed(utterances: list[Utterance], classifier: VoiceClassifier) -> dict[str, np.ndarray]:
    """Return embeddings (N, D) with the keys "fit: VARIANT" for fitting and "test: CONDITION" for evaluation."""
    sounds = [read_audio(utterance.read()) for utterance in utterances]
    result = {}
    for key in (*(FIT + name for name in VARIANTS), *(TEST + name for name in CONDITIONS)):
        name = key.removeprefix(FIT).removeprefix(TEST)
        rows = []
        for utterance, samples in zip(utterances, sounds, strict=True):
            rng = np.random.default_rng(zlib.crc32(f"{name} {utterance.name}".encode()))
            if key.startswith(FIT):
                changed = augment(samples, name, rng)
            else:
                others = [x for x, u in zip(sounds, utterances, strict=True) if u.speaker != utterance.speaker]
                changed = CONDITIONS[name](samples, rng, others)
            rows.append(classifier.predict(changed[: round(MAX_SECONDS * SAMPLE_RATE_HZ)]).embedding)
        result[key] = np.stack(rows)
    return result


def summarize(logits: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> dict[str, Any]:
    """Return the numbers of one condition."""
    predictions = logits.argmax(axis=1)
    classes = logits.shape[1]
    interval = speaker_interval(labels, predictions, speakers, classes)
    assert interval is not None
    return {
        "n": len(labels),
        "balanced_accuracy": round(balanced_accuracy(labels, predictions, classes), 4),
        "balanced_accuracy_interval": [round(value, 4) for value in interval],
        "accuracy": round(float(np.mean(predictions == labels)), 4),
        "ece": round(expected_calibration_error(softmax(logits), labels), 4),
    }


def print_classes(names: tuple[str, ...], labels: np.ndarray, predictions: np.ndarray) -> None:
    scores = precision_recall_f1(labels, predictions, len(names))
    print("\nclass         n  recall  precision")
    for index, name in enumerate(names):
        print(f"{name:10}{scores.support[index]:5.0f}{scores.recall[index]:8.1%}{scores.precision[index]:11.1%}")


def measure_detector(utterances: list[Utterance]) -> dict[str, float]:
    """Return the shares of utterances with a detected segment and of their time that it covers, and its speed."""
    detector = SpeechDetector(threads=1)
    found, covered, total = 0, 0, 0
    started = time.process_time()
    for utterance in utterances:
        samples = read_audio(utterance.read())
        segmenter = SpeechSegmenter()
        segments = [part for frames in detector.probabilities([samples]) for part in segmenter.push(*frames)]
        segments += segmenter.finish()
        found += bool(segments)
        covered += sum(len(segment.samples) for segment in segments)
        total += len(samples)
    seconds = time.process_time() - started
    return {
        "found": found / len(utterances),
        "covered": covered / total,
        "times_real_time": total / SAMPLE_RATE_HZ / seconds,
    }


def evaluate_unseen_texts(
    variants: dict[str, np.ndarray], labels: np.ndarray, speakers: np.ndarray, texts: np.ndarray, shrinkage: float
) -> float:
    """Return the recall when the heads have heard neither the speaker nor the sentence."""
    predictions = np.zeros_like(labels)
    for text in np.unique(texts):
        kept = texts != text
        folds = SpeakerFolds({name: x[kept] for name, x in variants.items()}, labels[kept], list(speakers[kept]))
        for speaker in folds.speakers:
            rows = (texts == text) & (speakers == speaker)
            head = folds.fit(shrinkage, frozenset({speaker}))
            predictions[rows] = head.logits(variants["clean"][rows]).argmax(axis=1)
    return balanced_accuracy(labels, predictions, int(labels.max()) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="voice", help="name of a shipped model, or an .onnx file")
    parser.add_argument("--cache", type=Path, help="file for the embeddings, which take minutes")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    utterances = read_emodb(options.data)
    classifier = VoiceClassifier(options.model, threads=1)
    if options.cache and options.cache.is_file():
        with np.load(options.cache) as file:
            embeddings = dict(file)
    else:
        embeddings = embed(utterances, classifier)
        if options.cache:
            np.savez(options.cache, **embeddings)
    names = classifier.manifest.labels
    labels = np.array([names.index(utterance.label) for utterance in utterances])
    is_high = np.array([int(utterance.is_high_arousal) for utterance in utterances])
    speakers = np.array([utterance.speaker for utterance in utterances])
    variants = {name: embeddings[FIT + name] for name in VARIANTS}
    conditions = {name: embeddings[TEST + name] for name in CONDITIONS}
    results = {}
    tasks = {"classes": labels, "arousal": is_high}
    for task, targets in tasks.items():
        logits = SpeakerFolds(variants, targets, list(speakers)).evaluate(conditions)
        results[task] = {name: summarize(values, targets, speakers) for name, values in logits.items()}
        print(f"\n{task:26}  recall (95% over speakers)  accuracy    ECE")
        for name, row in results[task].items():
            low, high = row["balanced_accuracy_interval"]
            recall = f"{row['balanced_accuracy']:8.1%} ({low:.1%} to {high:.1%})"
            print(f"{name:26}{recall}{row['accuracy']:11.1%}{row['ece']:8.3f}", flush=True)
        if task == "classes":
            print_classes(names, labels, logits["recorded"].argmax(axis=1))
    texts = np.array([utterance.text for utterance in utterances])
    shrinkage = classifier.manifest.source["shrinkage"]
    recall = evaluate_unseen_texts(variants, labels, speakers, texts, shrinkage)
    print(f"\nneither speaker nor sentence heard, shrinkage {shrinkage}: {recall:.1%}", flush=True)
    print("\nvoice activity detection:", json.dumps(measure_detector(utterances)))
    if options.write:
        split = "emodb/leave-one-speaker-out"
        metrics = {
            split + (f" ({name})" if name != "recorded" else ""): {task: results[task][name] for task in tasks}
            for name in CONDITIONS
        }
        write_manifest(replace(classifier.manifest, metrics=metrics), find_model(options.model))


if __name__ == "__main__":
    main()
