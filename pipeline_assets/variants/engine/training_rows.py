"""Variants of photos as training rows: a photo's row with the picture of one of its variants."""

from collections.abc import Iterator

import polars as pl

from pipeline_assets.training.schemas import TrainingTable
from resources.objects.store import ObjectStore, content_key

PLACED = ("object_sha256", "object_offset", "size_bytes")
AT_ONCE = 4
"""Objects fetched at once; each may have many variants' bytes."""
STYLES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")


def choose(variants: pl.DataFrame, training: pl.LazyFrame, share: float) -> pl.DataFrame:
    """The variants to train on, by day: of labelled photos in the train split, at most `share` for each such photo.

    variants: rows of PhotoVariants. Mixtures are left out, since they have no popularity of their own. The choice depends
    only on variant_id, a hash. Returns day, variant_id, sha256 (the variant's), parent_sha256, and the place of its bytes.
    """
    labelled = (
        training.filter(pl.col("split") == "train", pl.col("popularity").is_not_null()).select("day", "sha256").collect()
    )
    allowed = labelled.group_by("day").len().select("day", most=(pl.col("len") * share).ceil().cast(pl.Int64))
    return (
        variants.filter(pl.col("other_parent_sha256").is_null(), pl.col("split") == "train")
        .join(labelled.unique(), left_on=["day", "parent_sha256"], right_on=["day", "sha256"], how="semi")
        .sort("day", "variant_id")
        .with_columns(rank=pl.int_range(pl.len()).over("day"))
        .join(allowed, on="day")
        .filter(pl.col("rank") < pl.col("most"))
        .select("day", "variant_id", "parent_sha256", *PLACED, sha256="content_sha256")
    )


def fetch(contents: pl.DataFrame, objects: ObjectStore) -> Iterator[tuple[str, bytes | Exception]]:
    """The bytes of contents (sha256 and PLACED), or an error as the value; each object is read once."""
    objects_with = contents.group_by("object_sha256", maintain_order=True).agg("sha256", "object_offset", "size_bytes")
    fetched = objects.get_many(objects_with.iter_rows(), key=lambda item: content_key(item[0]), concurrency=AT_ONCE)
    for (_, hashes, offsets, sizes), data in fetched:
        for sha256, offset, size in zip(hashes, offsets, sizes, strict=True):
            yield sha256, data if isinstance(data, Exception) else data[offset : offset + size]


def rows_of(chosen: pl.DataFrame, training: pl.LazyFrame, classes: pl.DataFrame, styles: pl.DataFrame) -> pl.DataFrame:
    """Rows as in the training table, with the variant's own classes and measures; the rest is the photo's.

    classes, styles: of the variants' sha256, as `PhotoClasses` and `MeasuredStyles` have them. photo_id: negative, from the
    variant's identity; `parent_sha256` names the photo. One row per chosen variant and posting of its photo.
    """
    postings = training.filter(pl.col("split") == "train", pl.col("popularity").is_not_null())
    drop = ("model_id", "top_class", "top_probability", "embedding", *STYLES)
    photo_rows = postings.drop(drop).rename({"sha256": "parent_sha256"}).collect()
    class_rows = classes.select(
        "sha256",
        "model_id",
        "embedding",
        top_class=pl.col("top5_label").list.first(),
        top_probability=pl.col("top5_probability").list.first(),
    )
    identity = pl.col("variant_id").str.head(14).str.to_integer(base=16, dtype=pl.Int64)
    return (
        chosen.drop(PLACED)
        .join(photo_rows, on=["day", "parent_sha256"])
        .with_columns(photo_id=-(identity + pl.col("photo_id").rank("dense").over("day", "variant_id").cast(pl.Int64)))
        .join(styles.select("sha256", *STYLES), on="sha256")
        .join(class_rows, on="sha256")
        .select(*TrainingTable.column_names(), "variant_id", "parent_sha256")
        .sort("day", "photo_id")
    )
