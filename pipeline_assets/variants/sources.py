"""The six tables of variants: what each is made of, and how the bytes of its parents are got.

Assets, `darkroom variants` and the checks all look here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal

import dataframely as dy
import polars as pl

from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.held import HELD_BYTES
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.transfer import temporary
from pipeline_assets.variants import parents, photos, receipts, schemas, speech, tables, text, video
from pipeline_assets.variants.families import NO_OTHERS
from pipeline_assets.variants.kinds import Fetch, Kind
from pipeline_assets.variants.tables import frames
from resources import ledger
from resources.errors import NotFound, TooLarge
from resources.lake import Lake
from resources.object_store import ObjectStore

READ_AHEAD = 16
"""Uploads fetched at once while earlier ones are worked on."""


@dataclass(frozen=True)
class Source:
    """One table of variants.

    reads: the table that its parents are in, and `annotations` where these are labelled; none where parents come along.
    parents: of the days of a frame of that table, or of the days themselves: columns as `parents` says.
    """

    asset: str
    kind: Kind
    schema: type[dy.Schema]
    reads: Mapping[str, type[dy.Schema]]
    parents: Callable[..., pl.DataFrame]
    labels_of: Literal["upload", "title"] | None = None
    """What of a photo its annotations are of; None for kinds whose labels come with their parents."""
    owned: Callable[[pl.LazyFrame], pl.DataFrame] | None = None
    """Items of all days of the table, as `families.leaking` wants them; None where families are of one day."""

    def of(self, inputs: Mapping[str, pl.LazyFrame], days: Sequence[date]) -> pl.DataFrame:
        """The parents of these days. inputs: by table; may hold more days."""
        if not self.reads:
            return self.parents(days)
        wanted = pl.Series(list(days), dtype=pl.Date)
        of_days = {name: inputs[name].filter(pl.col("day").is_in(wanted.implode())) for name in self.reads}
        found = self.parents(of_days[next(iter(self.reads))])
        return parents.labelled(found, of_days["annotations"], self.labels_of) if self.labels_of else found

    def scan(self, lake: Lake) -> dict[str, pl.LazyFrame]:
        """The tables that parents are in, for `of`; one that no run has written yet is empty."""
        return {
            name: lake.scan(name) if lake.exists(name) else table.create_empty().lazy() for name, table in self.reads.items()
        }

    def others(self, lake: Lake | None) -> pl.DataFrame:
        """Items of all days that the lake has, beside which families are looked for. lake: None for kinds without."""
        name = next(iter(self.reads), "")
        if self.owned is None or lake is None or not lake.exists(name):
            return NO_OTHERS
        return self.owned(lake.scan(name))


def fetch_from(found: pl.DataFrame, uploads: ObjectStore) -> Fetch:
    """Reads the contents of a frame of parents: those that it brings along, or uploads; large ones into temporary files."""
    if "data" in found.columns:
        contents = dict(zip(found["sha256"], found["data"], strict=True))
        return lambda hashes: ((sha256, contents[sha256]) for sha256 in hashes)
    places = {row["sha256"]: (row["key"], ledger.readable_version(row["version_id"])) for row in found.iter_rows(named=True)}

    def fetch(hashes: Iterable[str]) -> Iterator[tuple[str, bytes | Path | Exception]]:
        fetched = uploads.get_many(
            hashes,
            key=lambda sha256: places[sha256][0],
            version_id=lambda sha256: places[sha256][1],
            concurrency=READ_AHEAD,
            max_object_bytes=HELD_BYTES,
        )
        for sha256, data in fetched:
            yield sha256, _in_file(uploads, *places[sha256]) if isinstance(data, TooLarge) else data

    return fetch


def _in_file(store: ObjectStore, key: str, version_id: str | None) -> Path | NotFound:
    try:
        return temporary(store, key, version_id, store.head(key, version_id=version_id).size)
    except NotFound as gone:
        return gone


def _of_uploads(asset: str, kind: Kind, schema: type[dy.Schema], media: str) -> Source:
    of_days, of_all = partial(parents.uploads, media=media), partial(parents.owned, media=media)
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
            parents.titles,
            "title",
        ),
        Source(
            "table_variants",
            tables.KIND,
            schemas.TableVariants,
            {"user_features": UserFeatures},
            partial(parents.tables, name="user_features", keys=("day", "user_id", "as_of"), write=frames.write_table),
        ),
        _of_uploads("speech_variants", speech.KIND, schemas.SpeechVariants, "audio/"),
        _of_uploads("video_variants", video.KIND, schemas.VideoVariants, "video/"),
        Source(
            "receipt_renders",
            receipts.KIND,
            schemas.ReceiptRenders,
            {},
            partial(parents.in_turn, contents=receipts.TEMPLATES),
        ),
    )
}
"""By the kind's name."""
