"""Trailing windows over events at many moments, exact to the microsecond, by sorted numbers and one merge.

An event counts at moment t for a window w iff at >= t - w, at < t and arrived_at < t. With known = max(at, arrived_at)
that is: for t in (known, max(at + w, known)]. So a count at t is the number of events known before t minus the number that
ended before t: two positions in two sorted columns. All users lie one after another on one line, and each event is in both
columns, so that earlier users cancel out and no grouping is needed.

What lives here: the arithmetic of windows. What does not: which events make which feature (`history.py`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

_WORD_BITS = 63
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Timeline:
    """Maps (user, time) to one number, for users 0 to users - 1 and moments from `first` to `last`.

    Times outside are clipped to just before `first` and to `last`, which makes no difference for these moments. So, and
    because numbers count from `first`, most histories fit in 64 bits, which sort more than twice as fast as 128.
    """

    first: datetime
    last: datetime
    users: int

    @property
    def span(self) -> int:
        """The number of moments from `first` to `last`, in microseconds: the offset of times at or after `last`."""
        return (self.last - self.first) // _MICROSECOND + 1

    @property
    def bits(self) -> int:
        """The lower bits of a place are the offset: 0 before `first`, else the microseconds since then plus 1."""
        return self.span.bit_length()

    def place(self, user: pl.Expr, time: pl.Expr) -> pl.Expr:
        """The place of each time (UTC, microseconds): ordered by user, then time. user: 0 to users - 1."""
        word = pl.Int64() if self.bits + self.users.bit_length() <= _WORD_BITS else pl.Int128()
        offset = (time - pl.lit(self.first)).dt.total_microseconds() + 1
        return user.cast(word) * pl.lit(2**self.bits, word) + offset.clip(0, self.span)


@dataclass(frozen=True)
class Count:
    """A number that grows by one at each place of `ups` and falls by one at each of `downs`, both ascending."""

    ups: pl.Series
    downs: pl.Series

    @classmethod
    def of(cls, timeline: Timeline, events: pl.DataFrame, known_at: pl.Expr, end: pl.Expr) -> "Count":
        """Count the events that are known and have not ended. events: user, weight (+1 or -1), the columns of known, end."""
        start = timeline.place(pl.col("user"), known_at)
        stop = timeline.place(pl.col("user"), pl.max_horizontal(known_at, end))
        is_added = pl.col("weight") > 0
        # An event of weight -1 subtracts at its start, and adds at its end.
        ups = events.select(pl.when(is_added).then(start).otherwise(stop)).to_series()
        downs = events.select(pl.when(is_added).then(stop).otherwise(start)).to_series()
        return cls(ups.sort(), downs.sort())

    def at(self, places: pl.Series) -> pl.Series:
        """The number strictly before each of the ascending places, Int32."""
        return (_count_before(self.ups, places) - _count_before(self.downs, places)).cast(pl.Int32)


@dataclass(frozen=True)
class Total:
    """A sum that grows at each of `ups` and falls at each of `downs`: frames of place (ascending) and the sum so far."""

    ups: pl.DataFrame
    downs: pl.DataFrame

    @classmethod
    def of(cls, timeline: Timeline, values: pl.DataFrame, start: pl.Expr, stop: pl.Expr) -> "Total":
        """Sum the values that have started and not stopped. values: user, value (Int64), the columns of start and stop."""
        ups, downs = (
            values.select("value", place=timeline.place(pl.col("user"), time))
            .sort("place")
            .with_columns(pl.col("value").cum_sum())
            for time in (start, stop)
        )
        return cls(ups, downs)

    def at(self, places: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The sum and the number of values strictly before each of the ascending places, both Int64."""
        up, down = (_count_before(side["place"], places) for side in (self.ups, self.downs))
        return _sum_of_first(up, self.ups["value"]) - _sum_of_first(down, self.downs["value"]), up - down


def _count_before(ascending: pl.Series, places: pl.Series) -> pl.Series:
    """The number of `ascending` strictly before each of the ascending places, Int64, by one merge."""
    ranked = ascending.to_frame("place").with_row_index("rank", offset=1)
    found = places.to_frame("place").join_asof(ranked, on="place", allow_exact_matches=False)
    return found["rank"].cast(pl.Int64).fill_null(0)


def _sum_of_first(count: pl.Series, sums: pl.Series) -> pl.Series:
    return pl.concat([pl.Series([0], dtype=pl.Int64), sums]).gather(count)
