"""Segments of time and spans of text of several annotators: how far two are one, and which lies in the middle. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline_assets.labeling.consensus.agreement import Floats, Ints
from pipeline_assets.labeling.consensus.choices import Bools
from pipeline_assets.labeling.consensus.clusters import Mark, medoid, without_place

MIN_OVERLAP = 0.5
DECIMALS = 3


class Intervals:
    """Marks from a start to an end. start, end: the names of both."""

    start, end = "start_s", "end_s"

    def __init__(self, marks: Sequence[Mark], least: float = MIN_OVERLAP) -> None:
        self.marks, self.least = marks, least
        start, end = (np.array([mark[name] for mark in marks], np.float64) for name in (self.start, self.end))
        self.bounds: Floats = np.stack([start, np.zeros_like(start), end, np.ones_like(end)], axis=1)

    def overlap(self, left: Ints, right: Ints) -> Bools:
        """As `Shapes` says."""
        return self.similarity(left, right) >= self.least - 1e-9

    def similarity(self, left: Ints, right: Ints) -> Floats:
        """Intersection over union of two intervals."""
        start, end = self.bounds[:, 0], self.bounds[:, 2]
        both = np.maximum(np.minimum(end[left], end[right]) - np.maximum(start[left], start[right]), 0)
        union = (end[left] - start[left]) + (end[right] - start[right]) - both
        return both / np.maximum(union, 1e-300)


class Segments(Intervals):
    """Segments of sound or video. The middle has the medians of starts and ends."""

    def merged(self, members: Sequence[int], weights: Floats) -> dict[str, Any]:
        """To a millisecond."""
        start, _, end, _ = np.round(np.median(self.bounds[list(members)], axis=0), DECIMALS).tolist()
        further = without_place([self.marks[member] for member in members], (self.start, self.end))
        return further | {self.start: start, self.end: end}


class Spans(Intervals):
    """Spans of a text. The middle is one of them, so that its text stays true."""

    start, end = "start", "end"

    def merged(self, members: Sequence[int], weights: Floats) -> dict[str, Any]:
        """The member most similar to the others."""
        return {name: value for name, value in self.marks[medoid(self, members)].items() if name != "label"}
