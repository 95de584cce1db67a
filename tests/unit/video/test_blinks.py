"""Blinks: generated closures at several rates, closures that are not blinks, and a portrait whose lids close."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.inference.analyzer import Analyzer
from mien.video.blinks import MIN_RISE, count_blinks, find_blinks
from support.lids import close_lids


def closures(times_s, blinks_s, duration_s, *, rise=0.4):
    """Return eyes that are closed for some seconds around each time, at half of their height."""
    positions = (times_s[:, None] - np.asarray(blinks_s)) / duration_s
    return 0.15 + rise * np.interp(positions, [-0.75, -0.25, 0.25, 0.75], [0, 1, 1, 0]).max(axis=1, initial=0)


@pytest.mark.parametrize("rate_hz", [15, 25, 30, 60])
def test_counts_blinks_at_video_rates(rate_hz):
    truth_s = np.arange(2, 58, 2) + np.random.default_rng(0).uniform(0, 1, 28)
    times_s = np.arange(0, 60, 1 / rate_hz)
    noise = np.random.default_rng(1).normal(0, 0.015, len(times_s))
    count = count_blinks(times_s, closures(times_s, truth_s, 0.14) + noise)
    assert [(blink.start_s + blink.end_s) / 2 for blink in count.blinks] == pytest.approx(truth_s, abs=0.04)
    assert [blink.end_s - blink.start_s for blink in count.blinks] == pytest.approx([0.14] * 28, abs=0.07)
    assert count.seconds == pytest.approx(60, abs=0.1)
    assert count.per_minute == pytest.approx(28, abs=0.1)


@pytest.mark.parametrize("interval_s", [0.1, 0.12, 0.5])
def test_slow_measurements_have_no_count(interval_s):
    times_s = np.arange(0, 60, interval_s)
    assert count_blinks(times_s, np.full(len(times_s), 0.2)) is None


@pytest.mark.parametrize("length", [0, 1])
def test_single_measurements_have_no_count(length):
    assert count_blinks(np.zeros(length), np.zeros(length)) is None
    assert find_blinks(np.zeros(length), np.zeros(length)) == []


@pytest.mark.parametrize("duration_s", [0.02, 0.7, 3.0])
def test_short_and_long_closures_are_not_blinks(duration_s):
    times_s = np.arange(0, 10, 0.02)
    assert find_blinks(times_s, closures(times_s, [5.0], duration_s)) == []


def test_looking_down_is_not_a_blink():
    times_s = np.arange(0, 10, 0.04)
    assert find_blinks(times_s, np.where(times_s < 5, 0.15, 0.5)) == []


def test_absence_is_not_measured():
    times_s = np.concatenate([np.arange(0, 10, 0.04), np.arange(40, 50, 0.04)])
    count = count_blinks(times_s, closures(times_s, [5.0, 45.0], 0.14))
    assert len(count.blinks) == 2
    assert count.seconds == pytest.approx(20, abs=0.1)


def test_lids_of_a_portrait_close(examples):
    image = np.array(Image.open(examples / "biden.jpg").convert("RGB"))
    analyzer = Analyzer(action_units=True, threads=1)
    (face,) = analyzer.analyze(image)
    eyes = [analyzer.analyze(close_lids(image, face.mesh_xyz, share))[0].action_units["AU43"] for share in (0, 0.5, 1)]
    assert eyes[2] - eyes[0] > 2 * MIN_RISE
    lids = [0] * 20 + [1, 2, 2, 1] + [0] * 20
    count = count_blinks(np.arange(len(lids)) / 25, np.array([eyes[lid] for lid in lids]))
    assert len(count.blinks) == 1
