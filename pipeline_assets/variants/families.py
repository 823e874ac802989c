"""Families: items that must not be on two sides of a split, since they show the same thing. Pure functions of frames."""

import polars as pl

from pipeline_assets.ingestion.duplicates import ARE_NEAR, MASKS, TELLS_APART, bands, hashed

NO_OTHERS = pl.DataFrame(schema=dict.fromkeys(("sha256", "phash", "split"), pl.String))
"""What families of one day are looked for beside."""
_ROWS_PER_JOIN = 20_000


def families(items: pl.DataFrame) -> pl.DataFrame:
    """The items with their `family`: the smallest sha256 of those that belong together, directly or through others.

    items: sha256, phash (16 hex digits or null). The same bytes and photos within 4 bits of perceptual hash belong
    together; a flat picture's hash says nothing. Returns sha256, family, each sha256 once.
    """
    known = items.select("sha256", "phash").unique("sha256", keep="first", maintain_order=True)
    family = {sha256: sha256 for sha256 in known["sha256"]}

    def root(sha256: str) -> str:
        while family[sha256] != sha256:
            family[sha256] = sha256 = family[family[sha256]]
        return sha256

    for one, other in near_pairs(known).iter_rows():
        first, second = sorted((root(one), root(other)))
        family[second] = first
    roots = {sha256: root(sha256) for sha256 in family}
    schema = dict.fromkeys(("sha256", "family"), pl.String)
    return pl.DataFrame({"sha256": list(roots), "family": list(roots.values())}, schema=schema)


def near_pairs(items: pl.DataFrame) -> pl.DataFrame:
    """Pairs (one, other) of sha256 whose pictures look alike: enough of them to tell who belongs together."""
    known = hashed(items).filter(TELLS_APART)
    named = known.group_by("hash").agg(pl.col("sha256").min().alias("one")).sort("hash")
    same = known.join(named, on="hash").filter(pl.col("sha256") != pl.col("one")).select("one", other="sha256")
    found = [same]
    for banded, others in bands(named):
        others = others.select("band", other_hash="hash", other="one")
        for part in banded.iter_slices(_ROWS_PER_JOIN):
            pairs = part.join(others, on="band").select("one", "hash", "other_hash", sha256="other")
            near = pairs.filter(pl.col("hash") != pl.col("other_hash")).rename({"other_hash": "other"}).filter(ARE_NEAR)
            found.append(near.select("one", other="sha256"))
    return pl.concat(found).unique()


def leaking(items: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """(day, sha256) of the items whose family is in two splits of its day, or has a member in another split on any day.

    items: day, sha256, phash, split; others: sha256, phash, split of all days, or none. Within a day relatives of relatives
    count; over days the item's own do, so that a day costs as much as it has items, and one look at what there is.
    """
    reaching = pl.Series("sha256", over_days(items, others), pl.String)
    found = [pl.DataFrame(schema={"day": pl.Date, "sha256": pl.String})]
    for day in items.partition_by("day", maintain_order=True):
        torn = pl.Series("sha256", split_families(day), pl.String).append(reaching)
        found.append(day.filter(pl.col("sha256").is_in(torn.implode())).select("day", "sha256"))
    return pl.concat(found).unique().sort("day", "sha256")


def over_days(items: pl.DataFrame, others: pl.DataFrame) -> list[str]:
    """Every sha256 of items that has the bytes, or the look, of one of `others` that is in another split."""
    elsewhere = pl.col("split") != pl.col("other_split")
    same = items.join(others.select("sha256", other_split="split"), on="sha256").filter(elsewhere)["sha256"]
    mine = hashed(items).filter(TELLS_APART).select("sha256", "hash", "split")
    theirs = hashed(others).filter(TELLS_APART).select(other="hash", other_split="split").unique()
    found = [same]
    for mask in MASKS:
        banded, named = (
            frame.with_columns(band=pl.col(column) & pl.lit(mask, pl.UInt64))
            for frame, column in ((mine, "hash"), (theirs, "other"))
        )
        for part in banded.iter_slices(_ROWS_PER_JOIN):
            found.append(part.join(named, on="band").filter(elsewhere, ARE_NEAR)["sha256"].unique())
    return pl.concat(found).unique().to_list()


def split_families(items: pl.DataFrame) -> list[str]:
    """Every sha256 of a family that lies in more than one split, sorted. items: of one day: sha256, phash, split."""
    known = items.join(families(items), on="sha256")
    torn = known.group_by("family").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
    return known.join(torn, on="family", how="semi")["sha256"].unique().sort().to_list()
