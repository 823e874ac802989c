"""Families: items that show the same thing, and so must be in the same split. Pure functions of frames."""

import polars as pl

from pipeline_assets.ingestion.duplicates import ARE_NEAR, MASKS, TELLS_APART, bands, hashed

NO_OTHERS = pl.DataFrame(schema=dict.fromkeys(("sha256", "phash", "split"), pl.String))
"""The items of other days for kinds whose families do not span days."""
_ROWS_PER_JOIN = 20_000


def families(items: pl.DataFrame) -> pl.DataFrame:
    """The items with their `family`: the smallest sha256 of all related items, directly or through others.

    items: sha256, phash (16 hex digits or null). Equal bytes, and photos within 4 bits of perceptual hash, are related;
    a flat picture's hash is ignored. Returns sha256, family, each sha256 once.
    """
    unique_items = items.select("sha256", "phash").unique("sha256", keep="first", maintain_order=True)
    family = {sha256: sha256 for sha256 in unique_items["sha256"]}

    def root(sha256: str) -> str:
        while family[sha256] != sha256:
            family[sha256] = sha256 = family[family[sha256]]
        return sha256

    for one, other in near_pairs(unique_items).iter_rows():
        first, second = sorted((root(one), root(other)))
        family[second] = first
    roots = {sha256: root(sha256) for sha256 in family}
    schema = dict.fromkeys(("sha256", "family"), pl.String)
    return pl.DataFrame({"sha256": list(roots), "family": list(roots.values())}, schema=schema)


def near_pairs(items: pl.DataFrame) -> pl.DataFrame:
    """Pairs (one, other) of sha256 whose pictures look alike: enough pairs to connect each family."""
    with_hashes = hashed(items).filter(TELLS_APART)
    by_hash = with_hashes.group_by("hash").agg(pl.col("sha256").min().alias("one")).sort("hash")
    equal_pairs = (
        with_hashes.join(by_hash, on="hash").filter(pl.col("sha256") != pl.col("one")).select("one", other="sha256")
    )
    parts = [equal_pairs]
    for banded, candidates in bands(by_hash):
        candidates = candidates.select("band", other_hash="hash", other="one")
        for part in banded.iter_slices(_ROWS_PER_JOIN):
            pairs = part.join(candidates, on="band").select("one", "hash", "other_hash", sha256="other")
            near = pairs.filter(pl.col("hash") != pl.col("other_hash")).rename({"other_hash": "other"}).filter(ARE_NEAR)
            parts.append(near.select("one", other="sha256"))
    return pl.concat(parts).unique()


def leaking(items: pl.DataFrame, all_items: pl.DataFrame) -> pl.DataFrame:
    """(day, sha256) of the items whose family is in two splits of its day, or has a member in another split on any day.

    items: day, sha256, phash, split; all_items: sha256, phash, split of all days, or empty. Within a day, relatives of
    relatives count; across days only direct ones, so that the cost of a day is bounded.
    """
    reaching = pl.Series("sha256", over_days(items, all_items), pl.String)
    parts = [pl.DataFrame(schema={"day": pl.Date, "sha256": pl.String})]
    for day in items.partition_by("day", maintain_order=True):
        leaking_hashes = pl.Series("sha256", split_families(day), pl.String).append(reaching)
        parts.append(day.filter(pl.col("sha256").is_in(leaking_hashes.implode())).select("day", "sha256"))
    return pl.concat(parts).unique().sort("day", "sha256")


def over_days(items: pl.DataFrame, all_items: pl.DataFrame) -> list[str]:
    """Every sha256 of items that equals or resembles one of `all_items` in another split."""
    in_other_split = pl.col("split") != pl.col("other_split")
    same_bytes = items.join(all_items.select("sha256", other_split="split"), on="sha256").filter(in_other_split)["sha256"]
    item_hashes = hashed(items).filter(TELLS_APART).select("sha256", "hash", "split")
    all_hashes = hashed(all_items).filter(TELLS_APART).select(other="hash", other_split="split").unique()
    parts = [same_bytes]
    for mask in MASKS:
        banded, named = (
            frame.with_columns(band=pl.col(column) & pl.lit(mask, pl.UInt64))
            for frame, column in ((item_hashes, "hash"), (all_hashes, "other"))
        )
        for part in banded.iter_slices(_ROWS_PER_JOIN):
            parts.append(part.join(named, on="band").filter(in_other_split, ARE_NEAR)["sha256"].unique())
    return pl.concat(parts).unique().to_list()


def split_families(items: pl.DataFrame) -> list[str]:
    """Every sha256 of a family in more than one split, sorted. items: of one day: sha256, phash, split."""
    with_families = items.join(families(items), on="sha256")
    split_across = with_families.group_by("family").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
    return with_families.join(split_across, on="family", how="semi")["sha256"].unique().sort().to_list()
