"""Imports files as if users had uploaded them: objects, photos and users in the database, logs in the lake's bucket.

Every regular file becomes one object and one row. Owners, times and logs come from the simulator. An import is recorded
before its first upload, everything else follows from that record, and the database gets its rows last, in one transaction:
a killed import continues where it stopped, without duplicates.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.features.popularity import FINAL_DAYS
from pipeline_assets.labeling import label_json
from pipeline_assets.labeling.campaigns import tasks
from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.exchange import store as labels_store
from pipeline_assets.runtime.blobs import MAX_IN_MEMORY_BYTES, read_or_path
from pipeline_assets.runtime.progress import track
from pipeline_assets.runtime.transfer import temporary
from pipeline_assets.sample import annotators, appeal, logs, photos, posts, recordings, simulator
from pipeline_assets.sample.simulator import Simulation
from resources.database.contract import Database
from resources.files import sha256_of
from resources.objects.store import ObjectStore

SAMPLE = "sample"
"""The source of the photos from a dependency, and of generated recordings and clips."""
PHOTOS_PER_USER = 8
UPLOADS_AT_ONCE = 16
TITLES_LABELLED_EVERY = 10
"""One in this many titles of the sample has a label."""


@dataclass(frozen=True)
class File:
    """One file to import. read: returns its bytes, or a file with them if it is large.

    labels: of the file, empty without labels.
    """

    name: str
    read: Callable[[], bytes | Path]
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """The result of an import. known_files: files imported before; first_day to last_day: upload days."""

    files: int
    known_files: int
    users: int = 0
    events: int = 0
    malformed_lines: int = 0
    first_day: date | None = None
    last_day: date | None = None


def files_of(source: str, store_of: Callable[[str], ObjectStore]) -> Iterator[File]:
    """The files of a source: `sample`, a folder with its subfolders, or `s3://bucket/prefix`.

    Raises FileNotFoundError if a folder does not exist.
    """
    if source == SAMPLE:
        for shipped in chain(photos.sample_photos(), recordings.recordings(), recordings.clips()):
            yield File(shipped.name, partial(bytes, shipped.data), shipped.labels)
    elif "://" in source:
        store = store_of(source)
        for info in store.list(""):
            fits_in_memory = info.size <= MAX_IN_MEMORY_BYTES
            yield File(
                info.key,
                partial(store.get, info.key) if fits_in_memory else partial(temporary, store, info.key, None, info.size),
            )
    else:
        root = Path(source).expanduser().resolve()
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder: name a folder with photos, or an s3://bucket/prefix")
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield File(str(path.relative_to(root)), partial(read_or_path, path))


def import_files(
    source: str,
    files: Iterable[File],
    *,
    database: Database,
    uploads: ObjectStore,
    lake_bucket: ObjectStore,
    days: int,
    today: date,
    tell: Callable[[str], object],
    campaigns: Sequence[Campaign] = (),
) -> Imported:
    """Import the new files of a source, spread over the last `days` mature days.

    campaigns: those of the sample are answered by simulated annotators.
    """
    file_list = list(files)
    already_imported = _imported(database, source)
    described = [_describe(file) for file in track(file_list, len(file_list), "reading", "files", tell)]
    file_rows = pl.DataFrame(
        described, schema={"name": pl.String, "sha256": pl.String, "appeal": pl.Float64}, orient="row"
    ).with_row_index("position")
    new_files = file_rows.join(already_imported, on=["name", "sha256"], how="anti").sort("position")
    if new_files.is_empty():
        return Imported(files=0, known_files=file_rows.height)
    run = _begin(database, source, new_files, days, today)
    simulation = _simulate(run, new_files)
    keys = [
        (file_list[position], key) for position, key in zip(new_files["position"], simulation.photos["key"], strict=True)
    ]
    uploaded = uploads.put_many(((key, file.read) for file, key in keys), concurrency=UPLOADS_AT_ONCE)
    for _, error in track(uploaded, len(keys), "uploading", "files", tell):
        if error is not None:
            raise error
    malformed = 0
    for file in logs.write_day_logs(simulation.events):
        folder, _, name = file.key.rpartition("/")
        lake_bucket.put(f"{folder}/{run['import_id']}-{name}", file.data)
        malformed += file.malformed
    labels = {key: file.labels for file, key in keys if file.labels}
    if source == SAMPLE:
        _answer(database, campaigns, run, new_files, simulation, labels)
    _finish(database, source, run, new_files, simulation, labels)
    return Imported(
        files=new_files.height,
        known_files=file_rows.height - new_files.height,
        users=simulation.users.height,
        events=simulation.events.height,
        malformed_lines=malformed,
        first_day=simulation.photos["day"].min(),  # type: ignore[arg-type]
        last_day=simulation.photos["day"].max(),  # type: ignore[arg-type]
    )


def _describe(file: File) -> tuple[str, str, float | None]:
    data = file.read()
    return file.name, sha256_of(data), appeal.appeal(data) if isinstance(data, bytes) else None


def _imported(database: Database, source: str) -> pl.DataFrame:
    return database.read("select name, sha256 from imports where source = $1", (source,))


def _begin(database: Database, source: str, new_files: pl.DataFrame, days: int, today: date) -> Mapping[str, int | date]:
    """Record the import, or find the unfinished one of the same files."""
    digest = hashlib.sha256("\n".join(new_files["name"] + " " + new_files["sha256"]).encode()).hexdigest()
    columns = "import_id, first_day, days, until, users"
    query = f"select {columns} from import_runs where source = $1 and digest = $2 and finished_at is null"  # noqa: S608
    run = database.read(query, (source, digest))
    if run.is_empty():
        users = max(20, new_files.height // PHOTOS_PER_USER)
        first_day = today - timedelta(days=FINAL_DAYS + days)
        database.execute(
            "insert into import_runs (source, first_day, days, until, users, digest) values (%s, %s, %s, %s, %s, %s)",
            (source, first_day, days, today, users, digest),
        )
        run = database.read(query, (source, digest))
    return run.row(0, named=True)


def _simulate(run: Mapping[str, int | date], new_files: pl.DataFrame) -> Simulation:
    """The import's users, photos and events; ids start at the import's own billion, so that imports never collide."""
    simulation = simulator.simulate(
        new_files.select("name", "appeal"),
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
        users=simulation.users.with_columns(user),
        photos=simulation.photos.with_columns(user, photo, key=key),
        events=simulation.events.with_columns(user, photo),
        truth=simulation.truth.with_columns(photo),
    )


def _finish(
    database: Database,
    source: str,
    run: Mapping[str, int | date],
    new_files: pl.DataFrame,
    simulation: Simulation,
    labels: Mapping[str, Mapping[str, Any]],
) -> None:
    """Insert users, photos, truth, labels by key, and the list of imported files in one transaction."""
    photo_columns = ["photo_id", "user_id", "key", "day", "posted_at", "title", "location", "details"]
    user_columns = ["user_id", "joined_at", "name", "followers"]
    keys = simulation.photos["key"]
    imported = zip(new_files["name"], new_files["sha256"], keys, strict=True)
    with database.connect() as transaction:
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


def _answer(
    database: Database,
    campaigns: Sequence[Campaign],
    run: Mapping[str, Any],
    new_files: pl.DataFrame,
    simulation: Simulation,
    labels: Mapping[str, Mapping[str, Any]],
) -> None:
    """Ask and answer the sample's campaigns. What is there already, of an import that was killed, stays as it is."""
    photos = simulation.photos.select("day", "key", "posted_at").with_columns(sha256=new_files["sha256"])
    items = [
        annotators.Item(day, key, sha256, posted_at, labels.get(key, {}))
        for day, key, posted_at, sha256 in photos.sort("day", "key").iter_rows()
    ]
    until = datetime.combine(run["until"], datetime.min.time(), UTC)
    for campaign in campaigns:
        if not campaign.name.startswith(annotators.PREFIX):
            continue
        answered = list(annotators.answers(campaign, items, until, run["import_id"]))
        labels_store.record_campaign(database, campaign)
        requests = [
            labels_store.Request(
                tasks.task_key(campaign.name, campaign.version, campaign.target, item.sha256),
                item.day,
                item.key,
                campaign.target,
                item.sha256,
            )
            for item, _ in answered
        ]
        labels_store.record_requests(database, annotators.SOURCE, campaign, requests)
        labels_store.land(database, chain.from_iterable(given for _, given in answered))


def _annotations(source: str, photos: pl.DataFrame, labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Rows of the table `annotations`: the files' labels and, for the sample, the subjects of some titles."""
    for photo_id, key, day, title in photos.select("photo_id", "key", "day", "title").iter_rows():
        if key in labels:
            yield key, "upload", day, label_json.dump(dict(labels[key])), source
        if source == SAMPLE and photo_id % TITLES_LABELLED_EVERY == 0 and (spans := posts.spans(title)):
            yield key, "title", day, label_json.dump({"spans": spans}), source
