"""Speech segments of audio and how they sound to listeners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.errors import InputError
from mien.manifest import Manifest
from mien.number_format import count
from mien.results import choose_label
from mien.voice.activity import FRAME, SpeechAudio, SpeechDetector, SpeechSegmenter
from mien.voice.audio import SAMPLE_RATE_HZ, AudioBlock, AudioInfo, AudioInput, AudioReader
from mien.voice.classifier import DEFAULT_VOICE_MODEL, VoiceClassifier
from mien.voice.prosody import measure_prosody
from mien.voice.result import ENVELOPE_S, VoiceResult, VoiceSegment

MAX_CLIPPED = 0.001
"""Share of clipped samples of a segment from which its result is doubtful."""
MIN_FILE_RATE_HZ = 16000
MAX_MISSING_S = 0.5
"""Maximum duration that may be missing at the end of a file without a warning."""
MAX_MISSING_SHARE = 0.05
"""The same for MP3, as a share of the stated duration; the longer one counts."""

OnProgress = Callable[[float, float | None], None]
"""Called with the seconds that are done and the duration of the file, None when it is unknown."""


class VoiceAnalyzer:
    """Finds speech in audio and predicts how it sounds to listeners; thread-safe.

    Args:
        model: name of a shipped voice model, or path of an `.onnx` file with its manifest beside it.
        threads: threads per network; 0: automatic.

    Raises:
        InputError: if an argument is out of its range.
        ModelError: if a model is unknown or broken.

    Example:
        >>> result = VoiceAnalyzer().analyze("interview.mp3")  # doctest: +SKIP
        >>> [(segment.start_s, segment.arousal) for segment in result]  # doctest: +SKIP
        [(0.32, -0.81), (2.53, 0.64)]
    """

    def __init__(self, model: str | Path = DEFAULT_VOICE_MODEL, *, threads: int = 0) -> None:
        self._classifier = VoiceClassifier(model, threads)
        self._detector = SpeechDetector(threads)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the voice model."""
        return self._classifier.manifest

    def analyze(self, source: AudioInput, *, on_progress: OnProgress | None = None) -> VoiceResult:
        """Return the speech segments of an audio file, or of the sound of a video.

        The file is decoded in blocks; memory does not grow with its length, but for the results.

        Args:
            source: path, content, or open binary file.
            on_progress: called after every block.

        Raises:
            AudioReadError: if the file cannot be read, or has no sound.
            InputError: if the source is of another type.
            MissingExtraError: if PyAV is not installed.
        """
        with AudioReader(source) as reader:
            levels = _Levels()
            samples = levels.watch(reader.blocks(), on_progress, reader.info.duration_s)
            segments = [levels.count_clipped(segment) for segment in self.segments(samples)]
            duration_s = levels.count / SAMPLE_RATE_HZ
            warnings = _warnings(segments, reader.info, duration_s, reader.broken)
        return VoiceResult(
            source=reader.info.source,
            duration_s=duration_s,
            offset_s=reader.info.offset_s,
            segments=tuple(segments),
            envelope=levels.envelope(),
            warnings=warnings,
        )

    def segments(self, blocks: Iterable[np.ndarray]) -> Iterator[VoiceSegment]:
        """Yield the speech segments of a stream of audio as they end.

        Args:
            blocks: consecutive samples (N,) float32 or float64, mono at 16 kHz, in -1..1.

        Raises:
            InputError: if a block is of another type or shape.
        """
        segmenter = SpeechSegmenter()
        for frames, probabilities in self._detector.probabilities(map(_check_block, blocks)):
            yield from map(self._predict, segmenter.push(frames, probabilities))
        yield from map(self._predict, segmenter.finish())

    def _predict(self, audio: SpeechAudio) -> VoiceSegment:
        prediction = self._classifier.predict(audio.samples)
        manifest = self.manifest
        label, _ = choose_label(manifest.labels, prediction.probabilities, manifest.abstain_below)
        return VoiceSegment(
            start_s=audio.start / SAMPLE_RATE_HZ,
            end_s=(audio.start + len(audio.samples)) / SAMPLE_RATE_HZ,
            arousal=prediction.arousal,
            labels=manifest.labels,
            probabilities=prediction.probabilities,
            label=label,
            prosody=measure_prosody(audio.samples),
            embedding=prediction.embedding,
        )


