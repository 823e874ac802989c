"""What several annotators marked alike: marks that overlap enough are one, and most annotators decide. Pure.

What lives here: the same for every kind of mark. What does not: how two marks overlap, and what is the middle of some
(`regions.py`, `intervals.py`).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline_assets.labeling.consensus.agreement import Floats, Ints
from pipeline_assets.labeling.consensus.choices import Bools

MAX_MARKS = 50_000
"""On one item, of all annotators."""
MAX_CANDIDATES, MAX_PAIRS = 50_000_000, 500_000
"""Pairs of marks on one item that share columns or rows, and that overlap enough; beyond either, an item is refused."""
KEPT = 0.5
"""Of the weight of annotators: a mark that as many drew is kept."""
_CHUNK = 1 << 20
_TIE = 1e-9
Mark = Mapping[str, Any]


class TooMany(Exception):
    """More marks on one item than can be compared; the message says how many."""


class Shapes(Protocol):
    """Marks of one kind, in a fixed order. bounds: (n, 4) left, top, right, bottom, which overlap if marks do."""

    bounds: Floats

    def overlap(self, left: Ints, right: Ints) -> Bools:
        """Whether marks overlap enough to be one, as far as bounds tell: a cheap test before `similarity`."""

    def similarity(self, left: Ints, right: Ints) -> Floats:
        """How far the marks of each pair are one, up to 1; below `least` they are not."""

    def merged(self, members: Sequence[int], weights: Floats) -> dict[str, Any]:
        """The mark in the middle of some, without its label."""

    @property
    def least(self) -> float:
        """The similarity from which on marks are one."""


@dataclass(frozen=True)
class Cluster:
    """Marks that are one, at most one of an annotator. members: their places; share: of the weight of all annotators.

    label: of most; label_share: of the weight of all annotators, who drew the mark with this label.
    """

    members: tuple[int, ...]
    share: float
    label: str
    label_share: float
    is_tied: bool


def clusters(shapes: Shapes, owners: Sequence[int], labels: Sequence[str], weights: Floats) -> list[Cluster]:
    """Marks that are one, in the order of their first members. Raises TooMany.

    owners: the annotator of each mark; weights: (annotators,). The most similar pairs are joined first, those with one label
    before those with two.
    """
    left, right, similarity = _pairs(shapes, np.asarray(owners, np.int64))
    _, label_codes = np.unique(np.asarray(labels, dtype=object), return_inverse=True) if len(labels) else ([], np.empty(0))
    differs = label_codes[left] != label_codes[right]
    members = {place: [place] for place in range(len(owners))}
    drawn_by = {place: {owner} for place, owner in enumerate(owners)}
    root = list(range(len(owners)))
    for at in np.lexsort((right, left, -similarity, differs)).tolist():
        first, second = sorted((root[left[at]], root[right[at]]))
        if first == second or drawn_by[first] & drawn_by[second]:
            continue
        for member in members[second]:
            root[member] = first
        members[first] += members.pop(second)
        drawn_by[first] |= drawn_by.pop(second)
    return [_cluster(sorted(members[place]), owners, labels, weights) for place in sorted(members)]


def kept(found: Sequence[Cluster], shapes: Shapes, owners: Sequence[int], weights: Floats) -> list[dict[str, Any]]:
    """The marks that at least half of the annotators drew, by weight."""
    return [
        {**shapes.merged(one.members, weights[[owners[member] for member in one.members]]), "label": one.label}
        for one in found
        if one.share >= KEPT - _TIE
    ]


def confidence(found: Sequence[Cluster]) -> float:
    """The mean share of annotators that agree with what becomes of a mark: kept with its label, or left out."""
    shares = [one.label_share if one.share >= KEPT - _TIE else 1 - one.share for one in found]
    return float(np.mean(shares)) if shares else 1.0


def shared(found: Sequence[Cluster], owners: Sequence[int], labels: Sequence[str], annotators: int) -> Floats:
    """(annotators, annotators) Twice the marks with one label that two share, over all marks of both; 1 where none has any.

    Also called the F1 score of one by the other.
    """
    groups = [
        [owners[member] for member in one.members if labels[member] == label]
        for one in found
        for label in sorted({labels[member] for member in one.members})
    ]
    common = np.zeros((annotators, annotators))
    for group in groups:
        common[np.ix_(group, group)] += 1
    count = np.bincount(np.asarray(owners, np.int64), minlength=annotators).astype(np.float64)
    both = count[:, None] + count[None]
    return np.where(both > 0, 2 * common / np.where(both > 0, both, 1), 1.0)


def without_place(marks: Sequence[Mark], place: Sequence[str]) -> dict[str, Any]:
    """The further keys on which all marks agree."""
    first, *others = marks
    return {
        name: value
        for name, value in first.items()
        if name not in (*place, "label") and all(name in other and other[name] == value for other in others)
    }


def medoid(shapes: Shapes, members: Sequence[int]) -> int:
    """The member that is most similar to the others; the first of equals."""
    pairs = list(itertools.combinations(range(len(members)), 2))
    if not pairs:
        return members[0]
    first, second = np.array(pairs, np.int64).T
    places = np.array(members, np.int64)
    total = np.zeros(len(members))
    similarity = shapes.similarity(places[first], places[second])
    np.add.at(total, first, similarity)
    np.add.at(total, second, similarity)
    return members[int(np.argmax(np.round(total, 9)))]


def _cluster(members: Sequence[int], owners: Sequence[int], labels: Sequence[str], weights: Floats) -> Cluster:
    votes: dict[str, float] = defaultdict(float)
    for member in members:
        votes[labels[member]] += float(weights[owners[member]])
    total, drawn = float(weights.sum()), sum(votes.values())
    label = min(votes, key=lambda name: (-round(votes[name], 9), name))
    others = [weight for name, weight in votes.items() if name != label]
    is_tied = abs(drawn / total - KEPT) <= _TIE or (bool(others) and votes[label] - max(others) <= _TIE)
    return Cluster(tuple(members), drawn / total, label, votes[label] / total, is_tied)


def _pairs(shapes: Shapes, owners: Ints) -> tuple[Ints, Ints, Floats]:
    """Pairs of marks of different annotators that are similar enough. Raises TooMany."""
    if len(owners) > MAX_MARKS:
        raise TooMany(f"{len(owners):,} marks on one item; at most {MAX_MARKS:,} are compared")
    lefts, rights, similarities, count = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)], 0
    for left, right in _candidates(shapes.bounds):
        differs = owners[left] != owners[right]
        left, right = left[differs], right[differs]
        near = shapes.overlap(left, right)
        left, right = left[near], right[near]
        count += len(left)
        if count > MAX_PAIRS:
            raise TooMany(f"more than {MAX_PAIRS:,} pairs of marks on one item overlap")
        similarity = shapes.similarity(left, right)
        enough = similarity >= shapes.least - _TIE
        lefts.append(left[enough])
        rights.append(right[enough])
        similarities.append(np.round(similarity[enough], 9))
    return np.concatenate(lefts), np.concatenate(rights), np.concatenate(similarities)


def _candidates(bounds: Floats) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of marks whose bounds share columns, or rows if these are fewer: some at a time. Raises TooMany."""
    sweeps = [_sweep(bounds[:, axis], bounds[:, axis + 2]) for axis in (0, 1)]
    order, following = min(sweeps, key=lambda sweep: int(sweep[1].sum()))
    total = np.cumsum(following)
    if len(total) and total[-1] > MAX_CANDIDATES:
        raise TooMany(f"{total[-1]:,} pairs of marks on one item share columns; at most {MAX_CANDIDATES:,} are compared")
    begin = 0
    while begin < len(order):
        done = total[begin - 1] if begin else 0
        end = max(int(np.searchsorted(total, done + _CHUNK, side="right")), begin + 1)
        counts = following[begin:end]
        first = np.repeat(np.arange(begin, end), counts)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        pair = np.sort(np.stack([order[first], order[first + 1 + offset]]), axis=0)
        touches = (
            np.maximum(bounds[pair[0], :2], bounds[pair[1], :2]) <= np.minimum(bounds[pair[0], 2:], bounds[pair[1], 2:])
        ).all(1)
        yield pair[0][touches], pair[1][touches]
        begin = end


def _sweep(low: Floats, high: Floats) -> tuple[Ints, npt.NDArray[np.int64]]:
    """Marks by their low end, and how many of those that follow begin before a mark ends."""
    order = np.argsort(low, kind="stable")
    until = np.searchsorted(low[order], high[order], side="right")
    return order, np.maximum(until - np.arange(len(order)) - 1, 0)
