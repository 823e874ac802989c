"""Dawid and Skene's model as the textbook has it: an option for campaigns with many answers of each annotator. Pure."""

import numpy as np

from pipeline_assets.labeling.consensus.agreement import Floats, totals
from pipeline_assets.labeling.consensus.choices import DISPUTED, ROUNDS, TIE, TOLERANCE, Answers, Votes, with_gold

WARNING = (
    "Textbook Dawid-Skene estimates a whole confusion of each annotator: with few answers each, or batches of items that "
    "share no annotators, it turns classes around. Compare it with the majority, or take one-coin."
)


def dawid_skene(votes: Votes, smoothing: float = 0.01) -> Answers:
    """Dawid and Skene's model, with a confusion of its own for each annotator. Answers with a warning.

    Memory: votes x answers, and annotators x answers x answers. Source: Dawid and Skene 1979, Maximum likelihood estimation
    of observer error-rates using the EM algorithm.
    """
    k = max(votes.answers, 1)
    share = np.bincount(votes.item * k + votes.answer, minlength=votes.items * k).reshape(-1, k).astype(np.float64)
    truth = _rows_to_one(share)
    gold = np.flatnonzero(votes.known >= 0)
    cell = votes.annotator * k + votes.answer
    for _ in range(ROUNDS):
        truth[gold] = np.eye(k)[votes.known[gold]]
        seen = [np.bincount(cell, weights=truth[votes.item, c], minlength=votes.annotators * k) for c in range(k)]
        confusion = np.stack(seen, axis=-1).reshape(votes.annotators, k, k) + smoothing
        # (annotator, answer, truth): over answers, the probabilities of one truth add up to one.
        likelihood = np.log(confusion / confusion.sum(1, keepdims=True))[votes.annotator, votes.answer]
        prior = np.log(_rows_to_one(truth.sum(0)[None] + 1e-9))
        scores = prior + np.stack([totals(votes.item, likelihood[:, c], votes.items) for c in range(k)], axis=1)
        before, truth = truth, _rows_to_one(np.exp(scores - scores.max(1, keepdims=True)))
        if np.abs(truth - before).max(initial=0.0) < TOLERANCE:
            break
    ordered = np.sort(truth, axis=1)
    second = ordered[:, -2] if k > 1 else np.zeros(votes.items)
    is_tied = (ordered[:, -1] - second < TIE) | (votes.size == 0)
    answer = np.where(is_tied, -1, truth.argmax(1)).astype(np.int64)
    disputed = second / (ordered[:, -1] + second) >= DISPUTED
    given = Answers(answer, ordered[:, -1], disputed, np.zeros(votes.items, np.bool_), (WARNING,))
    return with_gold(votes, given)


def _rows_to_one(values: Floats) -> Floats:
    total = values.sum(1, keepdims=True)
    return np.where(total > 0, values / np.where(total > 0, total, 1), 1 / values.shape[1])
