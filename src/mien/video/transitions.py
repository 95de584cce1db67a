"""Moments at which a face's steady label changes: found row by row, the clearest ones kept."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count

from mien.video.time_bins import Glimpse

LOOK_S = 1.5
"""The images of a change are the surest ones within so many seconds before and after it."""
BRIDGE_S = 3.0
"""A label that was last held longer ago than this has not changed: it was forgotten."""
_ENOUGH_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One change of a face's steady label.

    Attributes:
        timestamp_s: when the new label was held first.
        scene: number of the scene.
        track_id: number of the face.
        before: the label until then.
        after: the label from then on.
        seen_before: the surest image of the label before, shortly before.
        seen_after: the surest image of the label after, shortly after.
        confidence: of that image's label, 0..1.
        held_s: for how long the shorter one of the two labels was held.
    """

    timestamp_s: float
    scene: int
    track_id: int
    before: str
    after: str
    seen_before: Glimpse
    seen_after: Glimpse
    confidence: float
    held_s: float

    @property
    def clarity(self) -> float:
        """What the clearest moments are picked by: sure labels that last, up to two seconds."""
        return self.confidence * (0.25 + min(self.held_s, _ENOUGH_S))


class Moments:
    """The clearest moments of all faces, at most `most`.

    Attributes:
        total: how many there were.
    """

    def __init__(self, most: int) -> None:
        self.total = 0
        self._most = most
        self._heap: list[tuple[float, int, Moment]] = []
        self._number = count()

    def add(self, moment: Moment) -> None:
        """Count a moment and keep it while it is among the clearest."""
        self.total += 1
        heapq.heappush(self._heap, (moment.clarity, -next(self._number), moment))
        if len(self._heap) > self._most:
            heapq.heappop(self._heap)

    def kept(self) -> tuple[Moment, ...]:
        """The kept ones in time order."""
        moments = [moment for _, _, moment in self._heap]
        return tuple(sorted(moments, key=lambda moment: (moment.timestamp_s, moment.scene, moment.track_id)))


class _Run:
    """One label, held: its best image at its beginning and its best image lately."""

    def __init__(self, label: str, confidence: float, glimpse: Glimpse) -> None:
        self.label = label
        self.begin_s = self.last_s = glimpse.timestamp_s
        self.early = self.late = (confidence, glimpse)

    def extend(self, confidence: float, glimpse: Glimpse) -> None:
        now = self.last_s = glimpse.timestamp_s
        if confidence > self.early[0] and now - self.begin_s <= LOOK_S:
            self.early = (confidence, glimpse)
        if confidence >= self.late[0] or now - self.late[1].timestamp_s > LOOK_S:
            self.late = (confidence, glimpse)

    @property
    def seconds(self) -> float:
        return self.last_s - self.begin_s


class ChangeWatch:
    """Follows the steady label of one face. Frames without a label are looked over, for at most `BRIDGE_S`."""

    def __init__(self, scene: int, track_id: int, moments: Moments) -> None:
        self._scene, self._track_id, self._moments = scene, track_id, moments
        self._before: _Run | None = None
        self._run: _Run | None = None

    def see(self, label: str | None, confidence: float, glimpse: Glimpse) -> None:
        """Take the next frame of the face."""
        if self._run is not None and glimpse.timestamp_s - self._run.last_s > BRIDGE_S:
            self.close()
        if label is None:
            return
        if self._run is None:
            self._run = _Run(label, confidence, glimpse)
        elif self._run.label == label:
            self._run.extend(confidence, glimpse)
        else:
            self._tell()
            self._before, self._run = self._run, _Run(label, confidence, glimpse)

    def close(self) -> None:
        """The face went away: tell the last change, and forget its label."""
        self._tell()
        self._before = self._run = None

    def _tell(self) -> None:
        before, run = self._before, self._run
        if before is None or run is None:
            return
        confidence, glimpse = run.early
        self._moments.add(
            Moment(
                timestamp_s=run.begin_s,
                scene=self._scene,
                track_id=self._track_id,
                before=before.label,
                after=run.label,
                seen_before=before.late[1],
                seen_after=glimpse,
                confidence=confidence,
                held_s=min(before.seconds, run.seconds),
            )
        )
