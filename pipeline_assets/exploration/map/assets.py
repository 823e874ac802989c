"""The asset of the map of photos."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import polars as pl

from pipeline_assets.errors import BadImage
from pipeline_assets.exploration.map import codes, embeddings, groups, layout, neighbours, reference, rows
from pipeline_assets.exploration.map.schemas import EmbeddingMap
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import Days
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion import duplicates
from resources.classifier import ClassifierChoice
from resources.database import ledger
from resources.database.contract import Database
from resources.filesystem import Filesystem
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.objects.results import KEY, Results

ALL_DAYS = Days(-3_650, 0)
"""Ten years, the longest that a project is expected to have lasted."""
KIND = "embedding_map"
"""Under which references are kept."""
ROWS_AT_ONCE = 20_000
"""Embeddings that are in memory at a time: 100 MB of the built-in classifier's."""


def view_of(lake: Lake, files: Filesystem, model_id: str, wanted: pl.Series, photo_classes: pl.LazyFrame) -> embeddings.View:
    """The vectors of these contents, read from `photo_classes` of their model where they are not on the disk yet.

    What the newest table of the lake does not hold any more is removed from the disk.
    """

    def existing() -> pl.Series:
        if not lake.exists("photo_classes"):
            return pl.Series([], dtype=pl.String)
        return lake.scan("photo_classes").filter(model_id=model_id).select("sha256").unique().collect()["sha256"]

    def read(missing: Sequence[str]) -> Iterator[pl.DataFrame]:
        names = pl.Series(missing, dtype=pl.String)
        first_days = (
            photo_classes.filter(pl.col("sha256").is_in(names.implode())).group_by("sha256").agg(pl.col("day").min())
        )
        places = first_days.collect().sort("day", "sha256")
        for part in places.iter_slices(ROWS_AT_ONCE):
            days = part["day"].unique()
            files.require_free(part.height * 8_000)
            of_days = photo_classes.filter(
                pl.col("day").is_in(days.implode()), pl.col("sha256").is_in(part["sha256"].implode())
            )
            found = of_days.select("sha256", "embedding", "day").sort("day", "sha256").collect()
            yield found.unique("sha256", keep="first", maintain_order=True).select("sha256", "embedding")

    with files.writing():
        return embeddings.synced(files.path(re.sub(r"[^\w.-]", "_", model_id)), wanted, read, existing)


def _before(run: RunOfDays, night: date, lake: Lake, database: Database) -> pl.DataFrame:
    """The contents of the last night before this one that the same code computed, each once."""
    entries = ledger.latest(database, [run.asset], date.min, date.max)
    usable = entries.filter(pl.col("day") < night, pl.col("digest") != "", code_version=run.code_version).sort("day")
    if usable.is_empty() or not lake.exists(run.asset):
        return EmbeddingMap.create_empty().unique("sha256")
    newest = usable.row(-1, named=True)
    earlier = lake.scan(run.asset, [newest["day"]], newest["delta_version"]).collect()
    return earlier.unique(["sha256", "model_id"], keep="first", maintain_order=True)


class _Keeper:
    """Keeps references by version, so that a map stays the same wherever it is computed."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def kept(self, version: str | None) -> rows.Landmarks | None:
        """The reference of a version; None if it is not kept."""
        for part in self.results.parts(KIND, [version]) if version else ():
            facts = json.loads(part["facts_json"][0])
            landmarks = part["landmarks"].explode().struct.unnest()
            return rows.Landmarks(landmarks, facts["until"], facts["made_of"])
        return None

    def laid_out(self, photos: reference.Photos, version: str, landmarks: neighbours.Items, until: int) -> rows.Landmarks:
        """The kept reference, or a new one, which is then kept."""
        if (kept := self.kept(version)) is not None:
            return kept
        vectors = photos.vectors[photos.rows[landmarks]]
        places = layout.places(vectors)
        frame = pl.DataFrame(
            {
                "sha256": [photos.sha256[number] for number in landmarks],
                "x": places[:, 0],
                "y": places[:, 1],
                "cluster": layout.clusters(places),
            }
        )
        made = rows.Landmarks(frame, until, reference.made_of(photos, until))
        facts = json.dumps({"until": until, "made_of": made.made_of})
        row = pl.DataFrame({KEY: [version], "facts_json": [facts], "landmarks": frame.to_struct().implode()})
        self.results.put(KIND, row)
        return self.kept(version) or made  # another process may have been first


def _rejected(night: date, unusable: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Photos whose embedding has no direction."""
    empty = Rejected.create_empty()
    found = [
        part.select(
            day=pl.lit(night, pl.Date),
            source="key",
            reason=pl.lit("bad_embedding"),
            detail=pl.lit("its embedding is zero, not finite, or of another width than the others of its model"),
            raw=pl.lit(None, pl.String),
        )
        for part in unusable
    ]
    return pl.concat([empty, *found])


