"""From votes of labeling functions to labels: majority, weights learned from a development set, or snorkel's model. Pure.

Votes are an (items, functions) array of int16: the number of a class, or ABSTAIN. A label model returns (items, classes)
float64: the probability of each class; rows sum to 1 where a function votes, and are 0 where all abstain.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.errors import MissingExtra
from pipeline_assets.labeling.consensus.quality import wilson
from pipeline_assets.labeling.weak.quality import ABSTAIN, Truth, Votes

Floats = npt.NDArray[np.float64]
LabelModel = Callable[[Votes, Votes, Truth, int], Floats]
"""(votes to label, votes of the development set, its truth, number of classes) -> probabilities."""

Z_95 = 1.96
PRIOR_STRENGTH = 20.0
"""Answers that the prior of a function's accuracy counts as: Beta, around the mean accuracy of all functions."""
BOUNDS = (0.02, 0.98)
"""Accuracies outside are clipped, so that no function decides alone."""
BENEFIT = 0.02
"""A function counts as so much better than chance, or more, unless its Wilson bounds say otherwise: bad luck on a few
answers must not turn its votes round."""
FOLDS = 5
MIN_DEVELOPMENT = 100
"""Items of known truth without which no model is preferred to majority."""
SNORKEL_EPOCHS = 500


class Gain(NamedTuple):
    """What a model answers right of the development set more than majority does, as a share, with its 95 % bounds."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, differences: Floats) -> "Gain":
        """The mean of paired differences, with bounds by the normal distribution."""
        mean = float(differences.mean())
        half = Z_95 * float(differences.std(ddof=1)) / math.sqrt(len(differences))
        return cls(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Labels:
    """class_number: ABSTAIN without a vote, and for a tie; probability: of the class, null as NaN. method: the model used.

    gains: by model that was tried; fell_back: none was surely better, so majority is used.
    """

    class_number: Votes
    probability: Floats
    method: str
    fell_back: bool
    gains: Mapping[str, Gain]


def encode(votes: pl.DataFrame, classes: Sequence[str]) -> Votes:
    """Votes by name of class (columns of String) as an array. A text that is no class abstains."""
    numbers = pl.col(votes.columns).replace_strict(
        list(classes), range(len(classes)), default=ABSTAIN, return_dtype=pl.Int16
    )
    if not votes.width:
        return np.full((votes.height, 0), ABSTAIN, np.int16)
    return votes.select(numbers).to_numpy().reshape(votes.height, votes.width)


def majority(votes: Votes, development: Votes, truth: Truth, classes: int) -> Floats:
    """The share of the votes that each class has. It learns nothing from the development set."""
    counts = _counts(votes, np.ones((votes.shape[1], classes)))
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def weighted(votes: Votes, development: Votes, truth: Truth, classes: int) -> Floats:
    """Votes weighted by the log-odds of each function's accuracy on the development set; before them, classes are alike.

    Functions are taken as independent given the class, and an error as equally likely to be any other class. Source: the
    weights of Nitzan and Paroush 1982, which are optimal under these two assumptions.
    """
    accuracy = accuracies(development, truth, classes)
    weight = np.log(accuracy * max(classes - 1, 1) / (1 - accuracy))
    scores = _counts(votes, np.repeat(weight[:, None], classes, axis=1))
    scores = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    return np.where((votes == ABSTAIN).all(axis=1)[:, None], 0.0, scores / scores.sum(axis=1, keepdims=True))


def snorkel(votes: Votes, development: Votes, truth: Truth, classes: int) -> Floats:
    """Snorkel's LabelModel, fitted to the votes on the development set and its class balance. Raises MissingExtra.

    Source: Ratner et al. 2019, Training Complex Models with Multi-Task Weak Supervision, as in the package snorkel.
    """
    try:
        from snorkel.labeling.model import LabelModel as Snorkel  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtra("the method `snorkel` needs its package: pip install snorkel") from error
    balance = (np.bincount(truth, minlength=classes) + 1.0) / (len(truth) + classes)
    label_model: Any = Snorkel(cardinality=classes, verbose=False)
    label_model.fit(development.astype(np.int64), class_balance=balance, n_epochs=SNORKEL_EPOCHS, seed=0, progress_bar=False)
    probabilities: Floats = label_model.predict_proba(votes.astype(np.int64))
    return np.where((votes == ABSTAIN).all(axis=1)[:, None], 0.0, probabilities)


MODELS: Mapping[str, LabelModel] = {"weighted": weighted, "snorkel": snorkel}
"""The models that are tried against majority, by name."""


def label(
    votes: Votes, development: Votes, truth: Truth, classes: int, models: Mapping[str, LabelModel] | None = None
) -> Labels:
    """Label items by the model that answers most of the development set right, or by majority unless it surely beats that.

    Surely: the lower bound of its gain is above 0.

    development: (known items, functions), truth: (known items,) their classes. A model is judged by cross-validation, so
    that none is asked what it was taught; a tie of k classes counts as 1/k right, no vote as wrong. Below MIN_DEVELOPMENT
    known items, no model is tried. models: by default `weighted`.
    """
    tried = {"weighted": weighted} if models is None else models
    enough = len(truth) >= MIN_DEVELOPMENT and votes.shape[1] > 0
    base = correct(majority(development, development, truth, classes), truth) if enough else np.zeros(0)
    gains = {
        name: Gain.of(cross_validated(model, development, truth, classes) - base)
        for name, model in (tried.items() if enough else ())
    }
    best = max(gains, key=lambda name: gains[name].mean, default="")
    fell_back = not best or gains[best].low <= 0
    name, model = ("majority", majority) if fell_back else (best, tried[best])
    class_number, probability = decided(model(votes, development, truth, classes))
    return Labels(class_number, probability, name, fell_back, gains)


def decided(probabilities: Floats) -> tuple[Votes, Floats]:
    """The most probable class of each row, ABSTAIN for a tie or a row of zeros; and its probability, NaN for ABSTAIN."""
    if not probabilities.size:
        return np.full(len(probabilities), ABSTAIN, np.int16), np.full(len(probabilities), np.nan)
    top = probabilities.max(axis=1)
    is_tie = _is_top(probabilities).sum(axis=1) != 1
    best = np.where(is_tie, ABSTAIN, probabilities.argmax(axis=1)).astype(np.int16)
    return best, np.where(is_tie, np.nan, top)


def correct(probabilities: Floats, truth: Truth) -> Floats:
    """1 where the most probable class is the true one, 1/k where it is one of k equally probable ones, else 0."""
    is_top = _is_top(probabilities)
    return np.where(is_top[np.arange(len(truth)), truth], 1 / np.maximum(is_top.sum(axis=1), 1), 0.0)


def cross_validated(model: LabelModel, development: Votes, truth: Truth, classes: int) -> Floats:
    """`correct` of each known item, by the model fitted without the item's fold. Folds are by position."""
    fold = np.arange(len(truth)) % FOLDS
    scores = np.zeros(len(truth))
    for held_out in (fold == number for number in range(FOLDS)):
        if held_out.any():
            found = model(development[held_out], development[~held_out], truth[~held_out], classes)
            scores[held_out] = correct(found, truth[held_out])
    return scores


