"""Groups of duplicates over all days: equal bytes, nearly equal perceptual hashes, or both hash and embedding alike. Pure.

The groups within a day's uploads are `ingestion/duplicates.py`, which this builds on.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.ingestion.duplicates import ARE_NEAR, TELLS_APART, bands, hashed

NEARLY_EQUAL, ALIKE_BITS = 0.9, 16
"""The cosine from which on, and the bits of the hash up to which, two photos are duplicates.

Of copies of 50 real photos, hashes within 4 bits find all that are compressed again, grey or half the size and 96 % of those
20 % brighter; this finds 88 % of those cut by 5 % a side. Mirrored copies are not found. Either alone would join photos of
one texture: cosines of 0.9 are common among different pieces of one picture, hashes within 16 bits among any."""


def groups(photos: pl.DataFrame, alike: pl.DataFrame) -> pl.DataFrame:
    """The contents that have duplicates: sha256, duplicate_group, which is the smallest sha256 of its members.

    photos: sha256, phash, a row for each upload. alike: left, right, the sha256 of nearly equal embeddings, of which
    those with hashes alike are duplicates.
    """
    contents = photos.group_by("sha256").agg(pl.len().alias("photos"), pl.col("phash").first()).sort("sha256")
    hashes = hashed(contents.select("sha256", "phash")).filter(TELLS_APART).select("sha256", "hash")
    edges = pl.concat([_near_hashes(hashes), _alike(hashes, alike)])
    numbers = contents.with_row_index("number").select("sha256", "number")
    pairs = edges.join(numbers, left_on="left", right_on="sha256").join(numbers, left_on="right", right_on="sha256")
    ends = (pairs[side].cast(pl.Int64).to_numpy() for side in ("number", "number_right"))
    named = contents.with_columns(duplicate_group=contents["sha256"].gather(_components(contents.height, *ends)))
    return (
        named.with_columns(photos=pl.col("photos").sum().over("duplicate_group"))
        .filter(pl.col("photos") > 1)
        .select("sha256", "duplicate_group")
    )


def _components(items: int, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The smallest item of each one's connected component."""
    root = np.arange(items)
    while True:
        before = root.copy()
        low = np.minimum(root[left], root[right])
        np.minimum.at(root, root[left], low)
        np.minimum.at(root, root[right], low)
        while (root != root[root]).any():
            root = root[root]
        if (root == before).all():
            return root


def _alike(hashes: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs whose hashes are alike, too."""
    others = hashes.rename({"sha256": "right", "hash": "other"})
    both = pairs.join(hashes, left_on="left", right_on="sha256").join(others, on="right")
    is_alike = (pl.col("hash") ^ pl.col("other")).bitwise_count_ones() <= ALIKE_BITS
    return both.filter(is_alike).select("left", "right")


def _near_hashes(known: pl.DataFrame) -> pl.DataFrame:
    """Pairs of contents whose perceptual hashes differ in at most 4 bits: left, right.

    Contents of one hash are paired with the first of them alone, and others through it.
    """
    first = pl.col("sha256").min().over("hash")
    equal = known.select(left="sha256", right=first).filter(pl.col("left") != pl.col("right"))
    hashes = known.group_by("hash").agg(first=pl.col("sha256").min()).sort("first")
    pairs = [equal]
    for banded, named in bands(hashes):
        others = named.select("band", other="hash", right="first")
        near = banded.join(others, on="band").filter(pl.col("hash") != pl.col("other"), ARE_NEAR)
        pairs.append(near.select(left="first", right="right"))
    return pl.concat(pairs).unique()
