"""Trailing windows over events at many moments at once, exact to the microsecond, as one sort and running sums.

An event counts at moment t for a window w iff at >= t - w, at < t and arrived_at < t. With known = max(at, arrived_at)
that is: for t in (known, at + w]. So each event is +1 at `known` and -1 at max(at + w, known), and a count at t is the
sum of all steps strictly before t. Steps and moments are sorted together; a moment sorts before the steps of its
very microsecond, which makes "strictly before" hold under ties. Each event's steps add up to zero, so the running sum
over all users starts every user at zero and needs no groups.

What lives here: the arithmetic of windows. What does not: which events make which feature (`user_features.py`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

MOMENT = 0
"""Code of a moment that is asked about; the codes of steps are above, up to MAX_CODE."""
_CODE_BITS = 4
MAX_CODE = 2**_CODE_BITS - 1


class Step(NamedTuple):
    """A change of counts at `time`, of code `plus` for events of weight +1 and `minus` for -1; none where time is null."""

    time: pl.Expr
    plus: pl.Expr | int
    minus: pl.Expr | int


def sort_key(user_id: pl.Expr, time: pl.Expr, code: pl.Expr | int) -> pl.Expr:
    """One Int128 that sorts as (user_id, time, code): sorting one column is five times faster than three.

    time: datetime in microseconds.  code: 0 to MAX_CODE.
    """
    micros = time.dt.cast_time_unit("us").to_physical().cast(pl.Int64)
    return user_id.cast(pl.Int128) * pl.lit(2**64, pl.Int128) + (micros * 2**_CODE_BITS + code)


def keys_of_steps(events: pl.LazyFrame, user_id: str, steps: Sequence[Step]) -> pl.LazyFrame:
    """Each event's steps as sort keys. events: `user_id`, weight (+1 or -1), the columns of `steps`. Returns key."""
    keys = {
        str(number): sort_key(
            pl.col(user_id), step.time, pl.when(pl.col("weight") > 0).then(step.plus).otherwise(step.minus)
        )
        for number, step in enumerate(steps)
    }
    return events.select(**keys).unpivot(value_name="key").select("key").drop_nulls()


def count_steps(keys: pl.LazyFrame, counters: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> pl.LazyFrame:
    """Counts at every moment. keys: those of steps and of moments (code MOMENT), in any order.

    counters: for each count the codes that raise it by one and those that lower it.  Returns key of the moment and the
    counts (Int32).
    """
    code = pl.col("code")
    totals = [
        (_any_of(code, plus).cast(pl.Int32) - _any_of(code, minus).cast(pl.Int32)).cum_sum().alias(name)
        for name, (plus, minus) in counters.items()
    ]
    return (
        keys.sort("key")
        .with_columns(code=(pl.col("key") & MAX_CODE).cast(pl.Int8))
        .select("key", "code", *totals)
        .filter(code == MOMENT)
        .drop("code")
    )


def sum_steps(steps: pl.LazyFrame) -> pl.LazyFrame:
    """Sums and counts at every moment. steps: key, value (Int64, 0 for moments), count (Int32: +1, -1, 0 for moments).

    Returns key of the moment, value, count.
    """
    return (
        steps.sort("key")
        .select("key", pl.col("value").cum_sum(), pl.col("count").cum_sum())
        .filter(pl.col("key") & MAX_CODE == MOMENT)
    )


def _any_of(code: pl.Expr, wanted: Sequence[int]) -> pl.Expr:
    return pl.any_horizontal(code == value for value in wanted)
