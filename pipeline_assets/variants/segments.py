"""Times in labels, kept true while sound or video is stretched, cut open and joined. Speech and video share them.

Labels hold `{"segments": [{"start_s": 0.1, "end_s": 0.5, "text": "one"}]}`: what is said (or seen) from when to when, in
seconds from the clip's start. A segment's further keys are kept as they are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline_assets.errors import UnfitParent

Segment = Mapping[str, Any]
Segments = tuple[Segment, ...]

TOLERANCE_S = 0.001
"""By how much a segment may end after its clip: labels are often rounded."""


def of_labels(labels: Mapping[str, Any], duration_s: float) -> Segments:
    """The segments of a clip's labels, none if it has none. Raises UnfitParent if one can't be of this clip."""
    found = labels.get("segments", [])
    if not isinstance(found, Sequence) or not all(isinstance(segment, Mapping) for segment in found):
        raise UnfitParent("bad_labels", "segments are a list of {start_s, end_s, text}")
    if wrong := problems(found, duration_s):
        raise UnfitParent("bad_labels", wrong[0])
    return tuple(_at(segment, min(segment["start_s"], duration_s), min(segment["end_s"], duration_s)) for segment in found)


def problems(segments: Iterable[Segment], duration_s: float) -> list[str]:
    """What is wrong with segments of a clip of this duration, in sentences."""
    wrong = []
    for number, segment in enumerate(segments):
        start: Any = segment.get("start_s")
        end: Any = segment.get("end_s")
        if not _is_time(start) or not _is_time(end):
            wrong.append(f"segment {number} has no start_s and end_s in seconds")
        elif not 0 <= start <= end <= duration_s + TOLERANCE_S:
            wrong.append(f"segment {number} is from {start:.3f} s to {end:.3f} s, in a clip of {duration_s:.3f} s")
    return wrong


def faster(segments: Segments, factor: float) -> Segments:
    """Where segments are after the clip was played `factor` times as fast."""
    return tuple(_at(segment, segment["start_s"] / factor, segment["end_s"] / factor) for segment in segments)


def later(segments: Segments, by_s: float) -> Segments:
    """Where segments are after something of this length was put before the clip."""
    return tuple(_at(segment, segment["start_s"] + by_s, segment["end_s"] + by_s) for segment in segments)


def opened(segments: Segments, at_s: float, by_s: float) -> Segments:
    """Where segments are after the clip was opened at a place: one that lies across it holds the gap and ends later."""
    return tuple(
        _at(
            segment,
            segment["start_s"] + (by_s if segment["start_s"] >= at_s else 0),
            segment["end_s"] + (by_s if segment["end_s"] > at_s else 0),
        )
        for segment in segments
    )


def together(*several: Segments) -> Segments:
    """Segments of several clips that play at once or one after the other, by their start."""
    return tuple(sorted((segment for segments in several for segment in segments), key=lambda segment: segment["start_s"]))


def as_labels(labels: Mapping[str, Any], segments: Segments) -> dict[str, Any]:
    """A clip's labels with these segments. Without segments nothing is added."""
    kept = {name: value for name, value in labels.items() if name != "segments"}
    return kept | ({"segments": [dict(segment) for segment in segments]} if segments or "segments" in labels else {})


def _at(segment: Segment, start_s: float, end_s: float) -> Segment:
    """A segment moved; one of no length at an opened place must not end before it starts."""
    return {**segment, "start_s": float(start_s), "end_s": float(max(start_s, end_s))}


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
