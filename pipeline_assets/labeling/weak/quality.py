"""How good labeling functions are: coverage, overlap, conflict, and accuracy on items of known truth. Pure."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.labeling.consensus.quality import wilson

Votes = npt.NDArray[np.int16]
Truth = npt.NDArray[np.int16]
ABSTAIN = -1


def per_function(names: Sequence[str], votes: Votes, development: Votes, truth: Truth) -> pl.DataFrame:
    """One row for each function.

    coverage, overlap, conflict: shares of the items on which it votes; on which another one votes, too; and votes otherwise.
    answers, correct, accuracy: on the development set, where it votes; accuracy_low and accuracy_high: Wilson's 95 % bounds,
    all null without answers.
    """
    voted = votes != ABSTAIN
    others = voted.sum(axis=1, keepdims=True) - voted
    agreeing = _agreeing(votes)
    known = development != ABSTAIN
    answers = known.sum(axis=0)
    right = ((development == truth[:, None]) & known).sum(axis=0)
    bounds = [wilson(int(good), int(total)) for good, total in zip(right, answers, strict=True)]
    items = max(len(votes), 1)
    return pl.DataFrame(
        {
            "function": pl.Series(names, dtype=pl.String),
            "coverage": voted.sum(axis=0) / items,
            "overlap": (voted & (others > 0)).sum(axis=0) / items,
            "conflict": (voted & (others - (agreeing - 1) > 0)).sum(axis=0) / items,
            "answers": answers.astype(np.int64),
            "correct": right.astype(np.int64),
        }
    ).with_columns(
        accuracy=pl.when(pl.col("answers") > 0).then(pl.col("correct") / pl.col("answers")),
        accuracy_low=pl.Series([bound.low for bound in bounds], dtype=pl.Float64),
        accuracy_high=pl.Series([bound.high for bound in bounds], dtype=pl.Float64),
    )


def _agreeing(votes: Votes) -> npt.NDArray[np.int64]:
    """How many functions vote as each one does, itself included. Time by the number of votes, whatever the classes."""
    rows = np.arange(len(votes), dtype=np.int64)[:, None]
    _, place, counts = np.unique(rows * (1 << 16) + votes, return_inverse=True, return_counts=True)
    return counts[place].reshape(votes.shape)
