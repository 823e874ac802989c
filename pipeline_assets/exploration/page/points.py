"""One row a photo with what the page shows of it, from the tables. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.exploration.answers import ARE_CLASSES, CHOICE

FALLBACK_AXES = ("brightness", "saturation")
"""Of the map, where no photo has a place on the map of embeddings."""
FIRST = ("photo_id", "day", "top_class", "look", "cluster", "owner", "split", "title")
"""Columns in this order, then all others."""
HIDDEN = ("user_id", "sha256", "model_id", "posted_at", "embedding", "x", "y", "neighbours")
"""Columns of the tables that are no filters: identities, and what the map itself shows."""
MAX_NEIGHBOURS = 8


@dataclass(frozen=True)
class Points:
    """The photos of a page.

    rows: one a photo, columns to show; sorted by day and photo_id. x, y: (N,) float32, NaN where a photo has no place.
    axes: names of x and y if they are columns; None on the map of embeddings. neighbours: (N, K) row numbers, -1 for none.
    sha256: of each photo.
    """

    rows: pl.DataFrame
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    axes: tuple[str, str] | None
    neighbours: npt.NDArray[np.int32]
    sha256: list[str]

    def without(self, *columns: str) -> "Points":
        """The same photos without these columns."""
        return replace(self, rows=self.rows.drop(columns, strict=False))


def points(
    training: pl.DataFrame,
    *,
    places: pl.DataFrame | None = None,
    styles: pl.DataFrame | None = None,
    photos: pl.DataFrame | None = None,
    labels: pl.DataFrame | None = None,
    predictions: pl.DataFrame | None = None,
    owners: Mapping[int, str] | None = None,
    axes: tuple[str, str] = FALLBACK_AXES,
) -> Points:
    """The photos of a training table with what other tables know of them; each of those may be missing.

    training: TrainingTable, maybe less its embeddings. places: EmbeddingMap, of one night. styles: PhotoStyles.
    photos: PhotoMetadata. labels: day, key, sha256, column, value. predictions: photo_id, prediction. owners: a pseudonym by
    user_id; without them no owner is shown. axes: of the map where `places` has none of the photos.
    """
    rows = training.sort("day", "photo_id")
    if owners is not None:
        names = pl.DataFrame(
            {"user_id": list(owners), "owner": list(owners.values())}, schema_overrides={"user_id": pl.Int64}
        )
        rows = _joined(rows, names, ["user_id"], ["owner"])
    if styles is not None:
        rows = _joined(rows, styles, ["day", "sha256"], ["look", "look_probability"])
    if labels is not None and photos is not None:
        rows = _labelled(rows, photos, labels)
    if photos is not None:
        rows = _joined(rows, photos, ["day", "photo_id"], ["title", "key"])
    if predictions is not None:
        rows = _joined(rows, predictions, ["photo_id"], ["prediction"])
        if "popularity" in rows.columns:
            rows = rows.with_columns(model_error=pl.col("prediction") - pl.col("popularity"))
    if places is not None and places.height:
        of_map = [name for name in ("x", "y", "cluster", "duplicate_group", "neighbours") if name in places.columns]
        rows = _joined(rows, places, ["photo_id"], of_map)
        # A cluster is a name, not a number, and -1 is none; a group's name is a hash.
        shown_as = {
            "cluster": pl.when(pl.col("cluster") >= 0).then(pl.col("cluster")).cast(pl.String),
            "duplicate_group": pl.col("duplicate_group").str.head(12),
        }
        rows = rows.with_columns(**{name: text for name, text in shown_as.items() if name in of_map})
    on_map = "x" in rows.columns and rows["x"].is_not_null().any()
    across, up = ("x", "y") if on_map else axes
    shown = [name for name in FIRST if name in rows.columns]
    shown += [name for name in rows.columns if name not in FIRST and name not in HIDDEN]
    return Points(
        rows=rows.select(shown),
        x=_axis(rows, across),
        y=_axis(rows, up),
        axes=None if on_map else (across, up),
        neighbours=_neighbours(rows),
        sha256=rows["sha256"].to_list(),
    )


def class_labels(consensus: pl.DataFrame) -> pl.DataFrame:
    """(day, key, sha256, column, value) of the answers of LabelConsensus that are one class of an upload.

    Those to a campaign's newest question alone: two versions may ask different things.
    """
    answers = consensus.join(_newest_versions(consensus), on=["campaign", "version"], how="semi").filter(ARE_CLASSES)
    return answers.select("day", "key", "sha256", column="label " + pl.col("campaign"), value=CHOICE)


def suspects(rows: pl.DataFrame, consensus: pl.DataFrame) -> pl.DataFrame:
    """(day, key, sha256, column, value) of rows of LabelSuspects of one night that are uploads: why the label is one.

    consensus: LabelConsensus. A suspect of an older version of its question is none of the labels that `class_labels` shows.
    """
    of_newest = rows.join(_newest_versions(consensus), on=["campaign", "version"], how="semi", maintain_order="left")
    of_uploads = of_newest.filter(pl.col("target") == "upload").sort("score", descending=True, maintain_order=True)
    return of_uploads.select("key", "sha256", day="photo_day", column="suspect " + pl.col("campaign"), value="kind")


def _newest_versions(consensus: pl.DataFrame) -> pl.DataFrame:
    return consensus.group_by("campaign").agg(pl.col("version").max())


def _labelled(rows: pl.DataFrame, photos: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The rows with the columns that labels name. A label is one of a content: other bytes under the same key have none."""
    of_photos = labels.join(photos.select("day", "photo_id", "key"), on=["day", "key"], maintain_order="left")
    for (name,), of_column in of_photos.group_by("column", maintain_order=True):
        rows = _joined(rows, of_column.rename({"value": str(name)}), ["day", "photo_id", "sha256"], [str(name)])
    return rows


def _joined(rows: pl.DataFrame, others: pl.DataFrame, on: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """The rows, in order, each once, with these columns of others; those that they have already stay as they are."""
    new = [name for name in columns if name in others.columns and name not in rows.columns]
    one_each = others.select(*on, *new).unique(on, keep="first", maintain_order=True)
    return rows.join(one_each, on=on, how="left", maintain_order="left")


def _axis(rows: pl.DataFrame, name: str) -> npt.NDArray[np.float32]:
    if name not in rows.columns:
        return np.full(rows.height, np.nan, np.float32)
    values: npt.NDArray[Any] = rows[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return np.where(np.isfinite(values), values, np.nan).astype(np.float32)


def _neighbours(rows: pl.DataFrame) -> npt.NDArray[np.int32]:
    """Row numbers of each photo's neighbours that are on the page, nearest first."""
    found = np.full((rows.height, MAX_NEIGHBOURS), -1, np.int32)
    if "neighbours" not in rows.columns or rows.is_empty():
        return found[:, :0]
    numbered = rows.select("sha256").with_row_index("place").unique("sha256", keep="first", maintain_order=True)
    pairs = (
        rows.select("neighbours")
        .with_row_index("row")
        .explode("neighbours", empty_as_null=False, keep_nulls=False)
        .rename({"neighbours": "sha256"})
        .join(numbered, on="sha256", maintain_order="left")
        .with_columns(rank=pl.int_range(pl.len()).over("row"))
        .filter(pl.col("rank") < MAX_NEIGHBOURS)
    )
    found[pairs["row"].to_numpy(), pairs["rank"].to_numpy()] = pairs["place"].to_numpy()
    return found
