"""Which answer is right, of those that can only be equal or not: majority, and one-coin EM. Pure.

What lives here: arrays of codes. What does not: how answers of a kind become codes (`ballots.py`). All sums run in the order
of items and annotators, so that the order of rows does not matter.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline_assets.labeling.consensus.agreement import Floats, Ints, totals

Bools = npt.NDArray[np.bool_]

STRENGTH = 12.0
"""Of the prior that annotators share: as many answers of the mean accuracy are added to each one's.

With 4, three votes an item and 40 % of random annotators, those who agree by chance outvote the others, and the majority is
better. 12 is the least that keeps every draw of `benchmarks.labels_consensus` within 0.002 of the majority or above it.
"""
ROUNDS, TOLERANCE = 60, 1e-5
BOUNDS = 0.02, 0.98
"""Of an estimated accuracy: no annotator is sure, and none is surely wrong."""
MIN_ANSWERS, MIN_ANNOTATORS = 2, 3
"""What an own accuracy needs: answers, and annotators that overlap. Of two who disagree, nobody can say who is wrong."""
DISPUTED = 0.35
"""A conflict: the second answer has this share of the weight of both. Three against two have it, two against one not."""
TIE = 1e-9


@dataclass(frozen=True)
class Votes:
    """One answer each of an annotator to an item, sorted by item and annotator; nobody answers an item twice.

    item, annotator, answer: (n,) codes below `items`, `annotators`, `answers`. choices: how many answers an item can have.
    known: (items,) the code of the gold answer, or -1. right: (n,) 1.0 or 0.0 by gold, NaN where there is none.
    """

    item: Ints
    annotator: Ints
    answer: Ints
    items: int
    annotators: int
    answers: int
    choices: int
    known: Ints
    right: Floats

    @property
    def size(self) -> Ints:
        """(items,) votes on each."""
        return np.bincount(self.item, minlength=self.items)


@dataclass(frozen=True)
class Accuracies:
    """How often annotators are right. value: (annotators,); mean: of all answers; both NaN where nothing tells.

    is_own: (annotators,) whether the value comes from the annotator's own answers; it is the mean of all otherwise.
    """

    value: Floats
    mean: float
    is_own: Bools


@dataclass(frozen=True)
class Answers:
    """What items are answered with, (items,) each.

    answer: a code; -1 without votes and for a tie. confidence: probability that it is right; of the best answer of a tie;
    NaN where no accuracy is known. fell_back: majority, because no own accuracy is known. warnings: sentences.
    """

    answer: Ints
    confidence: Floats
    is_disputed: Bools
    fell_back: Bools
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Pairs:
    """Distinct pairs of item and answer, sorted. vote: (n,) the pair of each vote; item, answer: (pairs,)."""

    vote: Ints
    item: Ints
    answer: Ints
    starts: Ints
    unvoted: Floats
    """(items,) answers that nobody gave."""


def one_coin(votes: Votes, strength: float = STRENGTH) -> Accuracies:
    """Accuracies by expectation maximisation: an annotator is right with one probability, wrong answers are alike.

    Accuracies have a beta prior with the mean of all answers and this strength. An item with one vote and no gold tells
    nothing: it would agree with itself.
    """
    pairs, size, is_known = _pairs(votes), votes.size, ~np.isnan(votes.right)
    tells = is_known | (size[votes.item] > 1)
    who = votes.annotator[tells]
    told = np.bincount(who, minlength=votes.annotators)
    if not len(who):
        nothing = np.full(votes.annotators, np.nan)
        return Accuracies(nothing, float("nan"), np.zeros(votes.annotators, np.bool_))
    is_own = _is_identified(votes, tells, is_known) & (told >= MIN_ANSWERS)
    agreement = np.bincount(pairs.vote)[pairs.vote] / size[votes.item]
    for _ in range(ROUNDS):
        is_right = np.where(is_known, votes.right, agreement)[tells]
        mean = float(np.clip(is_right.mean(), *BOUNDS))
        own = (totals(who, is_right, votes.annotators) + strength * mean) / (told + strength)
        value = np.clip(np.where(is_own, own, mean), *BOUNDS)
        weights = _log_odds(value, votes.choices)[votes.annotator]
        scores = totals(pairs.vote, weights, len(pairs.item))
        before, agreement = agreement, _normalised(scores, pairs)[pairs.vote]
        if np.abs(agreement - before).max() < TOLERANCE:
            break
    return Accuracies(value, mean, is_own)


def answers_given(votes: Votes, accuracies: Accuracies) -> Answers:
    """The most probable answer of each item by known accuracies: one expectation step of the one-coin model.

    An annotator without accuracy gets the mean. Items without an own accuracy among their annotators fall back to majority.
    Gold answers are what gold says.
    """
    pairs = _pairs(votes)
    is_own = totals(votes.item, accuracies.is_own[votes.annotator], votes.items) > 0
    # Annotators who are all alike make a majority of it; any accuracy above chance does, where none is known.
    even = accuracies.mean if accuracies.mean > 1 / votes.choices else max(0.75, 1.5 / votes.choices)
    value = np.where(np.isnan(accuracies.value), even, accuracies.value)
    weights = np.where(is_own[votes.item], value[votes.annotator], even)
    scores = totals(pairs.vote, _log_odds(weights, votes.choices), len(pairs.item))
    given = _best(votes, pairs, _normalised(scores, pairs), scores)
    confidence = np.where(is_own | ~np.isnan(accuracies.mean), given.confidence, np.nan)
    return with_gold(votes, Answers(given.answer, confidence, given.is_disputed, ~is_own))


def majority(votes: Votes) -> Answers:
    """The answer of most; its share as confidence. A tie has no answer."""
    pairs = _pairs(votes)
    scores = np.bincount(pairs.vote, minlength=len(pairs.item)).astype(np.float64)
    given = _best(votes, pairs, scores / np.maximum(votes.size, 1)[pairs.item], scores)
    return with_gold(votes, given)


def _pairs(votes: Votes) -> _Pairs:
    keys, vote = np.unique(votes.item * votes.answers + votes.answer, return_inverse=True)
    item, answer = np.divmod(keys, max(votes.answers, 1))
    starts = np.flatnonzero(np.diff(item, prepend=-1))
    unvoted = np.maximum(votes.choices - np.bincount(item, minlength=votes.items), 0).astype(np.float64)
    return _Pairs(vote, item, answer, starts, unvoted)


def _log_odds(accuracy: Floats, choices: int) -> Floats:
    """What a vote of this accuracy adds to the score of its answer; an answer without votes has the score 0."""
    clipped = np.clip(accuracy, *BOUNDS)
    return np.log(clipped * (choices - 1) / (1 - clipped))


def _normalised(scores: Floats, pairs: _Pairs) -> Floats:
    """(pairs,) The probability that a pair's answer is right; classes are alike beforehand."""
    highest = np.zeros(len(pairs.unvoted))
    if len(scores):
        highest[pairs.item[pairs.starts]] = np.maximum(np.maximum.reduceat(scores, pairs.starts), 0)
    shares = np.exp(scores - highest[pairs.item])
    total = totals(pairs.item, shares, len(highest)) + pairs.unvoted * np.exp(-highest)
    return shares / total[pairs.item]