def accuracies(development: Votes, truth: Truth, classes: int) -> Floats:
    """Accuracy of each function where it votes, smoothed by a Beta prior around the mean accuracy of all; see BENEFIT."""
    voted = development != ABSTAIN
    right = ((development == truth[:, None]) & voted).sum(axis=0)
    answered = voted.sum(axis=0)
    mean = (right.sum() + 1) / (answered.sum() + 2)
    smoothed = (right + PRIOR_STRENGTH * mean) / (answered + PRIOR_STRENGTH)
    highest = [wilson(int(good), int(total)).high for good, total in zip(right, answered, strict=True)]
    is_worse = np.array([bound is not None and bound < 1 / classes for bound in highest], bool)
    return np.clip(np.where(is_worse, smoothed, np.maximum(smoothed, 1 / classes + BENEFIT)), *BOUNDS)


def _counts(votes: Votes, weights: Floats) -> Floats:
    """Sum over functions of (functions, classes) weights, for the class that each votes for."""
    counts = np.zeros((len(votes), weights.shape[1]))
    for column, weight in zip(votes.T, weights, strict=True):
        rows = np.flatnonzero(column != ABSTAIN)
        counts[rows, column[rows]] += weight[column[rows]]
    return counts


def _is_top(probabilities: Floats) -> npt.NDArray[np.bool_]:
    """Whether a class has its row's highest probability, and more than zero."""
    top = probabilities.max(axis=1, keepdims=True, initial=0.0)
    return (probabilities >= top - 1e-12) & (top > 0)
