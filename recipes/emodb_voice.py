"""The voice model: heads on EmoDB over the first two blocks of Smart Turn's encoder, without torch.

    pip download --no-deps pipecat-ai==1.14.0 && unzip pipecat_ai-1.14.0-*.whl 'pipecat/audio/turn/smart_turn/data/*'
    python recipes/emodb_voice.py emodb.zip pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx -o voice.onnx

`--corpus crema-d`, ravdess, meld or iemocap fits the heads on your copy of these corpora instead, without the test
split of MELD.

The heads are linear and have a closed form (linear discriminant analysis with a shrunk covariance), so that this is a
script and not a recipe of `mien train`: there is no loop, checkpoint or graphics card to manage. It takes some minutes
on one core, nearly all of it for the embeddings of the augmented utterances. `benchmarks/voice.py` evaluates it.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
from voice_encoder import GraphBuilder, add_encoder, make_graph

from mien.atomic import write_atomic
from mien.errors import AudioReadError, DatasetError
from mien.manifest import InputSpec, Manifest, RiskPoint, TrainingSource, file_sha256, result_license, write_manifest
from mien.metrics import risk_coverage, softmax
from mien.runtime import open_session
from mien.voice.audio import read_audio
from mien.voice.augmentation import VARIANTS, augment
from mien.voice.corpora import READERS, SOURCES, VOICE_CLASSES, Utterance
from mien.voice.features import MELS, log_mel
from mien.voice.fitting import Choice, SpeakerFolds, group_speakers

EMBEDDING = 1536
MAX_SAMPLES = 8 * 16000
COVERAGES = np.linspace(1.0, 0.5, 11)
ABSTAIN_BELOW_COVERAGE = 0.9
"""Share of the held-out utterances that get a label."""
ENCODER_SOURCES = (
    TrainingSource(
        name="Smart Turn v3.2 (Daily): Whisper Tiny's encoder, fine-tuned to find the end of a turn",
        license="BSD-2-Clause; from the PyPI wheel pipecat-ai 1.14.0",
    ),
    TrainingSource(name="Whisper Tiny (OpenAI), weights of the encoder", license="MIT"),
    TrainingSource(
        name="680,000 hours of speech from the web, the training data of Whisper; OpenAI does not list them",
        license="not stated",
    ),
)


def read_sounds(utterances: list[Utterance]) -> dict[str, np.ndarray]:
    """Return the samples of the readable utterances by name; report the others."""
    sounds = {}
    errors = []
    for utterance in utterances:
        try:
            sounds[utterance.name] = read_audio(utterance.read())
        except (AudioReadError, DatasetError) as error:
            errors.append(f"{utterance.name}: {error}")
    if errors:
        print(f"skipped {len(errors)} unreadable utterances ({errors[0]} ...)", flush=True)
    return sounds


def embed_variants(sounds: dict[str, np.ndarray], encoder: bytes) -> dict[str, np.ndarray]:
    """Return the embeddings (N, D) of every augmented variant of the utterances."""
    session = open_session(encoder, 1)
    embeddings = {}
    for variant in VARIANTS:
        rows = []
        for name, samples in sounds.items():
            rng = np.random.default_rng(zlib.crc32(f"{variant} {name}".encode()))
            values = log_mel(augment(samples, variant, rng)[:MAX_SAMPLES])[None]
            rows.append(np.asarray(session.run(["embedding"], {"log_mel": values})[0])[0])
        embeddings[variant] = np.stack(rows)
        print(f"{variant}: {len(rows)} utterances", flush=True)
    return embeddings


def load_embeddings(
    utterances: list[Utterance], encoder: bytes, cache: Path
) -> tuple[list[Utterance], dict[str, np.ndarray]]:
    """Return the readable utterances and their embeddings of all variants, from a file if it is of these utterances."""
    names = [utterance.name for utterance in utterances]
    if not _is_cache_of(names, cache):
        cache.parent.mkdir(parents=True, exist_ok=True)
        sounds = read_sounds(utterances)
        np.savez(cache, names=names, readable=list(sounds), **embed_variants(sounds, encoder))
    with np.load(cache) as file:
        readable = set(file["readable"].tolist())
        embeddings = {variant: file[variant] for variant in VARIANTS}
    return [utterance for utterance in utterances if utterance.name in readable], embeddings


def _is_cache_of(names: list[str], cache: Path) -> bool:
    if not cache.is_file():
        return False
    with np.load(cache) as file:
        return "names" in file and file["names"].tolist() == names


def risk_points(probabilities: np.ndarray, labels: np.ndarray) -> tuple[RiskPoint, ...]:
    """Return the error rates at decreasing coverage."""
    curve = risk_coverage(probabilities, labels)
    indices = [int(np.flatnonzero(curve.coverage <= coverage + 1e-9)[-1]) for coverage in COVERAGES]
    return tuple(
        RiskPoint(
            coverage=round(float(curve.coverage[index]), 6),
            error=round(float(curve.risk[index]), 6),
            confidence=round(float(curve.threshold[index]), 4) if curve.coverage[index] < 1 else 0.0,
        )
        for index in dict.fromkeys(indices)
    )


def build_model(encoder: Path, classes: SpeakerFolds, class_choice: Choice, arousal: SpeakerFolds) -> bytes:
    """Return the graph with encoder and both heads, fitted on all speakers; the arousal logit is calibrated in it."""
    arousal_choice = arousal.choose()
    print(f"arousal: {arousal_choice}")
    class_head, arousal_head = classes.fit(class_choice.shrinkage), arousal.fit(arousal_choice.shrinkage)
    binary = (arousal_head.weights[:, 1:] - arousal_head.weights[:, :1]) / arousal_choice.temperature
    offset = (arousal_head.bias[1:] - arousal_head.bias[:1]) / arousal_choice.temperature
    builder = GraphBuilder()
    embedding = add_encoder(builder, encoder)
    heads = {"logits": (class_head.weights, class_head.bias), "arousal": (binary, offset)}
    for name, (weights, bias) in heads.items():
        parameters = [
            builder.constant(f"{name}.{kind}", values.astype(np.float32))
            for kind, values in (("weight", weights), ("bias", bias))
        ]
        builder.add("Gemm", [embedding, *parameters], name)
    shapes: dict[str, list[int | str]] = {"logits": ["N", len(class_head.bias)], "arousal": ["N", 1]}
    return make_graph(builder, {**shapes, "embedding": ["N", EMBEDDING]})


def main() -> None:
    """Fit and calibrate the heads and write the model file with its manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="emodb.zip or its folder")
    parser.add_argument("--corpus", choices=READERS, default="emodb")
    parser.add_argument("encoder", type=Path, help="smart-turn-v3.2-cpu.onnx")
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="file for the embeddings")
    options = parser.parse_args()
    utterances = [utterance for utterance in READERS[options.corpus](options.data) if utterance.split != "test"]
    builder = GraphBuilder()
    add_encoder(builder, options.encoder)
    encoder = make_graph(builder, {"embedding": ["N", EMBEDDING]})
    utterances, embeddings = load_embeddings(
        utterances, encoder, options.cache or Path(f"runs/{options.corpus}-voice/embeddings.npz")
    )
    sources = (SOURCES[options.corpus], *ENCODER_SOURCES)
    names = tuple(name for name in VOICE_CLASSES if name in {utterance.label for utterance in utterances})
    labels = np.array([names.index(utterance.label) for utterance in utterances])
    is_high = np.array([int(utterance.is_high_arousal) for utterance in utterances])
    speakers = group_speakers([utterance.speaker for utterance in utterances])
    classes = SpeakerFolds(embeddings, labels, speakers)
    choice = classes.choose()
    print(f"classes: {choice}")
    logits = classes.held_out_logits(choice.shrinkage, classes.speakers)
    points = risk_points(softmax(logits, choice.temperature), labels)
    kept = min(points, key=lambda point: abs(point.coverage - ABSTAIN_BELOW_COVERAGE))
    write_atomic(
        options.output, build_model(options.encoder, classes, choice, SpeakerFolds(embeddings, is_high, speakers))
    )
    manifest = Manifest(
        name=options.output.stem,
        version="1",
        task="voice-expression",
        input=InputSpec(size=MELS, channels="LOG_MEL", layout="NMT", range=(-1.0, 1.0)),
        sha256=file_sha256(options.output),
        license=result_license("MIT for the heads, BSD-2-Clause and MIT for the encoder: see trained_on", sources),
        labels=names,
        temperature=round(choice.temperature, 4),
        abstain_below=kept.confidence,
        risk_coverage=points,
        trained_on=sources,
        source={"recipe": "recipes/emodb_voice.py", "corpus": options.corpus, "shrinkage": choice.shrinkage},
    )
    write_manifest(manifest, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
