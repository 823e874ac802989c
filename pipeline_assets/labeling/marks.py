"""Validates the marks of labels against their upload or title, each by itself: an invalid one does not affect others.

A mark is a box, a mask, a point, a segment or a span. Pure.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import boxes, masks, points, segments
from pipeline_assets.labeling.label_json import Labels
from pipeline_assets.variants.text import words

TOLERANCE_PX = 1.0
"""How far a box or a mask may extend beyond its photo: tools round."""
MAX_LISTED_FAULTS = 20
"""Limit of listed faults of one item's labels; all are counted."""


@dataclass(frozen=True)
class Upload:
    """Facts of an upload. None: it has no pixels, or no duration."""

    media_type: str | None
    width_px: int | None
    height_px: int | None
    duration_s: float | None


def of_upload(labels: Labels, upload: Upload) -> tuple[Labels, list[str]]:
    """The labels with their valid marks, and the faults of the others, as sentences.

    Raises UnfitParent(bad_labels) for marks that are no list, and if no mark is valid.
    """
    return _fitting(
        labels,
        {
            "boxes": lambda box: _on_photo(boxes.read({"boxes": [box]})[0].bounds, "a box", upload),
            "masks": lambda mask: _of_photo(masks.read({"masks": [mask]})[0], "a mask", upload),
            "points": lambda point: _of_photo(points.read({"points": [point]})[0], "a point", upload),
            "segments": lambda segment: _in_time(segment, upload),
        },
    )


def of_title(labels: Labels, title: str) -> tuple[Labels, list[str]]:
    """As `of_upload`, for spans of a title."""
    return _fitting(labels, {"spans": lambda span: words.of_labels(title, {"spans": [span]})})


def off_photo(bounds: tuple[float, float, float, float], width: int, height: int) -> bool:
    """Whether left, top, right, bottom extend beyond a photo by more than TOLERANCE_PX."""
    left, top, right, bottom = bounds
    return min(left, top, width - right, height - bottom) < -TOLERANCE_PX


def fault_text(faults: list[str]) -> str:
    """Faults as one text."""
    suffix = f"; and {len(faults) - MAX_LISTED_FAULTS:,} more" if len(faults) > MAX_LISTED_FAULTS else ""
    return "; ".join(faults[:MAX_LISTED_FAULTS]) + suffix


def _fitting(labels: Labels, judges: Mapping[str, Callable[[Any], object]]) -> tuple[Labels, list[str]]:
    valid_labels, faults, valid_count = dict(labels), list[str](), 0
    for name, judge in judges.items():
        marks = labels.get(name)
        if marks is None:
            continue
        if not isinstance(marks, list):
            raise UnfitParent("bad_labels", f"{name} are a list, not {marks!r:.60}")
        valid_labels[name] = []
        for number, mark in enumerate(marks):
            try:
                judge(mark)
                valid_labels[name].append(mark)
            except UnfitParent as unfit:
                faults.append(f"{name}[{number}]: {unfit.detail}")
        valid_count += len(valid_labels[name])
    if faults and not valid_count:
        raise UnfitParent("bad_labels", fault_text(faults))
    return valid_labels, faults


def _on_photo(bounds: tuple[float, float, float, float], kind: str, upload: Upload) -> None:
    if upload.width_px is None or upload.height_px is None:
        raise UnfitParent("bad_labels", f"{kind} on {upload.media_type}, which has no pixels")
    if off_photo(bounds, upload.width_px, upload.height_px):
        left, top, right, bottom = bounds
        place = f"from {left:g}, {top:g} to {right:g}, {bottom:g}"
        raise UnfitParent("bad_labels", f"{kind} is {place}, on {upload.width_px} x {upload.height_px} pixels")


def _of_photo(mark: masks.Mask | points.Point, kind: str, upload: Upload) -> None:
    if upload.duration_s is not None:
        raise UnfitParent("bad_labels", f"{kind} of {upload.media_type}: masks and points are of photos, and follow no clip")
    _on_photo(mark.bounds, kind, upload)


def _in_time(segment: Any, upload: Upload) -> None:
    segments.of_labels({"segments": [segment]}, math.inf if upload.duration_s is None else upload.duration_s)
    if upload.duration_s is None:
        raise UnfitParent("bad_labels", f"a segment of {upload.media_type}, which has no duration")
