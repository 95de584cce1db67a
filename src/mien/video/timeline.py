"""From rows, one a face and frame, to a summary whose size does not depend on how long the video is."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from mien.errors import InputError
from mien.video.time_bins import Bins, Glimpse
from mien.video.transitions import ChangeWatch, Moment, Moments

UNSURE, UNREAD, AWAY = -1, -2, -3
"""What `Curve.states` holds where there is no label: not sure, not read yet, no face there."""
BINS = 360
SHOWN = 30
MOMENTS = 24
GLIMPSES = 10
AWAY_S = 0.5
"""A face that is not there for longer was away, unless frames are further apart than that."""
_FORGET_S = 30.0
_POSE = ("yaw_deg", "pitch_deg", "roll_deg")
_QUALITY = ("sharpness", "frontality", "size_px")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One face over time, in T bins of equal width; the last one may end after the face was last seen.

    Attributes:
        start_s: where the first bin begins.
        width_s: how long a bin is.
        seconds: (T,) for how much of each bin the face was there.
        probabilities: (T, C) mean smoothed probabilities, NaN where the face was away or not read yet.
        states: (T,) int, the steady label that was held longest as an index into the labels, or `UNSURE`, `UNREAD`,
            `AWAY`.
        pose_deg: (T, 3) mean yaw, pitch and roll, NaN where unknown.
        quality: (T, 3) mean sharpness, frontality and size in pixels, NaN where unknown.
    """

    start_s: float
    width_s: float
    seconds: np.ndarray
    probabilities: np.ndarray
    states: np.ndarray
    pose_deg: np.ndarray
    quality: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Track:
    """One face that was followed.

    Attributes:
        track_id: its number.
        scene: the scene that it was seen in.
        first_s: when it was seen first.
        last_s: when its last frame ended.
        seconds: for how long it was seen.
        shares: share of that time by steady label, every label in order.
        unsure: share of that time in which it was read but had no steady label.
        unread: share of that time before it was read. All shares sum to 1.
        curve: or None for the faces that were seen too shortly to be shown.
        glimpses: moments spread evenly over the time it was seen, the face frontal and sharp where there is a choice.
    """

    track_id: int
    scene: int
    first_s: float
    last_s: float
    seconds: float
    shares: dict[str, float]
    unsure: float
    unread: float
    curve: Curve | None
    glimpses: tuple[Glimpse, ...]

    @property
    def main_label(self) -> str | None:
        """The label that was held longest; None when there was never one, or when "not sure" held longer than any."""
        name = max(self.shares, key=self.shares.__getitem__, default=None)
        if name is None or self.shares[name] <= 0 or self.shares[name] < self.unsure:
            return None
        return name


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What a report shows of a video.

    Attributes:
        labels: class names in the model's order.
        end_s: when the last frame with a face ended.
        step_s: usual time from one analyzed frame to the next.
        scenes: number of each scene with faces, and when its first face was seen.
        tracks: every face, in the order of appearance; the longest ones have curves and glimpses.
        moments: the clearest moments of change, in time order.
        moments_total: how many there were.
    """

    labels: tuple[str, ...]
    end_s: float
    step_s: float
    scenes: tuple[tuple[int, float], ...]
    tracks: tuple[Track, ...]
    moments: tuple[Moment, ...]
    moments_total: int


def summarize_rows(
    rows: Iterable[Mapping[str, Any]],
    labels: tuple[str, ...],
    *,
    bins: int = BINS,
    shown: int = SHOWN,
    moments: int = MOMENTS,
) -> Timeline:
    """Read the rows of a video once.

    Args:
        rows: see `mien.video.table`; in time order.
        labels: class names in the model's order.
        bins: most bins of a curve, at least 2; a face that is seen for longer has wider ones.
        shown: so many faces, the ones seen longest, get curves and glimpses.
        moments: so many moments of change are kept.

    Raises:
        InputError: when the rows are not in time order, or tell of a label that is not among the labels.
    """
    stream = iter(rows)
    head = list(islice(stream, 256))
    reader = _Reader(labels, bins, shown, moments, _Clock(row["timestamp_s"] for row in head))
    for row in chain(head, stream):
        reader.take(row)
    return reader.summarize()


class _Clock:
    """The usual time between two analyzed frames: the median of the last ones."""

    def __init__(self, times: Iterable[float]) -> None:
        self._last_s: float | None = None
        self._steps: deque[float] = deque(maxlen=255)
        self.step_s = 0.04
        for timestamp_s in times:
            self._note(timestamp_s)
        self._steps = deque(self._steps, maxlen=15)
        self._last_s = None
        if self._steps:
            self.step_s = statistics.median(self._steps)

    def tick(self, timestamp_s: float) -> None:
        if self._note(timestamp_s):
            self.step_s = statistics.median(self._steps)

    def _note(self, timestamp_s: float) -> bool:
        last_s, self._last_s = self._last_s, timestamp_s
        if last_s is None or timestamp_s <= last_s:
            return False
        self._steps.append(timestamp_s - last_s)
        return True

    def lasted(self, begin_s: float, next_s: float | None) -> tuple[float, bool]:
        """For how long a frame at `begin_s` was seen, and whether the face then went away."""
        if next_s is None or next_s - begin_s > max(AWAY_S, 2.5 * self.step_s):
            return self.step_s, True
        return next_s - begin_s, False


class _Reader:
    """The state of `summarize_rows`."""

    def __init__(self, labels: tuple[str, ...], bins: int, shown: int, moments: int, clock: _Clock) -> None:
        self._labels, self._bins, self._shown, self._clock = labels, bins, shown, clock
        self._states = {name: index for index, name in enumerate(labels)}
        self._keys = (*(f"s_{name}" for name in labels), *_POSE, *_QUALITY)
        self._moments = Moments(moments)
        self._tallies: dict[tuple[int, int], _Tally] = {}
        self._scenes: dict[int, float] = {}
        self._detailed = 0

    def take(self, row: Mapping[str, Any]) -> None:
        now = float(row["timestamp_s"])
        self._clock.tick(now)
        key = int(row["scene"]), int(row["track_id"])
        self._scenes.setdefault(key[0], now)
        tally = self._tallies.get(key)
        if tally is None:
            self._make_room(now)
            watch = ChangeWatch(*key, self._moments)
            tally = self._tallies[key] = _Tally(*key, now, len(self._labels), self._bins, watch)
            self._detailed += 1
        tally.take(self._sighting(row, now), self._clock)

    def _sighting(self, row: Mapping[str, Any], now: float) -> _Sighting:
        values = np.array([row.get(key) for key in self._keys], dtype=float)
        label = row.get("label")
        if label is not None and label not in self._states:
            raise InputError(f"a row has the label {label!r}; the labels are: {', '.join(self._labels)}.")
        unread = np.isnan(values[: len(self._labels)]).any() and label is None
        state = self._states[label] if label is not None else UNREAD if unread else UNSURE
        box = float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])
        return _Sighting(
            values=values,
            state=state,
            label=label,
            confidence=float(row.get("confidence") or 0),
            rank=_rank(row),
            glimpse=Glimpse(timestamp_s=now, bbox_xyxy=box),
        )

    def _make_room(self, now: float) -> None:
        """Let go of the details of faces that are long gone and were seen too shortly to be shown."""
        if self._detailed < 4 * self._shown:
            return
        tallies = sorted((t for t in self._tallies.values() if t.bins), key=lambda t: -t.seconds)
        for tally in tallies[self._shown :]:
            if tally.last_s < now - _FORGET_S:
                tally.drop(self._clock)
        self._detailed = sum(tally.bins is not None for tally in self._tallies.values())

    def summarize(self) -> Timeline:
        tallies = list(self._tallies.values())
        for tally in tallies:
            tally.settle(None, self._clock)
        detailed = sorted((t for t in tallies if t.bins), key=lambda t: -t.seconds)
        for tally in detailed[self._shown :]:
            tally.bins = None
        return Timeline(
            labels=self._labels,
            end_s=max((tally.last_s for tally in tallies), default=0.0),
            step_s=self._clock.step_s,
            scenes=tuple(self._scenes.items()),
            tracks=tuple(tally.track(self._labels) for tally in tallies),
            moments=self._moments.kept(),
            moments_total=self._moments.total,
        )


@dataclass(frozen=True, kw_only=True)
class _Sighting:
    """One row, read."""

    values: np.ndarray
    state: int
    label: str | None
    confidence: float
    rank: float
    glimpse: Glimpse


class _Tally:
    """The running sums of one face. A row is counted when the next one shows for how long it lasted."""

    def __init__(
        self, scene: int, track_id: int, first_s: float, classes: int, most: int, watch: ChangeWatch
    ) -> None:
        self.bins: Bins | None = None
        self.seconds = 0.0
        self.last_s = first_s
        self._scene, self._track_id, self._first_s = scene, track_id, first_s
        self._classes, self._most, self._watch = classes, most, watch
        self._held_s = np.zeros(classes + 2)  # the last two are UNREAD and UNSURE, as their numbers say
        self._pending: _Sighting | None = None
        self._dropped = False

    def take(self, sighting: _Sighting, clock: _Clock) -> None:
        now = sighting.glimpse.timestamp_s
        self.settle(now, clock)
        self._watch.see(sighting.label, sighting.confidence, sighting.glimpse)
        self._pending = sighting

    def settle(self, next_s: float | None, clock: _Clock) -> None:
        """Count the row that waits; `next_s` is when the face was seen next, None when it was not."""
        if (pending := self._pending) is None:
            return
        self._pending = None
        begin_s = pending.glimpse.timestamp_s
        if next_s is not None and next_s <= begin_s:
            raise InputError(f"the rows are not in time order: {next_s:.3f} s follows {begin_s:.3f} s.")
        seconds, away = clock.lasted(begin_s, next_s)
        self.last_s = begin_s + seconds
        self.seconds += seconds
        self._held_s[pending.state] += seconds
        if away:
            self._watch.close()
        if self._dropped:
            return
        if self.bins is None:
            width = max(seconds, 0.005)
            self.bins = Bins(self._first_s, width, len(pending.values) + self._classes + 2, self._most)
        held = np.zeros(self._classes + 2)
        held[pending.state] = 1
        values = np.concatenate([pending.values, held])
        self.bins.add(begin_s, self.last_s, values, pending.rank, pending.glimpse)

    def drop(self, clock: _Clock) -> None:
        """Keep nothing but the totals."""
        self.settle(None, clock)
        self.bins, self._dropped = None, True

    def track(self, labels: Sequence[str]) -> Track:
        held = self._held_s / max(self.seconds, 1e-9)
        return Track(
            track_id=self._track_id,
            scene=self._scene,
            first_s=self._first_s,
            last_s=self.last_s,
            seconds=self.seconds,
            shares={name: float(share) for name, share in zip(labels, held, strict=False)},
            unsure=float(held[UNSURE]),
            unread=float(held[UNREAD]),
            curve=None if self.bins is None else _curve(self.bins, self._classes),
            glimpses=() if self.bins is None else _spread(self.bins, self._first_s, self.last_s),
        )


def _rank(row: Mapping[str, Any]) -> float:
    """How good an image of the face this frame gives: frontal, sharp and whole."""
    frontality, sharpness, visible = (row.get(key) for key in ("frontality", "sharpness", "visible"))
    known = (0.5 if frontality is None else frontality), (0.5 if sharpness is None else sharpness)
    return (0.1 + known[0]) * (0.1 + known[1]) * (1.0 if visible is None else visible)


def _curve(bins: Bins, classes: int) -> Curve:
    means = bins.means()
    held = means[:, classes + 6 :]
    seconds = bins.seconds()[:, classes + 6]
    longest = np.nan_to_num(held).argmax(axis=1)
    states = np.where(longest < classes, longest, longest - classes - 2)
    return Curve(
        start_s=bins.start_s,
        width_s=bins.width_s,
        seconds=seconds,
        probabilities=means[:, :classes],
        states=np.where(seconds > 0, states, AWAY),
        pose_deg=means[:, classes : classes + 3],
        quality=means[:, classes + 3 : classes + 6],
    )


def _spread(bins: Bins, first_s: float, last_s: float) -> tuple[Glimpse, ...]:
    """The best glimpse of each of some equal stretches, those near its middle preferred; none where it was away."""
    stretches = count_stretches(first_s, last_s)
    best: dict[int, tuple[float, Glimpse]] = {}
    for rank, glimpse in bins.glimpses():
        place = (glimpse.timestamp_s - first_s) / max(last_s - first_s, 1e-9) * stretches
        stretch = min(int(place), stretches - 1)
        worth = rank * (1 - abs(place - stretch - 0.5))
        if stretch not in best or worth > best[stretch][0]:
            best[stretch] = worth, glimpse
    return tuple(glimpse for _, (_, glimpse) in sorted(best.items()))


def count_stretches(first_s: float, last_s: float) -> int:
    """How many stretches the glimpses of a face that was seen from `first_s` to `last_s` are spread over."""
    return max(1, min(GLIMPSES, int((last_s - first_s) / AWAY_S)))
