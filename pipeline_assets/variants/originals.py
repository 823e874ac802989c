"""The parents of variants by kind: frames in the order of arrival. Functions of frames.

Each frame has the columns of `planning.PARENTS`, `phash` (null except for photos), and the place of the bytes: `key` and
`version_id` of an upload, or `data`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from pipeline_assets.training.split import split_of
from pipeline_assets.variants.planning import NO_LABELS


def uploads(raw_uploads: pl.LazyFrame, media: str) -> pl.DataFrame:
    """Usable uploads whose media type begins with `media`, each content of a day and split once, with its owner's split."""
    return (
        _usable(raw_uploads, media)
        .select(
            "day",
            "sha256",
            pl.col("key").alias("source"),
            split_of(pl.col("user_id")).alias("split"),
            "phash",
            "key",
            "version_id",
            "uploaded_at",
            labels_json=pl.lit(NO_LABELS),
        )
        .sort("day", "uploaded_at", "key", "version_id")
        .drop("uploaded_at")
        .unique(["day", "sha256", "split"], keep="first", maintain_order=True)
        .collect()
    )


def owned(raw_uploads: pl.LazyFrame, media: str) -> pl.DataFrame:
    """The usable uploads of all days with their owners' split: sha256, phash, split, each once."""
    return (
        _usable(raw_uploads, media).select("sha256", "phash", split_of(pl.col("user_id")).alias("split")).unique().collect()
    )


def _usable(raw_uploads: pl.LazyFrame, media: str) -> pl.LazyFrame:
    return raw_uploads.filter(pl.col("verdict") == "ok", pl.col("media_type").str.starts_with(media))


def titles(photo_metadata: pl.LazyFrame) -> pl.DataFrame:
    """The titles of photos, each text of a day and split once, with the split of the photo's owner."""
    rows = (
        photo_metadata.filter(pl.col("title").str.strip_chars() != "")
        .select(
            "day",
            pl.format("photo {} title", "photo_id").alias("source"),
            split_of(pl.col("user_id")).alias("split"),
            "title",
            "posted_at",
            "photo_id",
        )
        .sort("day", "posted_at", "photo_id")
        .unique(["day", "title", "split"], keep="first", maintain_order=True)
        .collect()
    )
    return _of_data(rows.drop("posted_at", "photo_id").with_columns(data=pl.col("title").cast(pl.Binary)).drop("title"))


def tables(frame: pl.LazyFrame, name: str, keys: Sequence[str], write: Callable[[pl.DataFrame], bytes]) -> pl.DataFrame:
    """A table's rows of each day and split as one item, serialized by `write`; users decide the split.

    keys: columns that identify rows, which no recipe may change.
    """
    rows = frame.with_columns(split=split_of(pl.col("user_id"))).collect()
    items = [
        {
            "day": day,
            "source": f"{name} {day} {split}",
            "split": split,
            "data": write(part.drop("split").sort("user_id")),
        }
        for (day, split), part in sorted(rows.group_by(["day", "split"]), key=lambda item: item[0])
    ]
    parents_frame = _of_data(
        pl.DataFrame(items, schema={"day": pl.Date, "source": pl.String, "split": pl.String, "data": pl.Binary})
    )
    labels = json.dumps({"keys": list(keys)}, separators=(",", ":"))
    return parents_frame.with_columns(labels_json=pl.lit(labels))


def in_turn(days: Sequence[date], contents: Mapping[str, bytes]) -> pl.DataFrame:
    """One of these items per day, in turn, all in the train split: templates without an owner."""
    names = sorted(contents)
    chosen = [(day, names[day.toordinal() % len(names)]) for day in days]
    rows = [{"day": day, "source": name, "split": "train", "data": contents[name]} for day, name in chosen]
    return _of_data(pl.DataFrame(rows, schema={"day": pl.Date, "source": pl.String, "split": pl.String, "data": pl.Binary}))


def labelled(parents: pl.DataFrame, annotations: pl.LazyFrame, target: str) -> pl.DataFrame:
    """The parents with the newest labels of their content on their day, if any. target: as in annotations."""
    newest = (
        annotations.filter(pl.col("target") == target)
        .sort("annotated_at", "key", descending=[True, False])
        .unique(["day", "sha256"], keep="first", maintain_order=True)
        .select("day", "sha256", given="labels_json")
        .collect()
    )
    with_newest = parents.join(newest, on=["day", "sha256"], how="left", maintain_order="left")
    return with_newest.with_columns(labels_json=pl.coalesce("given", "labels_json")).drop("given")


def _of_data(rows: pl.DataFrame) -> pl.DataFrame:
    hashes = pl.Series("sha256", [hashlib.sha256(data).hexdigest() for data in rows["data"]], pl.String)
    return rows.with_columns(hashes, labels_json=pl.lit(NO_LABELS), phash=pl.lit(None, pl.String))
