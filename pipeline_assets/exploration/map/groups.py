"""Groups of duplicates over all days: equal bytes, perceptual hashes within 4 bits, or nearly equal embeddings. Pure.

The groups within a day's uploads are `ingestion/duplicates.py`, which this builds on.
"""

import numpy as np
import polars as pl

from pipeline_assets.ingestion.duplicates import ARE_NEAR, TELLS_APART, bands, hashed

NEARLY_EQUAL = 0.9
"""The cosine from which on two photos are duplicates. Copies of 50 real photos, compressed again at quality 70, mirrored,
20 % brighter or cut by 5 % a side, reach it in 92 to 100 %; of 319,600 pairs of unrelated photos none is above 0.68."""


def groups(photos: pl.DataFrame, alike: pl.DataFrame) -> pl.DataFrame:
    """The contents that have duplicates: sha256, duplicate_group, which is the smallest sha256 of its members.

    photos: sha256, phash, a row for each upload. alike: left, right, the sha256 of nearly equal embeddings.
    """
    contents = photos.group_by("sha256").agg(pl.len().alias("photos"), pl.col("phash").first()).sort("sha256")
    edges = pl.concat([_near_hashes(contents), alike.select("left", "right")])
    numbers = contents.with_row_index("number").select("sha256", "number")
    pairs = edges.join(numbers, left_on="left", right_on="sha256").join(numbers, left_on="right", right_on="sha256")
    named = contents.with_columns(root=pl.Series(_components(contents.height, pairs["number"], pairs["number_right"])))
    return (
        named.with_columns(duplicate_group=pl.col("sha256").min().over("root"), photos=pl.col("photos").sum().over("root"))
        .filter(pl.col("photos") > 1)
        .select("sha256", "duplicate_group")
    )


def _components(items: int, left: pl.Series, right: pl.Series) -> np.ndarray:
    """The connected component of each item."""
    if left.is_empty():
        return np.arange(items)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), np.int8), (left.to_numpy(), right.to_numpy())), shape=(items, items))
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1].astype(np.int64))


def _near_hashes(contents: pl.DataFrame) -> pl.DataFrame:
    """Pairs of contents whose perceptual hashes differ in at most 4 bits: left, right. Flat pictures have none.

    Contents of one hash are paired with the first of them alone, and others through it.
    """
    known = hashed(contents.select("sha256", "phash")).filter(TELLS_APART).select("sha256", "hash")
    first = pl.col("sha256").min().over("hash")
    equal = known.select(left="sha256", right=first).filter(pl.col("left") != pl.col("right"))
    hashes = known.group_by("hash").agg(first=pl.col("sha256").min()).sort("first")
    pairs = [equal]
    for banded, named in bands(hashes):
        others = named.select("band", other="hash", right="first")
        near = banded.join(others, on="band").filter(pl.col("hash") != pl.col("other"), ARE_NEAR)
        pairs.append(near.select(left="first", right="right"))
    return pl.concat(pairs).unique()
