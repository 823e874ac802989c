"""A pinned table with photos, in a real lake and store, and a pinned folder: small, but with every type of column."""

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.records import ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import SCHEMA
from pipeline_assets.versioning.pin.pins import Label, reference, store_folder
from pipeline_assets.versioning.pin.reference import Code, TableVersion
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

ROWS, DAYS = 24, 3
FIRST = date(2026, 2, 1)
LABEL = Label("set", Code(commit="a" * 40, clean=True), "tests", "", datetime(2026, 3, 1, tzinfo=UTC))


def jpeg(seed: int) -> bytes:
    """A photo of 40 x 30 pixels, unlike that of any other seed."""
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


def hexes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def some_rows(photos: list[bytes]) -> pl.DataFrame:
    """Rows by day, two of which share a photo, with nulls wherever a real table has them, and odd text."""
    number = range(ROWS)
    at = datetime(2026, 2, 1, 12, 30, 15, 123456, tzinfo=UTC)
    return pl.DataFrame(
        {
            "day": [FIRST + timedelta(days=n * DAYS // ROWS) for n in number],
            "photo_id": [1000 + n for n in number],
            "sha256": [hexes(photos[n % len(photos)]) for n in number],
            "posted_at": [at + timedelta(hours=n) for n in number],
            "taken_at": [None if n % 4 else at.replace(tzinfo=None) for n in number],
            "posted_hour": pl.Series([n % 24 for n in number], dtype=pl.Int8),
            "has_location": [n % 3 == 0 for n in number],
            "followers_at_post": [None if n % 5 == 0 else 2**40 + n for n in number],
            "mean_popularity_30d": pl.Series([None if n % 2 else n / 7 for n in number], dtype=pl.Float32),
            "title": [None if n % 6 == 0 else f"Zoë's № {n} 🐈\n" for n in number],
            "top_class": ["tabby" if n % 2 else "beach wagon" for n in number],
            "top5_label": [["tabby", "é"] if n % 2 else [] for n in number],
            "embedding": pl.Series([[n / 3, -1.5, float("inf")] for n in number], dtype=pl.List(pl.Float32)),
        }
    )


@dataclass(frozen=True)
class World:
    """A lake and a store with what is pinned there."""

    lake: Lake
    store: ObjectStore

    def table(self) -> tuple[Pinned, pl.DataFrame, dict[str, bytes]]:
        """A pinned table, its rows in order, and the bytes by sha256."""
        photos = [jpeg(n) for n in range(ROWS - 1)]
        rows = some_rows(photos)
        uploads = pl.DataFrame(
            {
                "day": rows["day"].unique().sort()[0],
                "sha256": [hexes(photo) for photo in photos],
                "key": [f"uploads/2026-02-01/1/{n}.jpg" for n in range(len(photos))],
                "version_id": "1",
                "uploaded_at": datetime(2026, 2, 1, tzinfo=UTC),
                "media_type": "image/jpeg",
                "verdict": "ok",
                "width_px": pl.Series([40] * len(photos), dtype=pl.Int32),
                "height_px": pl.Series([30] * len(photos), dtype=pl.Int32),
            }
        )
        titles = rows.select("day", "photo_id", pl.col("title").fill_null("")).sort("photo_id", descending=True)
        tables = {"training_table": rows, "raw_uploads": uploads, "photo_metadata": titles}
        versions = {name: self._written(name, frame) for name, frame in tables.items()}
        keys = [self.store.put_if_absent(photo) for photo in photos]
        files = pl.DataFrame(
            {
                "path": [f"files/{ref.sha256[:2]}/{ref.sha256}.jpg" for ref in keys],
                "sha256": [bytes.fromhex(ref.sha256) for ref in keys],
                "size_bytes": [ref.size for ref in keys],
                "store": "objects",
                "key": [f"sha256/{ref.sha256[:2]}/{ref.sha256[2:]}" for ref in keys],
                "version_id": None,
                "offset": None,
            },
            schema=SCHEMA,
        )
        made = reference(LABEL, files, self.store, {}, "training_table", versions)
        return self.opened(made), rows, {hexes(photo): photo for photo in photos}

    def folder(self, root: Path, files: dict[str, bytes]) -> Pinned:
        """A pinned folder of these files."""
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        stored = store_folder(root, self.store, pl.DataFrame(schema=SCHEMA), root.with_suffix(".memory"))
        return self.opened(reference(LABEL, stored.files, self.store, {}))

    def opened(self, made: object) -> Pinned:
        return Pinned(made, self.lake, {"objects": self.store, "uploads": self.store})  # type: ignore[arg-type]

    def _written(self, name: str, rows: pl.DataFrame) -> TableVersion:
        days = rows["day"].unique().sort().to_list()
        version = self.lake.replace(name, days, rows)
        return TableVersion(version=version, first_day=days[0], last_day=days[-1], rows=rows.height, digest="0" * 32)


def exported(pinned: Pinned, folder: Path, kind: str, asked: ExportOptions = ExportOptions()) -> Exported:  # noqa: B008  it is frozen
    """Export without telling how far it is."""
    done: Exported = FORMATS[kind].load().export(pinned, Target(folder), asked, lambda line: None)
    return done
