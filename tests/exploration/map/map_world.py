"""A small world of the map: photos of some days with embeddings made by hand, and nights of the asset."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from pipeline_assets.catalog import exploration_map
from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.framework.partitions import daily
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.filesystem import Filesystem
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.objects.resource import Objects

FIRST = date(2026, 1, 3)
SCHEMA = {"sha256": pl.String, "embedding": pl.List(pl.Float32), "model_id": pl.String, "phash": pl.String}


class MapWorld:
    """Days of photos, each with the rows that ingestion and the classifier would write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Sqlite(url=f"sqlite:///{folder / 'darkroom.db'}")
        self.database.migrate()
        (folder / "lake").mkdir()
        self.lake = Lake(url=(folder / "lake").as_uri())
        self.objects = Objects(url=(folder / "objects").as_uri())
        self.files = Filesystem(root=str(folder / "map"))
        self.digests = 0

    def bring(self, day: date, photos: pl.DataFrame) -> None:
        """Replace a day by these photos: the columns of SCHEMA, one upload each, named by their place."""
        at = datetime.combine(day, time(12), UTC)
        keys = [f"uploads/{day}/1/{number}.jpg" for number in range(photos.height)]
        uploads = [
            dict.fromkeys(RawUploads.column_names())
            | {"day": day, "bucket": "uploads", "key": key, "version_id": "1", "uploaded_at": at, "size_bytes": 9}
            | {"sha256": sha256, "phash": phash, "media_type": "image/jpeg", "verdict": "ok"}
            for key, sha256, phash in zip(keys, photos["sha256"], photos["phash"], strict=True)
        ]
        known = [
            {
                "day": day,
                "photo_id": number + 1_000 * (day - FIRST).days,
                "key": key,
                "user_id": 1,
                "posted_at": at,
                "title": "",
            }
            | {"location": None, "followers_at_post": 0, "user_joined_at": at, "details_json": "{}"}
            for number, key in enumerate(keys)
        ]
        classes = photos.unique("sha256", keep="first", maintain_order=True).select(
            pl.lit(day).alias("day"),
            "sha256",
            "model_id",
            pl.lit([0], pl.List(pl.Int32)).alias("top5_index"),
            pl.lit(["cat"], pl.List(pl.String)).alias("top5_label"),
            pl.lit([1.0], pl.List(pl.Float32)).alias("top5_probability"),
            "embedding",
        )
        self.write("raw_uploads", day, pl.DataFrame(uploads, schema=RawUploads.create_empty().schema))
        self.write("photo_metadata", day, pl.DataFrame(known, schema=PhotoMetadata.create_empty().schema))
        self.write("photo_classes", day, classes.select(PhotoClasses.column_names()))

    def night(self, day: date) -> pl.DataFrame:
        """Compute a night; its rows by key."""
        upstream = [dg.AssetSpec(name, partitions_def=daily) for name in ("raw_uploads", "photo_metadata", "photo_classes")]
        done = dg.materialize(
            [exploration_map.embedding_map, *upstream],
            selection=["embedding_map"],
            partition_key=str(day),
            resources={
                "lake": self.lake,
                "io_manager": LakeIO(lake=self.lake),
                "database": self.database,
                "objects": self.objects,
                "map_files": self.files,
            },
        )
        assert done.success
        return self.rows(day)

    def rows(self, day: date) -> pl.DataFrame:
        return self.lake.scan("embedding_map", [day]).collect().sort("key")

    def rejected(self) -> pl.DataFrame:
        return self.lake.scan("embedding_map_rejected").collect()

    def write(self, name: str, day: date, rows: pl.DataFrame) -> None:
        """Replace a day of a table by these rows."""
        self.digests += 1
        version = self.lake.replace(name, [day], rows)
        entry = ledger.Materialization(name, day, f"{self.digests:032x}", rows.height, 0, "1", "", {}, version, None, "test")
        ledger.record(self.database, [entry])


def after(days: int) -> date:
    return FIRST + timedelta(days=days)
