"""`mien evaluate` for voice models: evaluation on a speech corpus, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mien.cli.console import open_console
from mien.cli.fitted_table import numbers_table
from mien.cli.messages import NOTHING_WRITTEN, print_message, report_unreadable
from mien.cli.options import EvaluationOptions
from mien.cli.outputs import print_json
from mien.cli.progress import progress_bar
from mien.cli.signals import finish_before_stop
from mien.errors import InputError
from mien.number_format import decimal, percent
from mien.runtime import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.emotions import CorpusKind
    from mien.voice.corpora import Utterance


def evaluate_voice(
    data: EvaluationOptions, corpus: CorpusKind, *, model: str, threads: int, as_json: bool, quiet: bool
) -> int:
    """Evaluate a voice model and print the results; return the exit code.

    Args:
        data: location, split and kind of evaluation.
        corpus: layout of the corpus.
        model: voice model; the default model for faces stands for the default model for voices.
        threads: threads of the network.
        as_json: print one JSON object.
        quiet: print no progress.
    """
    from mien.evaluation.speech import evaluate_speech
    from mien.voice.classifier import DEFAULT_VOICE_MODEL, VoiceClassifier
    from mien.voice.corpora import READERS, SOURCES

    with finish_before_stop():
        classifier = VoiceClassifier(DEFAULT_VOICE_MODEL if model == DEFAULT_MODEL else model, threads)
    utterances = _select(READERS[corpus](data.data), data.split)
    with progress_bar("evaluating", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        summary = evaluate_speech(
            classifier, utterances, speaker_independent=data.speaker_independent, progress=progress
        )
    manifest = classifier.manifest
    subject = {"model": f"{manifest.name} {manifest.version}", "dataset": corpus, "split": data.split or "all"}
    if not data.speaker_independent and SOURCES[corpus] in manifest.trained_on:
        print_message(
            f"{manifest.name} has learned from {corpus}: these numbers are too high; add --speaker-independent."
        )
    if as_json:
        print_json({**subject, **summary})
    else:
        print_voice_evaluation(subject, summary)
    return report_unreadable(summary["unreadable"], "sound")


def _select(utterances: list[Utterance], split: str | None) -> list[Utterance]:
    """Return the utterances of a split.

    Raises:
        InputError: if the corpus has splits and none is selected, or lacks the selected one.
    """
    splits = [name for name in ("train", "valid", "test") if any(item.split == name for item in utterances)]
    if split is None and len(splits) > 1:
        raise InputError(f"--split is missing: the corpus has {', '.join(splits)}.")
    if split is not None and split not in splits:
        raise InputError(f"--split {split}: the corpus has {', '.join(splits) or 'no splits'}.")
    return [item for item in utterances if split in (None, item.split)]


def print_voice_evaluation(subject: Mapping[str, str], summary: Mapping[str, Any]) -> None:
    """Print the recalls, the classes and the confusions of an evaluation."""
    console = open_console()
    how = "heads refitted without the speaker" if summary["speaker_independent"] else "the model as it is"
    console.print(", ".join([*subject.values(), f"{summary['speakers']:,} speakers", how]), soft_wrap=True)
    recalls = numbers_table("", "n", "mean recall", "95% over speakers", "accuracy", "ECE", drop=("accuracy",))
    for name, part in (("classes", summary), ("arousal", summary["arousal"])):
        bounds = part["balanced_accuracy_interval"]
        recalls.add_row(
            name,
            f"{part['n']:,}",
            percent(part["balanced_accuracy"]),
            " to ".join(map(percent, bounds)) if bounds else "one speaker",
            percent(part["accuracy"]),
            decimal(part["ece"]),
        )
    names = summary["classes"]
    classes = numbers_table("class", "n", "precision", "recall", "F1")
    confusion = numbers_table("class \\ predicted", *names)
    for name, row in zip(names, summary["confusion"], strict=True):
        scores = summary["per_class"][name]
        classes.add_row(name, f"{scores['n']:,}", *(percent(scores[key]) for key in ("precision", "recall", "f1")))
        confusion.add_row(name, *(f"{count:,}" for count in row))
    console.print(recalls, "", classes, "", confusion, sep="\n")
    if summary["left_out"]:
        counts = ", ".join(f"{name} ({count:,})" for name, count in summary["left_out"].items())
        console.print(f"Classes that the model lacks, used for arousal only: {counts}.", soft_wrap=True)
