"""Which rows a staging holds, in which order, cut into which shards: counted before any embedding is read.

Writing the shards is in `staging.py`. Rows go by day and photo, so that neither the files' order in the table nor
the number of rows read at once changes a shard.
"""

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from pipeline_assets.errors import NothingToTrainOn, SchemaMismatch, StagingCorrupt
from pipeline_assets.training.model.feature_matrix import COLUMNS, NAMES, features
from pipeline_assets.training.schemas import SPLITS

FORMAT = "darkroom-staging/1"
SCALARS = ("day", "photo_id", "sha256", "model_id", "split", "popularity", *COLUMNS)
READ_ROWS = 32_768
"""Rows held while reading: 170 MB of 1,280-dimensional embeddings."""


class Chunk(NamedTuple):
    """Rows that are read at once: whole days, or, of one day, the photos with ids from first to last."""

    first_day: dt.date
    last_day: dt.date
    first_photo: int
    last_photo: int
    rows: dict[str, int]


class Slot(NamedTuple):
    """One planned shard: rows first to last (exclusive) of its split, in order of day and photo."""

    shard: str
    split: str
    first: int
    last: int


@dataclass(frozen=True)
class StagingPlan:
    """Which rows a staging will hold, and how they are cut into shards."""

    table_version: int
    first_day: dt.date
    last_day: dt.date
    shard_rows: int
    embedding_dim: int
    model_id: str
    digest: str
    rows: dict[str, int]
    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        """Folder name: table version, days, and the first 8 digits of the content's digest."""
        return f"v{self.table_version}-{self.first_day}-{self.last_day}-{self.digest[:8]}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one staged row: photo id, day, label, features, embedding."""
        return 8 + 4 + 4 + 4 * len(NAMES) + 4 * self.embedding_dim

    def bytes_needed(self) -> int:
        """Bytes that the finished staging takes at most; a shard's framing and alignment are under 16 KiB."""
        return sum(self.rows.values()) * self.row_bytes + 16_384 * (len(self.layout()) + 1)

    def layout(self) -> list[Slot]:
        """Every shard in writing order."""
        return [
            Slot(f"{split}-{number:05d}.arrow", split, first, min(first + self.shard_rows, self.rows[split]))
            for split in SPLITS
            for number, first in enumerate(range(0, self.rows[split], self.shard_rows))
        ]

    def header(self) -> dict[str, Any]:
        """What the marker and the manifest say of the whole, as JSON values."""
        plan = {key: value for key, value in asdict(self).items() if key != "chunks"}
        days = {"first_day": str(self.first_day), "last_day": str(self.last_day)}
        return {"format": FORMAT, **plan, **days, "features": list(NAMES)}


def plan(rows: pl.LazyFrame, *, table_version: int, shard_rows: int = 8192, read_rows: int = READ_ROWS) -> StagingPlan:
    """Count and digest the mature rows of a training table, without reading the embeddings.

    rows: TrainingTable, read at Delta version `table_version`. The digest covers features, labels, splits and the
    shard size; an embedding is in it as its photo's sha256 and model id.
    Raises NothingToTrainOn without mature rows, SchemaMismatch where several classifiers made the embeddings.
    """
    mature = rows.filter(pl.col("popularity").is_not_null())
    days = mature.group_by("day").len().sort("day").collect(engine="streaming")
    if days.is_empty():
        raise NothingToTrainOn("no photo has a label yet: labels need seven days after posting; choose an older window")
    digest = _ContentDigest(shard_rows)
    chunks: list[Chunk] = []
    models: set[str] = set()
    for first, last in _day_runs(days, read_rows):
        run = mature.filter(pl.col("day").is_between(first, last)).select(SCALARS)
        frame = run.sort("day", "photo_id").collect(engine="streaming")
        digest.update(frame)
        models.update(frame["model_id"].unique())
        chunks += [_chunk(frame.slice(start, read_rows)) for start in range(0, frame.height, read_rows)]
    if len(models) > 1:
        raise SchemaMismatch(f"embeddings of several models ({', '.join(sorted(models))}): classify all days with one")
    return StagingPlan(
        table_version=table_version,
        first_day=days["day"][0],
        last_day=days["day"][-1],
        shard_rows=shard_rows,
        embedding_dim=mature.select(pl.col("embedding").first().list.len()).collect().item(),
        model_id=models.pop(),
        digest=digest.hexdigest(),
        rows={split: sum(chunk.rows[split] for chunk in chunks) for split in SPLITS},
        chunks=tuple(chunks),
    )


