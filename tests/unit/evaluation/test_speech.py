from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import DatasetError
from mien.evaluation.speech import evaluate_speech, speaker_interval
from mien.manifest import read_manifest
from mien.metrics import balanced_accuracy, softmax
from mien.runtime import find_model
from mien.voice.audio import SAMPLE_RATE_HZ
from mien.voice.classifier import VoicePrediction
from mien.voice.corpora import Utterance
from support.sounds import write_audio

CLASSES = ("neutral", "anger", "boredom")
WIDTH = 6


class Listener:
    """A voice model whose embedding, logits and arousal are the first samples of a sound."""

    manifest = replace(read_manifest(find_model("voice")), labels=CLASSES, temperature=2.0)

    def predict(self, samples):
        values = 10.0 * samples[:WIDTH].astype(np.float64)
        return VoicePrediction(
            probabilities=softmax(values[None, :3], 2.0)[0],
            arousal=float(np.tanh(values[3] / 2)),
            embedding=values.astype(np.float32),
        )


def make_utterance(folder, name: str, label: str, speaker: str, values: list[float]) -> Utterance:
    samples = np.zeros(400, dtype=np.float32)
    samples[: len(values)] = np.array(values) / 10
    path = write_audio(folder / f"{name}.wav", samples)
    return Utterance(name=name, speaker=speaker, text="a", label=label, path=str(path))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[Utterance]:
    """Return 60 utterances of five speakers; the embedding shows the class, with an offset for the speaker."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    offsets = rng.normal(0, 0.3, (5, WIDTH))
    utterances = []
    for number in range(60):
        label, speaker = number % 3, number // 3 % 5
        values = offsets[speaker] + rng.normal(0, 0.6, WIDTH)
        values[(label + 1) % 3] += 2.5  # the logits of the model are those of the wrong class
        values[3] += 2.0 if label == 1 else -2.0
        utterances.append(make_utterance(folder, f"u{number}", CLASSES[label], f"s{speaker}", values.tolist()))
    return utterances


def test_empty_corpus_is_an_error():
    with pytest.raises(DatasetError, match="no utterance has a class of the model: neutral, anger, boredom"):
        evaluate_speech(Listener(), [])


def test_counts_by_hand(tmp_path):
    utterances = [
        make_utterance(tmp_path, "a", "neutral", "1", [4, 0, 0, -3]),
        make_utterance(tmp_path, "b", "anger", "1", [0, 4, 0, 3]),
        make_utterance(tmp_path, "c", "anger", "2", [4, 0, 0, -3]),
        make_utterance(tmp_path, "d", "surprise", "2", [4, 0, 0, 3]),
    ]
    summary = evaluate_speech(Listener(), utterances)
    assert (summary["n"], summary["correct"], summary["balanced_accuracy"]) == (3, 2, 0.75)
    assert summary["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert summary["left_out"] == {"surprise": 1}
    assert (summary["arousal"]["n"], summary["arousal"]["accuracy"]) == (4, 0.75)
    assert summary["speakers"] == 2
    low, high = summary["balanced_accuracy_interval"]
    assert low <= 0.75 <= high
    confident = softmax(np.array([[4.0, 0.0, 0.0]]), 2.0).max()
    assert summary["ece"] == pytest.approx(abs(confident - 2 / 3), abs=1e-3)


def test_heads_are_refitted_without_the_speaker(corpus):
    as_it_is = evaluate_speech(Listener(), corpus)
    refitted = evaluate_speech(Listener(), corpus, speaker_independent=True)
    assert as_it_is["balanced_accuracy"] < 0.2
    assert refitted["balanced_accuracy"] > 0.85
    assert refitted["arousal"]["balanced_accuracy"] > 0.85
    assert refitted["ece"] < 0.15
    assert refitted["speaker_independent"]
    assert not as_it_is["speaker_independent"]


def test_unreadable_sound_counts_as_error_and_is_named(corpus, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    lost = replace(corpus[0], name="lost", path=str(tmp_path / "missing.wav"))
    utterances = [*corpus, replace(corpus[0], name="broken", path=str(broken)), lost]
    summary = evaluate_speech(Listener(), utterances)
    assert summary["unreadable"] == ["broken", "lost"]
    assert (summary["n"], summary["unanswered_faces"], summary["arousal"]["n"]) == (62, 2, 62)
    refitted = evaluate_speech(Listener(), utterances, speaker_independent=True)
    assert (refitted["n"], refitted["unreadable"]) == (60, ["broken", "lost"])


class LateListener(Listener):
    """A voice model whose predictions are the last samples of a sound."""

    def predict(self, samples):
        return super().predict(samples[-WIDTH:])


def test_sound_after_the_maximum_duration_has_no_effect(tmp_path):
    samples = np.zeros(9 * SAMPLE_RATE_HZ, dtype=np.float32)
    samples[8 * SAMPLE_RATE_HZ - WIDTH :][:WIDTH] = [0, 0.4, 0, 0.3, 0, 0]
    samples[-WIDTH:] = [0.4, 0, 0, -0.3, 0, 0]
    summaries = []
    for seconds in (9, 8):
        path = write_audio(tmp_path / f"{seconds}.wav", samples[: seconds * SAMPLE_RATE_HZ])
        summaries.append(
            evaluate_speech(LateListener(), [Utterance(name="a", speaker="1", text="", label="anger", path=str(path))])
        )
    assert summaries[0] == summaries[1]
    assert (summaries[0]["correct"], summaries[0]["arousal"]["accuracy"]) == (1, 1.0)


def test_too_few_speakers_of_a_class_are_named(corpus):
    few = [item for item in corpus if item.label != "boredom" or item.speaker == "s0"]
    with pytest.raises(DatasetError, match="boredom has only 1 speaker; expected at least 3 speakers"):
        evaluate_speech(Listener(), few, speaker_independent=True)


def test_interval_over_speakers_is_wider_than_over_utterances():
    labels = np.tile([0, 1], 40)
    is_clear = np.repeat([True, False], 40)
    predictions = np.where(is_clear, labels, 1 - labels)
    by_speaker = speaker_interval(labels, predictions, np.repeat(["a", "b"], 40), 2)
    single = speaker_interval(labels, predictions, np.arange(80).astype(str), 2)
    assert by_speaker == (0.0, 1.0)
    assert single is not None
    assert 0.3 < single[0] < balanced_accuracy(labels, predictions, 2) < single[1] < 0.7
    assert speaker_interval(labels, predictions, np.full(80, "a"), 2) is None