def _check_block(block: np.ndarray) -> np.ndarray:
    """Return a block of samples as float32.

    Raises:
        InputError: if it is not one-dimensional or not floating-point. The scale of integers is unknown.
    """
    if not isinstance(block, np.ndarray) or block.ndim != 1 or block.dtype.name not in ("float32", "float64"):
        form = f"{block.dtype} {block.shape}" if isinstance(block, np.ndarray) else type(block).__name__
        raise InputError(f"a block of samples is {form}; expected an array (N,) of float32, mono, in -1..1.")
    return block.astype(np.float32, copy=False)


class _Levels:
    """Peaks of a stream of samples, one per `ENVELOPE_S`, and its clipped samples."""

    def __init__(self) -> None:
        self.count = 0
        self._peaks: list[np.ndarray] = []
        self._rest = np.zeros(0, dtype=np.float32)
        self._clipped: Counter[int] = Counter()

    def watch(
        self, blocks: Iterable[AudioBlock], on_progress: OnProgress | None, duration_s: float | None
    ) -> Iterator[np.ndarray]:
        """Yield the samples of the blocks unchanged."""
        step = round(ENVELOPE_S * SAMPLE_RATE_HZ)
        for block in blocks:
            # by frame, since speech segments consist of whole frames
            self._clipped.update(((self.count + np.flatnonzero(block.is_clipped)) // FRAME).tolist())
            self.count += len(block.samples)
            self._rest = np.concatenate([self._rest, np.abs(block.samples)])
            whole = len(self._rest) // step * step
            self._peaks.append(self._rest[:whole].reshape(-1, step).max(axis=1))
            self._rest = self._rest[whole:]
            yield block.samples
            if on_progress is not None:
                on_progress(self.count / SAMPLE_RATE_HZ, duration_s)

    def count_clipped(self, segment: VoiceSegment) -> VoiceSegment:
        """Return the segment with `clipped` counted over all channels."""
        start, stop = (round(time_s * SAMPLE_RATE_HZ) for time_s in (segment.start_s, segment.end_s))
        clipped = sum(self._clipped[frame] for frame in range(start // FRAME, -(-stop // FRAME)))
        return replace(segment, prosody=replace(segment.prosody, clipped=clipped / (stop - start)))

    def envelope(self) -> np.ndarray:
        """Return the peaks (T,) float32."""
        last = [self._rest.max(keepdims=True)] if len(self._rest) else []
        return np.concatenate([np.zeros(0, dtype=np.float32), *self._peaks, *last])


def _warnings(segments: list[VoiceSegment], info: AudioInfo, duration_s: float, broken: int) -> tuple[str, ...]:
    """Return what makes the predictions for a file unreliable."""
    warnings = []
    if info.tracks > 1:
        warnings.append(f"only track {info.track} of {info.tracks} sound tracks is analyzed")
    if broken:
        warnings.append(f"{count(broken, 'damaged part')} of the sound {'was' if broken == 1 else 'were'} left out")
    if _is_truncated(info, duration_s, broken):
        warnings.append(f"the sound ends at {duration_s:.1f} s of {info.exact_s:.1f} s: the file is truncated")
    if segments and 0 < info.sample_rate_hz < MIN_FILE_RATE_HZ:
        warnings.append(f"{info.sample_rate_hz} Hz sound, such as over a telephone: predictions are less accurate")
    clipped = sum(segment.prosody.clipped > MAX_CLIPPED for segment in segments)
    if clipped:
        warnings.append(f"{clipped} of {len(segments)} segments are clipped (too loud for the recording)")
    return tuple(warnings)


def _is_truncated(info: AudioInfo, duration_s: float, broken: int) -> bool:
    """Return whether a file ends before the duration in its header; other damage is found by decoding.

    Damaged parts make an MP3 shorter; in other files their timestamps leave silence.
    """
    is_mp3 = info.codec.startswith("mp3")
    if info.exact_s is None or (is_mp3 and broken):
        return False
    share = MAX_MISSING_SHARE if is_mp3 else 0.0
    return info.exact_s - duration_s > max(MAX_MISSING_S, share * info.exact_s)