def _best(votes: Votes, pairs: _Pairs, probability: Floats, scores: Floats) -> Answers:
    """Each item's best answer, none where two are as good. scores: (pairs,) by which the second is compared."""
    answer = np.full(votes.items, -1, np.int64)
    confidence, disputed = np.full(votes.items, np.nan), np.zeros(votes.items, np.bool_)
    if len(pairs.item):
        order = np.lexsort((pairs.answer, -probability, pairs.item))
        first = order[pairs.starts]
        has_second = np.diff(np.append(pairs.starts, len(order))) > 1
        second = order[np.minimum(pairs.starts + 1, len(order) - 1)]
        is_tied = has_second & (probability[first] - probability[second] < TIE)
        items = pairs.item[pairs.starts]
        answer[items] = np.where(is_tied, -1, pairs.answer[first])
        confidence[items] = probability[first]
        for_first, for_second = np.maximum(scores[first], 0), np.where(has_second, np.maximum(scores[second], 0), 0)
        disputed[items] = is_tied | (for_second > 0) & (for_second >= DISPUTED * (for_first + for_second) - TIE)
    return Answers(answer, confidence, disputed, np.zeros(votes.items, np.bool_))


def with_gold(votes: Votes, given: Answers) -> Answers:
    """Gold's answers in place of the annotators'; no answer where gold only says that all votes are wrong."""
    is_known = votes.known >= 0
    is_wrong = np.zeros(votes.items, np.bool_)
    is_wrong[votes.item[votes.right == 0]] = True
    is_refuted = is_wrong & ~is_known
    return Answers(
        np.where(is_known, votes.known, np.where(is_refuted, -1, given.answer)),
        np.where(is_known, 1.0, np.where(is_refuted, np.nan, given.confidence)),
        np.where(is_known, False, given.is_disputed | is_refuted),
        given.fell_back & ~is_known,
        given.warnings,
    )


def _is_identified(votes: Votes, tells: Bools, is_known: Bools) -> Bools:
    """(annotators,) Whether accuracies can be told apart: three overlap, directly or by others, or gold is among them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = votes.annotators + votes.items
    edges = (np.ones(int(tells.sum())), (votes.annotator[tells], votes.annotators + votes.item[tells]))
    _, group = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    of_annotator = group[: votes.annotators]
    has_gold = np.zeros(nodes, np.bool_)
    has_gold[group[votes.annotator[is_known]]] = True
    is_large = np.bincount(of_annotator, minlength=nodes) >= MIN_ANNOTATORS
    result: Bools = (has_gold | is_large)[of_annotator]
    return result
