"""Segments of labels, adjusted when sound or video is stretched, cut and joined. Shared by speech and video.

Labels have `{"segments": [{"start_s": 0.1, "end_s": 0.5, "text": "one"}]}`: what is heard or seen between two times, in
seconds from the clip's start. A segment's other keys are kept.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline_assets.errors import UnfitParent

Segment = Mapping[str, Any]
Segments = tuple[Segment, ...]

TOLERANCE_S = 0.001
"""How far a segment may extend beyond its clip: labels are often rounded."""


def of_labels(labels: Mapping[str, Any], duration_s: float) -> Segments:
    """The segments of a clip's labels; empty without segments. Raises UnfitParent if one does not fit this clip."""
    entries = labels.get("segments")
    segments_read = [] if entries is None else entries
    if not isinstance(segments_read, list | tuple) or not all(isinstance(segment, Mapping) for segment in segments_read):
        raise UnfitParent("bad_labels", "segments are a list of {start_s, end_s, text}")
    if faults := problems(segments_read, duration_s):
        raise UnfitParent("bad_labels", faults[0])
    return tuple(
        _at(segment, min(segment["start_s"], duration_s), min(segment["end_s"], duration_s)) for segment in segments_read
    )


def problems(segments: Iterable[Segment], duration_s: float) -> list[str]:
    """Faults of segments of a clip of this duration, as sentences."""
    faults = []
    for number, segment in enumerate(segments):
        start: Any = segment.get("start_s")
        end: Any = segment.get("end_s")
        if not _is_time(start) or not _is_time(end):
            faults.append(f"segment {number} has no start_s and end_s in seconds")
        elif not 0 <= start <= end <= duration_s + TOLERANCE_S:
            faults.append(f"segment {number} is from {start:.3f} s to {end:.3f} s, in a clip of {duration_s:.3f} s")
    return faults


def faster(segments: Segments, factor: float) -> Segments:
    """Segments of the clip played `factor` times as fast."""
    return tuple(_at(segment, segment["start_s"] / factor, segment["end_s"] / factor) for segment in segments)


def shifted(segments: Segments, by_s: float) -> Segments:
    """Segments of the clip delayed by this time."""
    return tuple(_at(segment, segment["start_s"] + by_s, segment["end_s"] + by_s) for segment in segments)


def with_gap(segments: Segments, at_s: float, by_s: float) -> Segments:
    """Segments of the clip with a gap inserted at a time: a segment across it contains the gap."""
    return tuple(
        _at(
            segment,
            segment["start_s"] + (by_s if segment["start_s"] >= at_s else 0),
            segment["end_s"] + (by_s if segment["end_s"] > at_s else 0),
        )
        for segment in segments
    )


def merged(*clips: Segments) -> Segments:
    """Segments of several clips in one timeline, sorted by start."""
    return tuple(sorted((segment for segments in clips for segment in segments), key=lambda segment: segment["start_s"]))


def as_labels(labels: Mapping[str, Any], segments: Segments) -> dict[str, Any]:
    """A clip's labels with these segments; without segments, no key is added."""
    other_labels = {name: value for name, value in labels.items() if name != "segments"}
    return other_labels | ({"segments": [dict(segment) for segment in segments]} if segments or "segments" in labels else {})


def _at(segment: Segment, start_s: float, end_s: float) -> Segment:
    """A moved segment; an empty one at a gap must not end before it starts."""
    return {**segment, "start_s": float(start_s), "end_s": float(max(start_s, end_s))}


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
