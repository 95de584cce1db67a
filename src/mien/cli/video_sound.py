"""The sound of a video for `mien video --voice`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mien.cli.messages import NOTHING_WRITTEN, print_message
from mien.cli.progress import progress_bar
from mien.cli.signals import finish_before_stop
from mien.errors import AudioReadError, InputError

if TYPE_CHECKING:
    from mien.video.analysis import VideoAnalysis
    from mien.video.speaking import SoundTrack
    from mien.voice.analyzer import VoiceAnalyzer


def open_voices(threads: int) -> VoiceAnalyzer:
    """Load the voice models."""
    with finish_before_stop():
        from mien.voice.analyzer import VoiceAnalyzer

        return VoiceAnalyzer(threads=threads)


def read_sound(
    analysis: VideoAnalysis, voices: VoiceAnalyzer, is_stopped: Callable[[], bool], *, quiet: bool
) -> SoundTrack | None:
    """Return the speech of a video; print why and return None when it has no readable sound.

    Raises:
        InputError: for a camera, a stream or images.
        KeyboardInterrupt: after a stop signal.
    """
    from mien.video.speaking import SoundTrack

    if analysis.file is None:
        raise InputError(f"{analysis.info.source}: --voice needs a video file.")

    def on_progress(done_s: float, total_s: float | None) -> None:
        progress(round(done_s), round(total_s or 0))
        if is_stopped():
            raise KeyboardInterrupt

    try:
        with progress_bar("seconds of sound", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
            voice = voices.analyze(analysis.file, on_progress=on_progress)
    except AudioReadError as error:
        print_message(f"{error} The faces are analyzed without a voice.")
        return None
    for warning in () if quiet else voice.warnings:
        print_message(f"{voice.source}: {warning}")
    return SoundTrack(voice=voice, manifest=voices.manifest)
