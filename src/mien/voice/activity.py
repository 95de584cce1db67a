"""Voice activity: speech probabilities of short frames, and the segments of speech in a stream of audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mien.runtime import load_model

FRAME = 512
"""Samples of a frame, 32 ms."""
_CONTEXT = 64
"""Samples before a frame that the network also needs."""
_STATE = 128

MIN_SPEECH_PROBABILITY = 0.5
"""Speech probability at which a segment starts."""
MIN_CONTINUED_PROBABILITY = 0.35
"""Speech probability below which a segment may end."""
MIN_SPEECH_FRAMES = 10
"""Shortest segment, 0.32 s, without its margins."""
MIN_PAUSE_FRAMES = 10
"""Shortest pause between two segments, 0.32 s."""
MARGIN_FRAMES = 3
"""Audio before and after the speech of a segment, 0.1 s."""
MAX_SEGMENT_FRAMES = 187
"""Longest segment, 6 s; longer speech is divided at its least probable frame."""
MIN_PART_FRAMES = 62
"""Shortest first part of a divided segment, 2 s."""


@dataclass(frozen=True, eq=False)
class SpeechAudio:
    """A segment of speech: its start in samples since the beginning, and its samples (N,) float32."""

    start: int
    samples: np.ndarray


class SpeechDetector:
    """Speech probability of every frame of a stream of audio.

    Args:
        threads: threads of ONNX Runtime; 0 lets it choose.

    Source:
        Silero VAD 6 (Silero Team 2024), in its form for sequences.
    """

    def __init__(self, threads: int = 0) -> None:
        self._network = load_model("voice-activity", task="voice-activity", threads=threads)

    def probabilities(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the frames (T, 512) of consecutive blocks of samples and their speech probabilities (T,).

        The last frame is shorter if the samples end in it; the network gets it filled with silence.
        """
        state = np.zeros((2, 1, 1, _STATE), dtype=np.float32)
        context = rest = np.zeros(0, dtype=np.float32)
        context = np.zeros(_CONTEXT, dtype=np.float32)
        for block in blocks:
            rest = np.concatenate([rest, block])
            count = len(rest) // FRAME
            if count:
                frames, rest = rest[: count * FRAME].reshape(count, FRAME), rest[count * FRAME :]
                yield frames, self._run(frames, context, state)
                context = frames[-1, -_CONTEXT:]
        if len(rest):
            padded = np.pad(rest, (0, FRAME - len(rest)))[None]
            yield rest[None], self._run(padded, context, state)

    def _run(self, frames: np.ndarray, context: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the probabilities of frames and update the state of the network in place."""
        before = np.concatenate([context[None], frames[:-1, -_CONTEXT:]])
        inputs = {"input": np.concatenate([before, frames], axis=1), "h": state[0], "c": state[1]}
        outputs = self._network.run(["speech_probs", "hn", "cn"], inputs)
        state[:] = outputs[1:]
        return outputs[0].reshape(-1)


class SpeechSegmenter:
    """Segments of speech from frames and their speech probabilities, with bounded memory.

    A segment starts at a probable frame and ends at a pause. It is divided when it becomes too long, and gets a margin
    on both sides where there is audio that is not part of another segment.
    """

    def __init__(self) -> None:
        self._frames: list[np.ndarray] = []
        self._probabilities: list[float] = []
        self._offset = 0
        self._start = -1
        self._last_speech = 0

    def push(self, frames: np.ndarray, probabilities: np.ndarray) -> Iterator[SpeechAudio]:
        """Add frames (T, 512), the last of all perhaps shorter, with their probabilities (T,).

        Yields the segments that end in them.
        """
        for frame, probability in zip(frames, probabilities, strict=True):
            self._frames.append(frame)
            self._probabilities.append(float(probability))
            yield from self._step()

    def finish(self) -> Iterator[SpeechAudio]:
        """Yield the segment at the end of the audio."""
        if self._start >= 0:
            yield from self._close(self._last_speech)

    def _step(self) -> Iterator[SpeechAudio]:
        """Process the newest frame."""
        now = len(self._frames) - 1
        probability = self._probabilities[now]
        if self._start < 0:
            if probability >= MIN_SPEECH_PROBABILITY:
                self._start = self._last_speech = now
            elif len(self._frames) > MARGIN_FRAMES:
                self._drop(1)
            return
        if probability >= MIN_CONTINUED_PROBABILITY:
            self._last_speech = now
        if now - self._last_speech >= MIN_PAUSE_FRAMES:
            yield from self._close(self._last_speech)
        elif now - self._start + 1 >= MAX_SEGMENT_FRAMES:
            yield from self._divide()

    def _divide(self) -> Iterator[SpeechAudio]:
        """Yield the first part of a segment that is too long."""
        first = self._start + MIN_PART_FRAMES
        # the speech so far makes the rest long enough: a shorter one would be lost
        last = self._last_speech + 1 - MIN_SPEECH_FRAMES
        cut = last - int(np.argmin(self._probabilities[last : first - 1 : -1]))
        yield self._take(self._start, cut)
        self._drop(cut)
        self._start = 0
        self._last_speech -= cut

    def _close(self, last: int) -> Iterator[SpeechAudio]:
        """Yield the segment up to its last frame of speech, unless it is too short."""
        stop = last + 1
        if stop - self._start >= MIN_SPEECH_FRAMES:
            yield self._take(self._start, min(stop + MARGIN_FRAMES, len(self._frames)))
        self._drop(max(len(self._frames) - MARGIN_FRAMES, stop))
        self._start = -1

    def _take(self, start: int, stop: int) -> SpeechAudio:
        start = max(start - MARGIN_FRAMES, 0)
        return SpeechAudio((self._offset + start) * FRAME, np.concatenate(self._frames[start:stop]))

    def _drop(self, count: int) -> None:
        del self._frames[:count], self._probabilities[:count]
        self._offset += count
