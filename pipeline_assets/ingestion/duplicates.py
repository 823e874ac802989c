"""Duplicates within a day of uploads: the same bytes, and photos that look the same by perceptual hash.

Order is (uploaded_at, key, version_id), so the answer depends on neither the frame's order nor its batches.
"""

from collections.abc import Iterator
from itertools import combinations

import polars as pl

MAX_DISTANCE = 4
MAX_NAMED_IN_BUCKET = 256
MIN_INFORMATIVE_BITS = 16

TELLS_APART = pl.col("hash").bitwise_count_ones().is_between(MIN_INFORMATIVE_BITS, 64 - MIN_INFORMATIVE_BITS)
"""Whether a hash is not that of a flat picture, which says nothing."""

ARE_NEAR = (pl.col("hash") ^ pl.col("other")).bitwise_count_ones() <= MAX_DISTANCE

_SEGMENTS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))
MASKS = tuple(sum(((1 << width) - 1) << start for start, width in kept) for kept in combinations(_SEGMENTS, 2))
"""Bits of a hash that make a band, see `bands`."""
_ORDER = ("uploaded_at", "key", "version_id")
_ROWS_PER_JOIN = 20_000
_FEW_HASHES = 512


def mark_duplicates(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, rows in their order, with `duplicate_of` and `near_duplicate_of` filled, each day by itself.

    frame: the columns day, key, version_id, uploaded_at, sha256, phash and verdict of `RawUploads`, of any days.
    duplicate_of: key of the original among the day's rows with the same bytes: the first `ok` one, or the first of all
    where none is ok. So a badly named copy never hides a good one. near_duplicate_of: for an ok original, key of the
    earliest other one, uploaded before it, whose phash is within 4 bits; null where the hash is that of a flat picture.
    """
    rows = frame.drop("duplicate_of", "near_duplicate_of", strict=False).with_row_index("_row")
    days = rows.partition_by("day", maintain_order=True) or [rows]
    columns = frame.columns + [c for c in ("duplicate_of", "near_duplicate_of") if c not in frame.columns]
    return pl.concat([_mark_day(day) for day in days]).sort("_row").select(columns)


def _mark_day(rows: pl.DataFrame) -> pl.DataFrame:
    ranked = rows.sort(*_ORDER).with_row_index("_rank")
    original = (
        ranked.filter(pl.col("sha256").is_not_null())
        .sort(pl.col("verdict") != "ok", "_rank")
        .group_by("sha256", maintain_order=True)
        .agg(pl.col("key").first().alias("_first_key"), pl.col("_rank").first().alias("_first_rank"))
    )
    ranked = ranked.join(original, on="sha256", how="left").with_columns(
        duplicate_of=pl.when(pl.col("_rank") != pl.col("_first_rank")).then("_first_key")
    )
    photos = ranked.filter(pl.col("verdict") == "ok", pl.col("_rank") == pl.col("_first_rank")).select("_rank", "phash")
    keys = ranked.select(pl.col("_rank").alias("_near"), pl.col("key").alias("near_duplicate_of"))
    return ranked.join(_earliest_near(photos).join(keys, on="_near"), on="_rank", how="left")


def _earliest_near(photos: pl.DataFrame) -> pl.DataFrame:
    """For each photo with an earlier one within 4 bits: _rank, and the earliest such rank as _near.

    Rows of one hash share their neighbours, so that only distinct hashes are joined.
    """
    photos = hashed(photos)
    hashes = photos.filter(TELLS_APART).group_by("hash").agg(first=pl.col("_rank").min()).sort("first")
    candidates = [hashes.select("hash", pl.col("first").alias("_near"))]
    if hashes.height <= _FEW_HASHES:
        neighbours = hashes.select(pl.col("hash").alias("other"), pl.col("first").alias("_near"))
        candidates.append(_nearest(hashes.join(neighbours, how="cross")))
    else:
        for banded, neighbours in bands(hashes):
            neighbours = neighbours.select("band", pl.col("hash").alias("other"), pl.col("first").alias("_near"))
            candidates += [_nearest(part.join(neighbours, on="band")) for part in banded.iter_slices(_ROWS_PER_JOIN)]
    nearest = pl.concat(candidates).group_by("hash").agg(pl.col("_near").min())
    return photos.join(nearest, on="hash").filter(pl.col("_near") < pl.col("_rank")).select("_rank", "_near")


def hashed(photos: pl.DataFrame) -> pl.DataFrame:
    """The photos that have a `phash` (16 hex digits), with it as `hash`, a UInt64."""
    halves = (pl.col("phash").str.head(8), pl.col("phash").str.tail(8))
    high, low = (half.str.to_integer(base=16, dtype=pl.UInt64) for half in halves)
    return photos.drop_nulls("phash").with_columns(hash=high * 2**32 + low)


def bands(hashes: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Where near pairs of distinct `hash` are to be looked for: fifteen times the frame with its `band`, and whom to name.

    Hashes that agree in two segments share a band. Of six segments 4 differing bits leave two equal at the least, so all
    bands together miss none. A band holds 20 to 22 bits: few hashes share one by chance. Where more than 256 do, only the
    first 256 are named by others.
    """
    for mask in MASKS:
        banded = hashes.with_columns(band=pl.col("hash") & pl.lit(mask, pl.UInt64))
        banded = banded.filter(pl.len().over("band") > 1)
        yield banded, banded.group_by("band", maintain_order=True).head(MAX_NAMED_IN_BUCKET)


def _nearest(pairs: pl.DataFrame) -> pl.DataFrame:
    """Of pairs (hash, first; other, _near): for each hash with an earlier other within 4 bits, the earliest _near."""
    near = pairs.filter(pl.col("_near") < pl.col("first"), ARE_NEAR)
    return near.group_by("hash").agg(pl.col("_near").min())
