"""States of users from the index of `features/history.py`, by columns. Not here: photos and events (`building.py`)."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from pipeline_assets.features.history import COUNTS, WINDOW, History
from pipeline_assets.features.popularity import MATURITY, in_fixed_point
from pipeline_assets.features.windows import Count
from pipeline_assets.serving.state.layout import MISSING, user_key
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.state.ragged import Rows, Words, packed

_AT_ONCE = 2**22
"""Users of one index: its places then fit in 64 bits for the longest horizon."""
_AS_OF = pl.Datetime("us", "UTC")


def user_states(
    users: pl.DataFrame, events: pl.LazyFrame, photos: pl.DataFrame, period: Period
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of these users. users: user_id (unique), joined_at.  events, photos: as for `History.of`."""
    moments = pl.DataFrame({"as_of": [period.t0, period.end]}, schema={"as_of": _AS_OF})
    for some in users.sort("user_id").iter_slices(_AT_ONCE):
        history = History.of(some.select("user_id").join(moments, how="cross"), events, photos.lazy())
        photo_rows = _photo_rows(history, photos)
        yield from zip(map(user_key, some["user_id"].to_list()), _values(some, history, photo_rows, period), strict=True)


def _values(users: pl.DataFrame, history: History, photos: pl.DataFrame, period: Period) -> Iterator[bytes]:
    count = users.height
    steps = _steps(history, period)
    mature_us, end_us = pl.col("mature_us"), pl.col("end_us")
    settled = photos.filter(mature_us < period.settled_us, end_us >= period.start_us)
    leaving = settled.filter(end_us < period.end_us).sort("user", "end_us", "value")
    maturing = photos.filter(mature_us >= period.settled_us, mature_us < period.end_us).sort("user", "mature_us", "photo_id")
    sums = settled.group_by("user").agg(total=pl.col("value").sum(), number=pl.len().cast(pl.Int64))
    parts = [
        Rows.of(steps["user"].to_numpy(), steps.select("step").to_numpy(), count),
        Rows.of(leaving["user"].to_numpy(), leaving.select("end_us", "value").to_numpy(), count),
        Rows.of(maturing["user"].to_numpy(), maturing.select("mature_us", "photo_id", "views").to_numpy(), count),
    ]
    headers = np.zeros((count, 7), np.int64)
    headers[sums["user"].to_numpy(), 0] = sums["number"].to_numpy() << 32
    headers[:, 1] = parts[0].counts | parts[1].counts << 32
    headers[:, 2] = users["joined_at"].dt.epoch("us").fill_null(MISSING).to_numpy()
    headers[:, 3:6] = np.column_stack([_count_at_start(history, name) for name in COUNTS]).astype("<i4").view("<i8")
    headers[sums["user"].to_numpy(), 6] = sums["total"].to_numpy()
    return packed(headers, parts)


def _count_at_start(history: History, name: str) -> Words:
    """A count of each user strictly before the first moment."""
    places = (np.arange(history.users.height, dtype=np.int64) << history.timeline.bits) + 1
    count = history.counts[name]
    return np.searchsorted(count.ups.to_numpy(), places) - np.searchsorted(count.downs.to_numpy(), places)


def _steps(history: History, period: Period) -> pl.DataFrame:
    """What each count of each user rises and falls by in the period. Returns user, step (of `UserState`), sorted."""
    each = [_steps_of(count, position, history, period) for position, count in enumerate(history.counts[n] for n in COUNTS)]
    return pl.concat(each).sort("user", "step")


def _steps_of(count: Count, position: int, history: History, period: Period) -> pl.DataFrame:
    bits = history.timeline.bits
    offset = pl.col("place") & (2**bits - 1)
    sides = [side.to_frame("place").with_columns(rise=pl.lit(rise)) for side, rise in ((count.ups, 1), (count.downs, -1))]
    time = offset - 1 + period.start_us
    return (
        pl.concat(sides)
        .lazy()
        .filter(offset >= 1, offset < history.timeline.span)
        .group_by("place")
        .agg(pl.col("rise").sum())
        .filter(pl.col("rise") != 0)
        .select(
            user=pl.col("place") // 2**bits,
            step=(time * 16 + 2 * position + (pl.col("rise") > 0).cast(pl.Int64)).repeat_by(pl.col("rise").abs()),
        )
        .explode("step")
        .collect()
    )


def _photo_rows(history: History, photos: pl.DataFrame) -> pl.DataFrame:
    """Photos of the history's users. Returns user, photo_id, mature_us, end_us, views, value."""
    mature_at = pl.col("posted_at") + MATURITY
    return (
        photos.join(history.users, on="user_id")
        .join(history.views.select("photo_id", views="at_maturity"), on="photo_id", how="left")
        .select(
            pl.col("user").cast(pl.Int64),
            "photo_id",
            mature_us=mature_at.dt.epoch("us"),
            end_us=(mature_at + WINDOW).dt.epoch("us"),
            views=pl.col("views").fill_null(0),
        )
        .with_columns(value=in_fixed_point(pl.col("views")))
    )
