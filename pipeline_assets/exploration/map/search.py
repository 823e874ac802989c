"""What `darkroom explore near` and `darkroom explore duplicates` print. Pure: frames in, frames out."""

from typing import Literal

import polars as pl

MIN_PREFIX = 6
"""Digits of a sha256 that name a photo, if only one begins with them."""
Column = Literal["photo_id", "key", "sha256"]


def named(photos: pl.DataFrame, text: str) -> pl.DataFrame:
    """The photos of the one content that a text names: a photo id, an object key, or the beginning of a sha256.

    photos: as of `rows.photos_of`. Empty if none has this name, or contents differ.
    """
    chosen = photos.filter(pl.col("key") == text)
    if chosen.is_empty() and text.isascii() and text.isdigit() and len(text) < 19:
        chosen = photos.filter(photo_id=int(text))
    if chosen.is_empty() and len(text) >= MIN_PREFIX:
        chosen = photos.filter(pl.col("sha256").str.starts_with(text.lower()))
    return chosen if chosen["sha256"].n_unique() == 1 else chosen.clear()


def answers(photos: pl.DataFrame, classes: pl.DataFrame, sha256: list[str], similarity: list[float]) -> pl.DataFrame:
    """The photos of these contents, nearest first: similarity, upload_day, key, photo_id, class, sha256.

    classes: sha256, class.
    """
    found = pl.DataFrame(
        {"sha256": sha256, "similarity": similarity}, schema={"sha256": pl.String, "similarity": pl.Float32}
    ).with_row_index("rank")
    return (
        found.join(photos, on="sha256")
        .join(classes.unique("sha256"), on="sha256", how="left")
        .sort("rank", "upload_day", "key")
        .select("similarity", "upload_day", "key", "photo_id", "class", "sha256")
    )


def duplicate_groups(night: pl.DataFrame) -> pl.DataFrame:
    """The groups of duplicates in a night's `EmbeddingMap`, the largest first.

    duplicate_group, photos, contents, first_day, last_day, keep: the key of the first photo, others: structs of key,
    photo_id, sha256 of the rest. First is the earliest upload day, then the smallest key.
    """
    member = pl.struct("key", "photo_id", "sha256")
    return (
        night.drop_nulls("duplicate_group")
        .sort("upload_day", "key")
        .group_by("duplicate_group", maintain_order=True)
        .agg(
            photos=pl.len(),
            contents=pl.col("sha256").n_unique(),
            first_day=pl.col("upload_day").first(),
            last_day=pl.col("upload_day").last(),
            keep=pl.col("key").first(),
            keep_sha256=pl.col("sha256").first(),
            others=member.slice(1),
        )
        .sort(["photos", "duplicate_group"], descending=[True, False])
    )


def without_duplicates(groups: pl.DataFrame, column: Column) -> str:
    """An SQL condition on one column that leaves out all photos but the first of each group.

    By sha256, copies of the first one's bytes stay, since they can't be told apart. Null matches no condition.
    """
    others = groups.explode("others").drop_nulls("others").select("keep_sha256", pl.col("others").struct.unnest())
    if column == "sha256":
        others = others.filter(pl.col("sha256") != pl.col("keep_sha256"))
    values = others[column].drop_nulls().unique().sort().to_list()
    if not values:
        return f"{column} IS NOT NULL"
    quote = "'"
    literals = (str(value) if column == "photo_id" else f"'{value.replace(quote, quote * 2)}'" for value in values)
    return f"{column} NOT IN ({', '.join(literals)})"