def missing_shards(rows: pl.LazyFrame, plan: StagingPlan, finished: Set[str]) -> Iterator[tuple[Slot, pl.DataFrame]]:
    """Yield every planned shard not in `finished` with its rows; reads only the chunks that these need."""
    mature = rows.filter(pl.col("popularity").is_not_null())
    unfinished = [slot for slot in plan.layout() if slot.shard not in finished]
    parts: dict[str, list[pl.DataFrame]] = defaultdict(list)
    starts = dict.fromkeys(SPLITS, 0)
    for chunk in plan.chunks:
        stops = {split: starts[split] + chunk.rows[split] for split in SPLITS}
        overlapping = [s for s in unfinished if s.first < stops[s.split] and s.last > starts[s.split]]
        if not overlapping:
            starts = stops
            continue
        frame = _read_chunk(mature, chunk)
        for slot in overlapping:
            start, stop = max(slot.first, starts[slot.split]), min(slot.last, stops[slot.split])
            part = frame.filter(pl.col("split") == slot.split)
            parts[slot.shard].append(part.slice(start - starts[slot.split], stop - start))
            if stop == slot.last:
                yield slot, pl.concat(parts.pop(slot.shard))
        unfinished = [slot for slot in unfinished if slot.last > stops[slot.split]]
        starts = stops


def _read_chunk(mature: pl.LazyFrame, chunk: Chunk) -> pl.DataFrame:
    """Rows of a chunk by day and photo.  Raises StagingCorrupt if they are not those that were planned."""
    inside = pl.col("day").is_between(chunk.first_day, chunk.last_day)
    if chunk.first_day == chunk.last_day:
        inside &= pl.col("photo_id").is_between(chunk.first_photo, chunk.last_photo)
    columns = [*SCALARS, "embedding"]
    frame = mature.filter(inside).select(columns).sort("day", "photo_id").collect(engine="streaming")
    if _count_splits(frame) != chunk.rows:
        raise StagingCorrupt(
            f"rows of {chunk.first_day} to {chunk.last_day} changed while being staged: read one pinned table version"
        )
    return frame


def _day_runs(days: pl.DataFrame, read_rows: int) -> Iterator[tuple[dt.date, dt.date]]:
    """Cut sorted (day, len) rows into runs of whole days with at most `read_rows` rows, or one day."""
    starts, run_rows = [0], 0
    for i, rows in enumerate(days["len"]):
        if run_rows and run_rows + rows > read_rows:
            starts.append(i)
            run_rows = 0
        run_rows += rows
    for start, stop in pairwise([*starts, days.height]):
        yield days["day"][start], days["day"][stop - 1]


def _chunk(frame: pl.DataFrame) -> Chunk:
    days, photos = frame["day"], frame["photo_id"]
    return Chunk(days[0], days[-1], photos[0], photos[-1], _count_splits(frame))


def _count_splits(frame: pl.DataFrame) -> dict[str, int]:
    return {split: int((frame["split"] == split).sum()) for split in SPLITS}


class _ContentDigest:
    """SHA-256 of rows, one stream a column: cutting the rows at other places gives the same digest."""

    def __init__(self, shard_rows: int) -> None:
        self._head = json.dumps([FORMAT, shard_rows, NAMES]).encode()
        self._columns: dict[str, hashlib._Hash] = defaultdict(hashlib.sha256)

    def update(self, frame: pl.DataFrame) -> None:
        for column in ("sha256", "split", "model_id"):
            self._columns[column].update((frame[column].str.join("\n").item() + "\n").encode())
        for column in ("photo_id", "day", "popularity"):
            self._columns[column].update(frame[column].to_physical().to_numpy().tobytes())
        self._columns["features"].update(features(frame).tobytes())

    def hexdigest(self) -> str:
        parts = (self._columns[column].digest() for column in sorted(self._columns))
        return hashlib.sha256(self._head + b"".join(parts)).hexdigest()
