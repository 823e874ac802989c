"""Embeddings by random features: their mean and second moments tell two days apart without their rows.

The features of a vector x of length 1 are cos and sin of W x, with W normal of unit variance and of a fixed seed: the inner
product of two vectors' features approximates exp(-|x - y|^2 / 2), so the distance between two means is the maximum mean
discrepancy (MMD) of that kernel. Source: Rahimi and Recht 2007; Gretton et al. 2012.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.exploration.profiles.sketch import Numbers

Floats = npt.NDArray[np.float64]

FREQUENCIES = 32
FEATURES = 2 * FREQUENCIES
DIGITS = 7
"""Decimals of the moments: the last ones depend on the order of sums."""
_UPPER = np.triu_indices(FEATURES)


@dataclass
class Moments:
    """The sums of features of embeddings of one length, and their norms."""

    first: Floats = field(default_factory=lambda: np.zeros(FEATURES))
    second: Floats = field(default_factory=lambda: np.zeros((FEATURES, FEATURES)))
    norms: Numbers = field(default_factory=Numbers)

    def add(self, vectors: Floats, norms: Floats) -> None:
        """Take in finite vectors of positive length, (n, dimension), with their norms, (n,)."""
        features = features_of(vectors / norms[:, None])
        self.first += features.sum(0)
        self.second += features.T @ features
        self.norms.add(norms)

    def values(self) -> list[float]:
        """Mean and upper triangle of the second moments, one list; empty of no embedding."""
        if not self.norms.rows:
            return []
        moments = np.concatenate([self.first, self.second[_UPPER]]) / self.norms.rows
        return moments.round(DIGITS).tolist()


@dataclass
class Embeddings:
    """The embeddings of a day. Those of two lengths are of two models: the more frequent one counts."""

    by_length: dict[int, Moments] = field(default_factory=dict)

    def add(self, lists: pl.Series) -> None:
        """Take in lists without nulls. One with a number that is not finite, or with zeros alone, is no direction."""
        lengths = lists.list.len()
        for length in lengths.filter(lengths > 0).unique():
            values = lists.filter(lengths == length).explode().cast(pl.Float64).fill_null(float("nan")).to_numpy()
            vectors = values.reshape(-1, length)
            norms = np.linalg.norm(vectors, axis=1)
            is_usable = np.isfinite(norms) & (norms > 0)
            if is_usable.any():
                self.by_length.setdefault(length, Moments()).add(vectors[is_usable], norms[is_usable])

    def most(self) -> Moments:
        """The moments of the most frequent length, the smaller one of two."""
        if not self.by_length:
            return Moments()
        return self.by_length[max(self.by_length, key=lambda length: (self.by_length[length].norms.rows, -length))]


def unpacked(values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Mean (FEATURES,) and second moments (FEATURES, FEATURES) from `Moments.values`."""
    flat = np.asarray(values, dtype=np.float64)
    second = np.zeros((FEATURES, FEATURES))
    second[_UPPER] = flat[FEATURES:]
    return flat[:FEATURES], second + np.triu(second, 1).T


def features_of(directions: Floats) -> Floats:
    """Random features of vectors of length 1, (n, d) to (n, FEATURES); each has length 1, too."""
    angles = directions @ _frequencies(directions.shape[1])
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(FREQUENCIES)


@cache
def _frequencies(dimension: int) -> Floats:
    return np.random.default_rng(dimension).standard_normal((dimension, FREQUENCIES))
