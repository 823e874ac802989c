"""From photos and their embeddings to the rows of a night's map. Pure but for the vectors, which are mapped from a file.

`neighbours.py`, `reference.py` and `groups.py` compute; here rows of tables become numbers, and numbers rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline_assets.exploration.map import groups, reference
from pipeline_assets.exploration.map.embeddings import View
from pipeline_assets.exploration.map.neighbours import NONE, Items, Lists, updated
from pipeline_assets.exploration.map.reference import Photos, Placed
from pipeline_assets.exploration.map.schemas import EmbeddingMap
from pipeline_assets.ingestion.schemas import IS_PHOTO

_NUMBERED: dict[str, pl.DataType | type[pl.DataType]] = {
    "sha256": pl.String,
    "x": pl.Float32,
    "y": pl.Float32,
    "cluster": pl.Int32,
    "landmark_similarity": pl.Float32,
}
_MAPPED: dict[str, pl.DataType | type[pl.DataType]] = {
    **_NUMBERED,
    "map_version": pl.String,
    "neighbours": pl.List(pl.String),
    "neighbour_similarity": pl.List(pl.Float32),
}


@dataclass(frozen=True)
class Landmarks:
    """The reference of a map as it is kept. rows: sha256, x, y, cluster, by sha256; until, made_of: see `reference`."""

    rows: pl.DataFrame
    until: int
    made_of: str


@dataclass(frozen=True)
class Mapped:
    """The contents of one model on their map: the columns of _MAPPED. reason: why the map has this reference."""

    contents: pl.DataFrame
    version: str
    landmarks: int
    compared: int
    reason: str


Layout = Callable[[Photos, str, Items, int], Landmarks]
"""Returns the kept reference of a version, or lays it out and keeps it: (photos, version, landmarks, until)."""


def photos_of(raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame, photo_classes: pl.LazyFrame) -> pl.DataFrame:
    """The classified photos: key, photo_id, upload_day, sha256, phash, model_id, arrived. By key.

    Of a key's versions the newest that is a photo; of several photos of the application with one key the smallest id.
    arrived: the day on which the upload was there, not before its upload day.
    """
    uploads = (
        raw_uploads.filter(IS_PHOTO, pl.col("sha256").is_not_null())
        .select("key", "sha256", "phash", "uploaded_at", "version_id", upload_day="day")
        .sort("key", "uploaded_at", "version_id")
        .unique("key", keep="last", maintain_order=True)
    )
    ids = photo_metadata.group_by("day", "key").agg(pl.col("photo_id").min()).rename({"day": "upload_day"})
    classes = photo_classes.select("sha256", "model_id", upload_day="day")
    return (
        uploads.join(classes, on=["upload_day", "sha256"])
        .join(ids, on=["upload_day", "key"], how="left")
        .with_columns(arrived=pl.max_horizontal("upload_day", pl.col("uploaded_at").dt.date()))
        .select("key", "photo_id", "upload_day", "sha256", "phash", "model_id", "arrived")
        .sort("key")
        .collect()
    )


def contents_of(photos: pl.DataFrame, model_id: str) -> pl.DataFrame:
    """The distinct contents of a model: sha256, arrived: the first day. By sha256."""
    return photos.filter(model_id=model_id).group_by("sha256").agg(pl.col("arrived").min()).sort("sha256")


def mapped(
    model_id: str, contents: pl.DataFrame, view: View, before: pl.DataFrame, kept: Landmarks | None, layout: Layout
) -> Mapped:
    """Map the contents of one model.

    contents: as of `contents_of`, with a usable vector each. before: distinct rows of _MAPPED of an earlier night of this
    model; kept: the reference of their map. Both only save work: with none the answer is the same.
    """
    rows = view.rows_of(contents["sha256"])
    photos = Photos(
        model_id,
        contents["sha256"].to_list(),
        rows,
        contents["arrived"].to_physical().cast(pl.Int64).to_numpy(),
        view.vectors,
    )
    if contents.is_empty():
        return Mapped(pl.DataFrame(schema=_MAPPED), "", 0, 0, "no photos")
    lists, compared = _neighbours(photos, before)
    old = contents.select("sha256").join(before, on="sha256", how="left", maintain_order="left")
    versions = old["map_version"]

    def fits(landmarks: Items) -> np.ndarray | None:
        is_known = versions == reference.version_of(photos, landmarks)
        fit = old["landmark_similarity"].set(~is_known.fill_null(False), None)
        return fit.cast(pl.Float32).fill_null(float("nan")).to_numpy().copy() if is_known.any() else None

    since = kept.until if kept and reference.made_of(photos, kept.until) == kept.made_of else None
    chosen = reference.choose(photos, since, fits)
    version = reference.version_of(photos, chosen.landmarks)
    reason = "as before" if kept and (versions == version).any() else chosen.reason
    laid = layout(photos, version, chosen.landmarks, chosen.until).rows
    known = _placed(old.with_columns(is_known=(versions == version).fill_null(False)))
    placed = reference.place(
        photos, chosen.landmarks, laid.select("x", "y").to_numpy().astype(np.float32), laid["cluster"].to_numpy(), known
    )
    frame = pl.DataFrame(
        {
            "sha256": contents["sha256"],
            "x": placed.places[:, 0],
            "y": placed.places[:, 1],
            "cluster": placed.clusters,
            "landmark_similarity": placed.fit,
            "map_version": pl.repeat(version, contents.height, dtype=pl.String, eager=True),
            **_columns(lists, contents["sha256"]),
        },
        schema=_MAPPED,
    )
    return Mapped(frame, version, len(chosen.landmarks), compared, reason)


def _placed(old: pl.DataFrame) -> Placed:
    known = old.select(pl.when("is_known").then(pl.col(name)).alias(name) for name in _NUMBERED if name != "sha256")
    numbers = known.select(pl.col(pl.Float32).fill_null(float("nan")))
    places = np.ascontiguousarray(numbers.select("x", "y").to_numpy().astype(np.float32))
    return Placed(places, known["cluster"].fill_null(-1).to_numpy().copy(), numbers["landmark_similarity"].to_numpy().copy())


def _neighbours(photos: Photos, before: pl.DataFrame) -> tuple[Lists, int]:
    """The exact neighbours, and how many contents were compared with all others: new ones, and those that lost one."""
    names = pl.DataFrame({"sha256": photos.sha256}, schema={"sha256": pl.String}).with_row_index("number")
    old = names.join(before.select("sha256", "neighbours", "neighbour_similarity"), on="sha256")
    pairs = old.select("number", "neighbours", "neighbour_similarity").explode("neighbours", "neighbour_similarity")
    pairs = pairs.drop_nulls().with_columns(place=pl.int_range(pl.len()).over("number"))
    pairs = pairs.join(names.select(neighbours="sha256", other="number"), on="neighbours", how="left")
    again = pairs.filter(pl.col("other").is_null())["number"].unique()
    pairs = pairs.filter(~pl.col("number").is_in(again.implode()))
    lists = Lists.empty(names.height)
    cells = pairs["number"].to_numpy(), pairs["place"].to_numpy()
    lists.ids[cells] = pairs["other"].to_numpy()
    lists.similarity[cells] = pairs["neighbour_similarity"].to_numpy()
    new = names.filter(~pl.col("number").is_in(old["number"].implode()))["number"]
    compared = [part.sort().cast(pl.Int64).to_numpy() for part in (new, again)]
    return updated(photos.vectors, photos.rows, lists, *compared), sum(map(len, compared))


def _columns(lists: Lists, sha256: pl.Series) -> dict[str, pl.Series]:
    """The lists as columns, without the places of none."""
    there = lists.ids != NONE
    names = sha256.gather(pl.Series(lists.ids[there]))
    numbers = pl.Series(np.repeat(np.arange(len(sha256)), there.sum(axis=1)))
    flat = pl.DataFrame({"number": numbers, "neighbours": names, "neighbour_similarity": lists.similarity[there]})
    grouped = flat.group_by("number", maintain_order=True).agg("neighbours", "neighbour_similarity")
    every = pl.DataFrame({"number": pl.int_range(len(sha256), eager=True, dtype=pl.Int64)})
    whole = every.join(grouped, on="number", how="left", maintain_order="left")
    return {
        "neighbours": whole["neighbours"].fill_null(pl.Series([[]], dtype=pl.List(pl.String))),
        "neighbour_similarity": whole["neighbour_similarity"].fill_null(pl.Series([[]], dtype=pl.List(pl.Float32))),
    }


def table(night: object, photos: pl.DataFrame, maps: Mapping[str, Mapped]) -> pl.DataFrame:
    """Rows of `EmbeddingMap`: the photos with a place, by key. photos: as of `photos_of`."""
    empty = pl.DataFrame(schema={**_MAPPED, "model_id": pl.String})
    contents = pl.concat(
        [empty, *(one.contents.with_columns(model_id=pl.lit(model_id, pl.String)) for model_id, one in maps.items())]
    )
    placed = photos.join(contents, on=["sha256", "model_id"], maintain_order="left")
    return (
        placed.join(groups.groups(placed.select("sha256", "phash"), nearly_equal(contents)), on="sha256", how="left")
        .with_columns(day=pl.lit(night, pl.Date))
        .select(EmbeddingMap.column_names())
        .sort("key")
    )


def nearly_equal(contents: pl.DataFrame) -> pl.DataFrame:
    """Pairs of contents whose embeddings are nearly equal: left, right. Those of the 10 nearest, which join all others."""
    pairs = contents.select(left="sha256", right="neighbours", similarity="neighbour_similarity")
    pairs = pairs.explode("right", "similarity").drop_nulls()
    return pairs.filter(pl.col("similarity") >= groups.NEARLY_EQUAL).select("left", "right")
