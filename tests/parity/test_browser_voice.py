"""Parity of the page's voice worker with Python: segments, arousal and classes of the same samples."""

import base64

import numpy as np
import pytest

from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from support.browser import PAGE, launch_chromium, missing_requirement, serve_page
from support.sounds import RECORDINGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing_requirement() is not None, reason=str(missing_requirement())),
]

HEAR = """async ([url, base64, block]) => {
  const samples = new Float32Array(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);
  const worker = new Worker(url, { type: 'module' });
  worker.postMessage({ type: 'open', models: new URL('models/', document.baseURI).href, rate_hz: 16000 });
  const segments = [];
  for (let start = 0; start < samples.length; start += block) {
    const part = samples.slice(start, start + block);
    worker.postMessage({ type: 'audio', samples: part, end_s: (start + part.length) / 16000, isAfterGap: false });
  }
  let left = Math.ceil(samples.length / block);
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${left} blocks unanswered after 60 s`)), 60_000);
    worker.onerror = reject;
    worker.onmessage = ({ data }) => {
      if (data.type === 'error') reject(new Error(data.message));
      if (data.type !== 'update') return;
      segments.push(...data.segments);
      if (--left === 0) resolve();
    };
  });
  return segments;
}"""


def test_speech_segments_match_python():
    pause = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    recordings = [read_audio(RECORDINGS / name) for name in ("03a01Wa.flac", "03a05Tc.flac")]
    # over 6 s without a pause: divided
    samples = np.concatenate([pause, recordings[0], pause, *[recordings[1]] * 4, pause]).astype(np.float32)
    expected = list(VoiceAnalyzer().segments([samples]))
    [worker] = (PAGE / "assets").glob("voiceWorker-*.js")
    with launch_chromium() as browser, serve_page() as url:
        page = browser.new_page()
        page.goto(f"{url}/")
        arguments = [f"assets/{worker.name}", base64.b64encode(samples.tobytes()).decode(), 2048]
        segments = page.evaluate(HEAR, arguments)
    assert len(segments) == len(expected) > 2
    for segment, record in zip(segments, expected, strict=True):
        # the resampler of the page holds back 1 ms
        assert segment["start_s"] == pytest.approx(record.start_s, abs=0.002)
        assert segment["end_s"] == pytest.approx(record.end_s, abs=0.002)
        assert segment["arousal"] == pytest.approx(record.arousal, abs=0.002)
        assert segment["label"] == record.label
        assert list(segment["probabilities"].values()) == pytest.approx(record.probabilities.tolist(), abs=0.003)
        assert segment["clipped"] == pytest.approx(record.prosody.clipped, abs=1e-9)
