"""Deliveries of events as rows of words: which of them count, which wait for their photo, and the buckets of their ids.

Not here: what they contribute to features (`steps.py`, `user_states.py`).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.features.event_log import CLOCK_SKEW
from pipeline_assets.serving.state.layout import BUCKET_BITS, KINDS, MISSING, Delivery, bucket_key, event_digest
from pipeline_assets.serving.state.period import Period
from pipeline_assets.serving.state.ragged import Rows, Words, packed
from pipeline_assets.serving.state.steps import LIKE, MATURITY_US, VIEW, WINDOW_US

WORDS = Delivery._fields
_KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_KNOWN = pl.max_horizontal("at", "arrived_at")
_RANK = (_KNOWN, "arrived_at", "at", "user_id", pl.col("photo_id") == MISSING, "photo_id", "kind")
_PARTS = 16


def credible(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events that did not happen long after they arrived. Returns event_id and WORDS, Int64."""
    return events.filter(pl.col("at") <= pl.col("arrived_at") + CLOCK_SKEW).select("event_id", *_words())


def waiting(events: pl.LazyFrame, posted: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Likes and views of photos that are not in `posted` but could count in the period. Returns WORDS, by photo and row."""
    known_photos = pl.lit(posted["photo_id"]).implode()
    is_recent_like = (pl.col("kind") == LIKE) & (pl.col("at") >= period.start_us - WINDOW_US)
    is_recent_view = (pl.col("kind") == VIEW) & (pl.col("at") >= period.settled_us - MATURITY_US)
    can_count = (is_recent_like | is_recent_view) & (pl.col("photo_id") != MISSING) & ~pl.col("photo_id").is_in(known_photos)
    rows = credible(events)
    ids = rows.filter(can_count).select("event_id").unique().collect(engine="streaming").to_series()
    if ids.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(WORDS, pl.Int64))
    deliveries = rows.filter(pl.col("event_id").is_in(ids.implode())).collect(engine="streaming")
    return _that_count(deliveries).filter(can_count).select(WORDS).sort("photo_id", *WORDS)


def buckets(events: pl.LazyFrame, period: Period) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of all buckets of events."""
    rows = credible(events)
    is_settled = period.settled_us > _KNOWN
    settled = _settled_digests(rows.filter(is_settled).select("event_id"))
    open_rows = _that_count(rows.filter(~is_settled).collect(engine="streaming"))
    open_events = pl.concat([_digests(open_rows["event_id"]), open_rows.select(WORDS)], how="horizontal")
    for part in range(_PARTS):
        in_part = pl.col("high") // (2**64 // _PARTS) == part
        digests = pl.concat([chunk.filter(in_part) for chunk in settled]).unique().sort("high", "low")
        others = open_events.filter(in_part).join(digests, on=["high", "low"], how="anti").sort("high", "low")
        yield from _buckets(digests, others)


def _buckets(settled: pl.DataFrame, others: pl.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    bucket = (pl.col("high") // 2 ** (64 - BUCKET_BITS)).cast(pl.Int64)
    settled_buckets, other_buckets = (frame.select(bucket).to_series().to_numpy() for frame in (settled, others))
    numbers, firsts = np.unique(np.concatenate([settled_buckets, other_buckets]), return_index=True)
    digest_words = _raw(settled)
    parts = [
        Rows.of(np.searchsorted(numbers, settled_buckets), digest_words, len(numbers)),
        Rows.of(
            np.searchsorted(numbers, other_buckets), np.hstack([_raw(others), others.select(WORDS).to_numpy()]), len(numbers)
        ),
    ]
    first_digests = np.concatenate([digest_words, _raw(others)])[firsts].tobytes()
    keys = (bucket_key(first_digests[16 * n : 16 * n + 3]) for n in range(len(numbers)))
    return zip(keys, packed((parts[0].counts << 32)[:, None], parts), strict=True)


def _that_count(deliveries: pl.DataFrame) -> pl.DataFrame:
    """Of several deliveries of an event the one that counts, as in `weighted_events`."""
    return deliveries.sort("event_id", *_RANK).unique("event_id", keep="first", maintain_order=True)


def _settled_digests(ids: pl.LazyFrame) -> list[pl.DataFrame]:
    return [_digests(batch.to_series()) for batch in ids.collect_batches()] or [_digests(pl.Series([], dtype=pl.String))]


def _digests(ids: pl.Series) -> pl.DataFrame:
    """Digests of ids. Returns high, low (UInt64): their bytes are in order of these numbers."""
    words = np.frombuffer(b"".join(map(event_digest, ids.to_list())), ">u8").astype(np.uint64).reshape(-1, 2)
    return pl.DataFrame({"high": words[:, 0], "low": words[:, 1]})


def _raw(digests: pl.DataFrame) -> Words:
    """The words that hold the digests' bytes. Returns (n, 2)."""
    numbers: npt.NDArray[np.uint64] = digests.select("high", "low").to_numpy()
    return np.ascontiguousarray(numbers).byteswap().view(np.int64)


def _words() -> tuple[pl.Expr, ...]:
    return (
        pl.col("kind").replace_strict(_KIND_CODES, return_dtype=pl.Int64),
        pl.col("user_id"),
        pl.col("photo_id").fill_null(MISSING),
        pl.col("at").dt.epoch("us"),
        pl.col("arrived_at").dt.epoch("us"),
    )
