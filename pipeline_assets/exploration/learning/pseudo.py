"""Pseudo-labels: predictions on unlabelled items as further labels, held against training without them. Pure; no torch.

By a probe's own sure predictions (Sohn et al. 2020, "FixMatch", on cached embeddings: the prediction on an item, where its
probability passes a threshold, is the target for the item's variants), or by labels that spread to near items.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_assets.exploration.learning.few_labels import Doubles, Flags, Floats, Ints, Probe, out_of_fold, probe, spread

THRESHOLD = 0.8
ROUNDS = 3
FOLDS = 3


@dataclass(frozen=True, eq=False)
class Items:
    """Items and variants of them. originals: (N, D); variants: V arrays (N, D) of the same items, V may be 0."""

    originals: Floats
    variants: Sequence[Floats] = ()

    def rows(self, chosen: Ints) -> "Items":
        """Some of the items."""
        return Items(self.originals[chosen], [views[chosen] for views in self.variants])


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a probe says of items. labels: (N,); probabilities: (N,) of these labels; is_sure: (N,)."""

    labels: Ints
    probabilities: Doubles
    is_sure: Flags


def pseudo_labels(teacher: Probe, items: Items, threshold: float, *, is_consistent: bool) -> PseudoLabels:
    """The most probable class of each item; sure where its probability is at least `threshold`.

    is_consistent: all variants must have the same most probable class, too.
    """
    found = teacher.probabilities(items.originals)
    labels = found.argmax(axis=1).astype(np.int64)
    highest = found.max(axis=1)
    is_sure = highest >= threshold
    for views in items.variants if is_consistent else ():
        is_sure &= teacher.probabilities(views).argmax(axis=1) == labels
    return PseudoLabels(labels, highest, is_sure)


def supervised(items: Items, labels: Ints, classes: int, *, with_variants: bool = False) -> Probe:
    """A probe of labelled items alone, or with their variants, which share the item's weight of 1."""
    views = [items.originals, *(items.variants if with_variants else ())]
    return probe(np.concatenate(views), *_each(labels, 1.0, len(views)), classes=classes)


def self_trained(
    labelled: Items,
    labels: Ints,
    unlabelled: Items,
    classes: int,
    *,
    is_consistent: bool,
    threshold: float = THRESHOLD,
    rounds: int = ROUNDS,
) -> Probe:
    """A probe of labels and of its own sure pseudo-labels, chosen anew each round.

    is_consistent: with variants, of labelled items and as what is learned of sure ones; without, of the originals alone.
    All unlabelled items together would weigh as much as all labels. Without a sure one it is the supervised probe.
    """
    student = supervised(labelled, labels, classes, with_variants=is_consistent)
    own = [labelled.originals, *(labelled.variants if is_consistent else ())]
    known, weights = _each(labels, 1.0, len(own))
    for _ in range(rounds):
        found = pseudo_labels(student, unlabelled, threshold, is_consistent=is_consistent)
        if not found.is_sure.any():
            return student
        sure = unlabelled.rows(np.flatnonzero(found.is_sure))
        others = list(sure.variants) if is_consistent and sure.variants else [sure.originals]
        weight = len(labels) / len(unlabelled.originals)
        guessed, guessed_weights = _each(found.labels[found.is_sure], weight, len(others))
        student = probe(
            np.concatenate([*own, *others]),
            np.concatenate([known, guessed]),
            np.concatenate([weights, guessed_weights]),
            classes=classes,
        )
    return student


def spread_labels(labelled: Items, labels: Ints, unlabelled: Items, classes: int) -> PseudoLabels:
    """What labels say that spread to near items; sure where any label reaches the item, whatever its probability."""
    found = spread(labelled.originals, labels, unlabelled.originals, unlabelled.originals, classes)
    highest = found.max(axis=1)
    return PseudoLabels(found.argmax(axis=1).astype(np.int64), highest, highest > found.min(axis=1))


def taught_by_spreading(labelled: Items, labels: Ints, unlabelled: Items, classes: int) -> Probe:
    """A probe of labels, and of spread ones, which together weigh as much as all labels."""
    if not len(unlabelled.originals):
        return supervised(labelled, labels, classes)
    found = spread_labels(labelled, labels, unlabelled, classes)
    guessed = found.labels[found.is_sure]
    weights = np.concatenate([np.ones(len(labels)), np.full(len(guessed), len(labels) / max(len(guessed), 1))])
    rows = np.concatenate([labelled.originals, unlabelled.originals[found.is_sure]])
    return probe(rows, np.concatenate([labels, guessed]), weights, classes=classes)


def _each(labels: Ints, weight: float, views: int) -> tuple[Ints, Doubles]:
    """The labels and weights of items' views, one view after another: those of an item have `weight` together."""
    return np.tile(labels, views), np.full(len(labels) * views, weight / views)


@dataclass(frozen=True)
class MeasuredGain:
    """Accuracy with pseudo-labels less without, on held-out labelled items, with 95 % bounds. items: independent ones."""

    difference: float
    low: float
    high: float
    items: int

    @property
    def sign(self) -> str:
        """`+` or `-` where the bounds leave out 0, else `?`."""
        return "+" if self.low > 0 else "-" if self.high < 0 else "?"


def measured_gain(
    labelled: Items, labels: Ints, families: Ints, unlabelled: Items, classes: int, seed: int, folds: int = FOLDS
) -> MeasuredGain | None:
    """What spread labels bring to a probe, on labelled items of folds in turn; None with fewer families than two.

    families: (N,): items of one are in one fold, so that none is tested on its relative, and they count as one item
    together: what twenty copies of a picture gain is known from one picture.
    """
    _, family, sizes = np.unique(families, return_inverse=True, return_counts=True)
    folds = min(folds, len(sizes))
    if folds < 2:
        return None
    fold = out_of_fold(family, folds, np.random.default_rng(seed))
    better = np.zeros(len(labels), np.int64)
    for number in range(folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        known, asked = labelled.rows(train), labelled.originals[test]
        without = supervised(known, labels[train], classes)
        taught = taught_by_spreading(known, labels[train], unlabelled, classes)
        right, right_without = (one.probabilities(asked).argmax(axis=1) == labels[test] for one in (taught, without))
        better[test] = right.astype(np.int64) - right_without.astype(np.int64)
    share = 1 / sizes[family]
    return paired(float(share[better > 0].sum()), float(share[better < 0].sum()), len(sizes))


def paired(won: float, lost: float, items: int) -> MeasuredGain:
    """The difference of two accuracies on the same items. won, lost: items that only the one or the other has right.

    An item of several rows may be won in part, which makes the bounds only wider than they need be.

    Source of the bounds: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions".
    """
    total, first, second = items + 2, won + 0.5, lost + 0.5
    middle = (first - second) / total
    half = 1.96 * math.sqrt(first + second - (first - second) ** 2 / total) / total
    return MeasuredGain((won - lost) / items, middle - half, middle + half, items)