@table_asset(
    schema=EmbeddingMap,
    group="exploration",
    inputs={"raw_uploads": ALL_DAYS, "photo_metadata": ALL_DAYS, "photo_classes": ALL_DAYS},
    code=[rows, neighbours, reference, layout, groups, duplicates, codes, embeddings, view_of, _before, _Keeper, _rejected],
    quarantines=True,
    kinds={"numpy", "polars"},
    days="nights",
    days_per_run=1,
    lineage={
        "key": [("raw_uploads", "key")],
        "photo_id": [("photo_metadata", "photo_id")],
        "sha256": [("raw_uploads", "sha256")],
        "duplicate_group": [("raw_uploads", "sha256"), ("raw_uploads", "phash"), ("photo_classes", "embedding")],
        **{
            name: [("photo_classes", "embedding")]
            for name in ("x", "y", "cluster", "landmark_similarity", "neighbours", "neighbour_similarity")
        },
    },
)
def embedding_map(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    lake: Lake,
    database: Database,
    objects: Objects,
    map_files: Filesystem,
) -> Iterator[Table]:
    """Each photo of all days on a map: its place and cluster, its ten nearest photos, and its group of duplicates.

    Neighbours are exact, by cosine over the full embedding. A map grows without moving a photo: a fixed reference of up to
    1,000 photos places all others, and a new version replaces it when more than a quarter of the photos of four weeks are
    unlike all of them. A night compares only what is new with all others, and gives what computing all anew would give.
    Photos of two models are never compared: each model has its own map. Photos without a usable embedding are in
    `embedding_map_rejected`.
    """
    for night in run.days:
        until = pl.col("day") <= night
        photos = rows.photos_of(raw_uploads.filter(until), photo_metadata.filter(until), photo_classes.filter(until))
        before = _before(run, night, lake, database)
        maps, unusable = {}, []
        for model_id in photos["model_id"].unique().sort():
            contents = rows.contents_of(photos, model_id)
            embedded = photo_classes.filter(until, model_id=model_id)
            view = view_of(lake, map_files, model_id, contents["sha256"], embedded)
            is_usable = pl.Series(view.is_usable(view.rows_of(contents["sha256"])))
            unusable.append(
                photos.filter(pl.col("sha256").is_in(contents.filter(~is_usable)["sha256"].implode()), model_id=model_id)
            )
            keeper = _Keeper(Results(database, objects.store))
            earlier = before.filter(model_id=model_id)
            kept = keeper.kept(next(iter(earlier["map_version"]), None))
            maps[model_id] = rows.mapped(model_id, contents.filter(is_usable), view, earlier, kept, keeper.laid_out)
            _say(run, model_id, maps[model_id])
        facts = {
            f"map of {model_id}": f"version {one.version} of {one.landmarks:,} landmarks ({one.reason}); "
            f"{one.compared:,} of {one.contents.height:,} contents compared anew"
            for model_id, one in maps.items()
        }
        yield Table(rows.table(night, photos, maps), rejected=_rejected(night, unusable), metadata=facts)


def _say(run: RunOfDays, model_id: str, one: rows.Mapped) -> None:
    if one.reason != "as before" and one.version:
        run.log.info(f"New map {one.version} of {model_id}, all photos get new places: {one.reason}")


def embedding_of(photo: bytes, classifier: ClassifierChoice) -> neighbours.Floats:
    """The unit vector of a photo's embedding by the chosen classifier. Raises BadImage if it can't be decoded."""
    from pipeline_assets.classify import models, pipeline  # torch takes seconds to import

    network = models.load_classifier(classifier.model)
    batches = pipeline.classify_photos(iter([("photo", photo)]), classifier=network, device=classifier.device, batch_size=1)
    for batch in batches:
        for failure in batch.failures:
            raise BadImage(failure.reason, failure.detail)
        embedding = batch.classes["embedding"][0].to_numpy()[None, :]
        if neighbours.usable(embedding).all():
            return np.asarray(neighbours.unit_vectors(embedding)[0])
    raise BadImage("bad_embedding", "the classifier gives no usable embedding of this photo")
