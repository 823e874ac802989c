"""The six tables of variants: the parents of each, and how their bytes are read.

Used by the assets, `darkroom variants` and the checks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Literal

import dataframely as dy
import polars as pl

from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.runtime.blobs import MAX_IN_MEMORY_BYTES
from pipeline_assets.runtime.places import Contents, Find, nowhere, places_of
from pipeline_assets.variants import originals, photos, receipts, schemas, speech, tables, text, video
from pipeline_assets.variants.families import NO_OTHERS
from pipeline_assets.variants.kinds import Fetch, Kind
from pipeline_assets.variants.tables import frames
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

READ_AHEAD = 16
"""Uploads fetched ahead while earlier ones are processed."""


@dataclass(frozen=True)
class Source:
    """One table of variants.

    reads: the table of its parents, and `annotations` if they have labels; empty if parents come with the code.
    parents: returns the parents from a frame of that table, or from the days; columns as in `originals.py`.
    """

    asset: str
    kind: Kind
    schema: type[dy.Schema]
    reads: Mapping[str, type[dy.Schema]]
    parents: Callable[..., pl.DataFrame]
    labels_of: Literal["upload", "title"] | None = None
    """Which annotations are labels; None for kinds whose labels come with their parents."""
    owned: Callable[[pl.LazyFrame], pl.DataFrame] | None = None
    """Returns items of all days of the table for `families.leaking`; None if families do not span days."""

    def of(self, inputs: Mapping[str, pl.LazyFrame], days: Sequence[date]) -> pl.DataFrame:
        """The parents of these days. inputs: by table; may have more days."""
        if not self.reads:
            return self.parents(days)
        day_series = pl.Series(list(days), dtype=pl.Date)
        of_days = {name: inputs[name].filter(pl.col("day").is_in(day_series.implode())) for name in self.reads}
        rows = self.parents(of_days[next(iter(self.reads))])
        return originals.labelled(rows, of_days["annotations"], self.labels_of) if self.labels_of else rows

    def scan(self, lake: Lake) -> dict[str, pl.LazyFrame]:
        """The tables of the parents, for `of`; a table that was never written is empty."""
        return {
            name: lake.scan(name) if lake.exists(name) else table.create_empty().lazy() for name, table in self.reads.items()
        }

    def others(self, lake: Lake | None) -> pl.DataFrame:
        """Items of all days in the lake, among which relatives are searched. lake: None for kinds without families."""
        name = next(iter(self.reads), "")
        if self.owned is None or lake is None or not lake.exists(name):
            return NO_OTHERS
        return self.owned(lake.scan(name))


def fetch_from(parents: pl.DataFrame, uploads: ObjectStore, find: Find = nowhere) -> Fetch:
    """Reads the contents of a frame of parents: from its column `data`, or uploads; large ones into temporary files.

    find: further places of uploads that are missing from those of the frame.
    """
    if "data" in parents.columns:
        contents = dict(zip(parents["sha256"], parents["data"], strict=True))
        return lambda hashes: ((sha256, contents[sha256]) for sha256 in hashes)
    contents_at = Contents(uploads, places_of(parents), find)
    return lambda hashes: contents_at.read(hashes, concurrency=READ_AHEAD, max_in_memory_bytes=MAX_IN_MEMORY_BYTES)


def _of_uploads(asset: str, kind: Kind, schema: type[dy.Schema], media: str) -> Source:
    of_days, of_all = partial(originals.uploads, media=media), partial(originals.owned, media=media)
    reads = {"raw_uploads": RawUploads, "annotations": Annotations}
    return Source(asset, kind, schema, reads, of_days, "upload", of_all)


SOURCES = {
    source.kind.name: source
    for source in (
        _of_uploads("photo_variants", photos.KIND, schemas.PhotoVariants, "image/"),
        Source(
            "text_variants",
            text.KIND,
            schemas.TextVariants,
            {"photo_metadata": PhotoMetadata, "annotations": Annotations},
            originals.titles,
            "title",
        ),
        Source(
            "table_variants",
            tables.KIND,
            schemas.TableVariants,
            {"user_features": UserFeatures},
            partial(originals.tables, name="user_features", keys=("day", "user_id", "as_of"), write=frames.write_table),
        ),
        _of_uploads("speech_variants", speech.KIND, schemas.SpeechVariants, "audio/"),
        _of_uploads("video_variants", video.KIND, schemas.VideoVariants, "video/"),
        Source(
            "receipt_renders",
            receipts.KIND,
            schemas.ReceiptRenders,
            {},
            partial(originals.in_turn, contents=receipts.TEMPLATES),
        ),
    )
}
"""By the kind's name."""
