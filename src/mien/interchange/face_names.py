"""Names of the faces of a video."""

from __future__ import annotations

from collections.abc import Iterable

from mien.video.label_segments import LabelSegment


def face_names(segments: Iterable[LabelSegment]) -> dict[tuple[int, int], str]:
    """Return the name of each face by scene and track: "face 2", with several scenes "scene 1 face 2"."""
    keys = sorted({(segment.scene, segment.track_id) for segment in segments})
    has_scenes = len({scene for scene, _ in keys}) > 1
    return {(scene, track): f"scene {scene} face {track}" if has_scenes else f"face {track}" for scene, track in keys}
