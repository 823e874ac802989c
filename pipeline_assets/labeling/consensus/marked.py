"""What several annotators marked on one item: the marks that most drew, and how far they agree. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline_assets.labeling.campaigns.answer import MARKS
from pipeline_assets.labeling.consensus import clusters
from pipeline_assets.labeling.consensus.agreement import Floats
from pipeline_assets.labeling.consensus.clusters import KEPT, Mark, Shapes, TooMany
from pipeline_assets.labeling.consensus.intervals import Segments, Spans
from pipeline_assets.labeling.consensus.regions import Outlines, Points, of_boxes

SHAPES: Mapping[str, Callable[[Sequence[Mark]], Shapes]] = {
    "boxes": of_boxes,
    "polygons": Outlines,
    "masks": Outlines,
    "points": Points,
    "segments": Segments,
    "spans": Spans,
}
RIGHT = 0.8
"""Of marks that an answer shares with gold, twice over the marks of both: from then on it is right."""


@dataclass(frozen=True)
class Drawing:
    """The answer of one annotator. weight: above 0, as an accuracy; annotators of equal weight count alike."""

    annotator: str
    labels: Mapping[str, Any]
    weight: float = 1.0


@dataclass(frozen=True)
class Marked:
    """What annotators marked alike.

    labels: None if there were too many marks to compare, and `reason` says so. confidence: the mean share of annotators,
    by weight, that agree with what became of a mark; None of a single one. scores: by annotator, the share of marks that the
    answer and the consensus share. agreement: the mean of that share over pairs of annotators; None of a single one.
    """

    labels: dict[str, Any] | None
    confidence: float | None = None
    is_disputed: bool = False
    agreement: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None


def of_item(kind: str, drawings: Sequence[Drawing]) -> Marked:
    """The marks that at least half of the annotators drew, by weight. Each draws once; their order does not matter."""
    drawn = sorted(drawings, key=lambda drawing: drawing.annotator)
    marks = sorted(
        (json.dumps(mark, sort_keys=True), owner)
        for owner, drawing in enumerate(drawn)
        for mark in drawing.labels[MARKS[kind]]
    )
    parsed: list[Mark] = [json.loads(mark) for mark, _ in marks]
    owners, labels = [owner for _, owner in marks], [str(mark["label"]) for mark in parsed]
    weights = np.array([drawing.weight for drawing in drawn], np.float64)
    try:
        shapes = SHAPES[kind](parsed)
        found = clusters.clusters(shapes, owners, labels, weights)
    except TooMany as error:
        return Marked(None, None, True, None, {}, f"{error}.")
    kept = clusters.kept(found, shapes, owners, weights)
    shares = clusters.shared(found, owners, labels, len(drawn))
    pairs = shares[np.triu_indices(len(drawn), 1)]
    return Marked(
        {MARKS[kind]: sorted(kept, key=lambda mark: json.dumps(mark, sort_keys=True))},
        clusters.confidence(found) if len(drawn) > 1 else None,
        any(one.is_tied for one in found),
        float(pairs.mean()) if len(pairs) else None,
        {drawing.annotator: score for drawing, score in zip(drawn, _scores(found, owners, labels, len(drawn)), strict=True)},
    )


def score(kind: str, answer: Mapping[str, Any], truth: Mapping[str, Any]) -> float | None:
    """The share of marks that an answer shares with the truth, twice over the marks of both; None for too many marks."""
    return of_item(kind, [Drawing("answer", answer), Drawing("truth", truth)]).agreement


def _scores(found: Sequence[clusters.Cluster], owners: Sequence[int], labels: Sequence[str], annotators: int) -> list[float]:
    """Each annotator's share of marks with the consensus."""
    count = np.bincount(np.asarray(owners, np.int64), minlength=annotators).astype(np.float64)
    common: Floats = np.zeros(annotators)
    kept = [one for one in found if one.share >= KEPT - 1e-9]
    for one in kept:
        common[[owners[member] for member in one.members if labels[member] == one.label]] += 1
    both = count + len(kept)
    return np.where(both > 0, 2 * common / np.where(both > 0, both, 1), 1.0).tolist()
