"""Bring files in as if users had uploaded them: objects, photos and users in the database, logs in the lake's bucket.

Every regular file becomes one object and one row. Owners, times and logs come from the simulator. An import is written
down before its first upload, everything it makes follows from that entry, and the database gets its rows last and at
once: a killed import goes on where it stopped, and nothing is doubled.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.held import HELD_BYTES, held, sha256_of
from pipeline_assets.progress import track
from pipeline_assets.sample import appeal, logs, photos, posts, recordings, simulator
from pipeline_assets.sample.simulator import Simulation
from pipeline_assets.transfer import temporary
from resources.database import Database
from resources.object_store import ObjectStore

SAMPLE = "sample"
"""The source that stands for the photos that come with a dependency, and recordings and clips that are made."""
MATURITY_DAYS = 8
"""A photo's label needs seven days of views and one of grace for late log lines."""
PHOTOS_PER_USER = 8
UPLOADS_AT_ONCE = 16
TITLES_LABELLED_EVERY = 10
"""Of the sample's titles, so many have a label."""


@dataclass(frozen=True)
class File:
    """One file to import. read: gives its bytes when they are needed, or a file that holds them if they are many.

    labels: what is marked in it, if anything.
    """

    name: str
    read: Callable[[], bytes | Path]
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What an import did. known: files that were there already; first_day to last_day: their upload days."""

    files: int
    known: int
    users: int = 0
    events: int = 0
    malformed_lines: int = 0
    first_day: date | None = None
    last_day: date | None = None


def files_of(source: str, store_of: Callable[[str], ObjectStore]) -> Iterator[File]:
    """The files of a source: `sample`, a folder with all below it, or `s3://bucket/prefix`.

    Raises FileNotFoundError if a folder does not exist.
    """
    if source == SAMPLE:
        for shipped in chain(photos.sample_photos(), recordings.recordings(), recordings.clips()):
            yield File(shipped.name, partial(bytes, shipped.data), shipped.labels)
    elif "://" in source:
        store = store_of(source)
        for info in store.list(""):
            is_held = info.size <= HELD_BYTES
            yield File(
                info.key,
                partial(store.get, info.key) if is_held else partial(temporary, store, info.key, None, info.size),
            )
    else:
        root = Path(source).expanduser().resolve()
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder: give one with photos, or an s3://bucket/prefix")
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield File(str(path.relative_to(root)), partial(held, path))


def import_files(
    source: str,
    files: Iterable[File],
    *,
    postgres: Database,
    uploads: ObjectStore,
    lake_bucket: ObjectStore,
    days: int,
    today: date,
    tell: Callable[[str], object],
) -> Imported:
    """Import the files of a source that were not imported from it before, spread over the last `days` mature days."""
    met = list(files)
    seen = _imported(postgres, source)
    described = [_describe(file) for file in track(met, len(met), "reading", "files", tell)]
    found = pl.DataFrame(
        described, schema={"name": pl.String, "sha256": pl.String, "appeal": pl.Float64}, orient="row"
    ).with_row_index("position")
    new = found.join(seen, on=["name", "sha256"], how="anti").sort("position")
    if new.is_empty():
        return Imported(files=0, known=found.height)
    run = _begin(postgres, source, new, days, today)
    simulation = _simulate(run, new)
    keys = [(met[position], key) for position, key in zip(new["position"], simulation.photos["key"], strict=True)]
    pending = uploads.put_many(((key, file.read) for file, key in keys), concurrency=UPLOADS_AT_ONCE)
    for _, error in track(pending, len(keys), "uploading", "files", tell):
        if error is not None:
            raise error
    malformed = 0
    for file in logs.write_day_logs(simulation.events):
        folder, _, name = file.key.rpartition("/")
        lake_bucket.put(f"{folder}/{run['import_id']}-{name}", file.data)
        malformed += file.malformed
    _finish(postgres, source, run, new, simulation, {key: file.labels for file, key in keys if file.labels})
    return Imported(
        files=new.height,
        known=found.height - new.height,
        users=simulation.users.height,
        events=simulation.events.height,
        malformed_lines=malformed,
        first_day=simulation.photos["day"].min(),  # type: ignore[arg-type]
        last_day=simulation.photos["day"].max(),  # type: ignore[arg-type]
    )


def _describe(file: File) -> tuple[str, str, float | None]:
    data = file.read()
    return file.name, sha256_of(data), appeal.appeal(data) if isinstance(data, bytes) else None


def _imported(postgres: Database, source: str) -> pl.DataFrame:
    return postgres.read("select name, sha256 from imports where source = $1", (source,))


def _begin(postgres: Database, source: str, new: pl.DataFrame, days: int, today: date) -> Mapping[str, int | date]:
    """Write the import down, or find the unfinished one of the same files."""
    digest = hashlib.sha256("\n".join(new["name"] + " " + new["sha256"]).encode()).hexdigest()
    columns = "import_id, first_day, days, until, users"
    begun = f"select {columns} from import_runs where source = $1 and digest = $2 and finished_at is null"  # noqa: S608
    found = postgres.read(begun, (source, digest))
    if found.is_empty():
        users = max(20, new.height // PHOTOS_PER_USER)
        first_day = today - timedelta(days=MATURITY_DAYS + days)
        postgres.execute(
            "insert into import_runs (source, first_day, days, until, users, digest) values (%s, %s, %s, %s, %s, %s)",
            (source, first_day, days, today, users, digest),
        )
        found = postgres.read(begun, (source, digest))
    return found.row(0, named=True)


def _simulate(run: Mapping[str, int | date], new: pl.DataFrame) -> Simulation:
    """The import's users, photos and events; ids start at the import's own billion, so that imports never meet."""
    made = simulator.simulate(
        new.select("name", "appeal"),
        first_day=run["first_day"],  # type: ignore[arg-type]
        days=run["days"],  # type: ignore[arg-type]
        until=run["until"],  # type: ignore[arg-type]
        users=run["users"],  # type: ignore[arg-type]
        seed=run["import_id"],  # type: ignore[arg-type]
    )
    base = (int(run["import_id"]) - 1) * 1_000_000_000  # type: ignore[arg-type]
    user, photo = pl.col("user_id") + base, pl.col("photo_id") + base
    key = pl.format("uploads/{}/{}/{}", "day", user, pl.col("key").str.splitn("/", 4).struct.field("field_3"))
    return Simulation(
        users=made.users.with_columns(user),
        photos=made.photos.with_columns(user, photo, key=key),
        events=made.events.with_columns(user, photo),
        truth=made.truth.with_columns(photo),
    )


def _finish(
    postgres: Database,
    source: str,
    run: Mapping[str, int | date],
    new: pl.DataFrame,
    simulation: Simulation,
    labels: Mapping[str, Mapping[str, Any]],
) -> None:
    """Enter users, photos, truth, labels by key, and the list of imported files in one transaction."""
    photo_columns = ["photo_id", "user_id", "key", "day", "posted_at", "title", "location", "details"]
    user_columns = ["user_id", "joined_at", "name", "followers"]
    keys = simulation.photos["key"]
    imported = zip(new["name"], new["sha256"], keys, strict=True)
    with postgres.connect() as transaction:
        transaction.insert_into("users", user_columns, simulation.users.select(user_columns).iter_rows())
        transaction.insert_into("photos", photo_columns, simulation.photos.select(photo_columns).iter_rows())
        transaction.insert_into(
            "simulated_truth",
            ["photo_id", "expected_views_7d"],
            simulation.truth.select("photo_id", "expected_views_7d").iter_rows(),
        )
        transaction.insert_into(
            "annotations",
            ["key", "target", "day", "labels", "annotator"],
            _annotations(source, simulation.photos, labels),
        )
        transaction.insert_into(
            "imports",
            ["source", "name", "sha256", "key"],
            [(source, name, sha256, key) for name, sha256, key in imported],
        )
        transaction.execute("update import_runs set finished_at = now() where import_id = %s", (run["import_id"],))


def _annotations(source: str, photos: pl.DataFrame, labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Rows of the table `annotations`: what files came with; of the sample, the subjects of some titles, too."""
    for photo_id, key, day, title in photos.select("photo_id", "key", "day", "title").iter_rows():
        if key in labels:
            yield key, "upload", day, json.dumps(dict(labels[key])), source
        if source == SAMPLE and photo_id % TITLES_LABELLED_EVERY == 0 and (found := posts.spans(title)):
            yield key, "title", day, json.dumps({"spans": found}), source
