"""A small project in which one person is everywhere, each time by a canary, and another one beside them."""

import gzip
import hashlib
import io
import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline_assets.catalog import DECLARED
from pipeline_assets.framework.personal import Mark, marks
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.privacy.holding import Stores
from pipeline_assets.versioning.checkout import register
from pipeline_assets.versioning.pin import manifest
from resources.home import make_home
from resources.objects.object_info import content_key
from resources.settings import Settings, plain

DAY = date(2026, 2, 1)
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


class Planted:
    """One person's values. number: tells people apart; none of the values is in another's."""

    def __init__(self, number: int) -> None:
        self.user_id = 700_000_000 + number
        self.photo_id = 800_000_000 + number
        self.name = f"Canaria-{number} Vogel"
        self.title = f"canary title {number} at dawn"
        self.location = f"canary island {number}"
        self.key = f"uploads/{DAY}/{self.user_id}/canary-{number}.jpg"
        self.data = b"\xff\xd8\xff" + f"canary bytes {number}".encode() * 9
        self.sha256 = hashlib.sha256(self.data).hexdigest()
        self.variant = f"canary variant {number}".encode() * 5
        self.variant_sha256 = hashlib.sha256(self.variant).hexdigest()
        self.pseudonym = f"user-{number:016x}"
        self.task = hashlib.sha256(f"task {number}".encode()).hexdigest()

    @property
    def canaries(self) -> list[str]:
        """What a search of decoded places looks for."""
        numbers = [str(self.user_id), str(self.photo_id)]
        texts = [self.name, self.title, self.location, self.key, self.pseudonym]
        return [*numbers, *texts, self.sha256, self.variant_sha256, self.task]

    def value(self, name: str, mark: Mark, dtype: pl.DataType) -> Any:
        """The value of a column that is declared as personal."""
        if name in ("content_sha256", "variant_id"):
            return self.variant_sha256
        plain: dict[str, Any] = {
            "user": self.user_id,
            "photo": self.photo_id,
            "key": self.key,
            "hash": self.sha256,
            "pseudonym": self.pseudonym,
            "task": self.task,
            "text": {"title": self.title, "location": self.location}.get(name, json.dumps({"user_id": self.user_id})),
            "place": {"camera": "a camera", "taken_at": NOON.replace(tzinfo=None)}.get(name, 1.5),
            "state": "AAAA",
        }
        value = plain[str(mark.personal)]
        return [value] if isinstance(dtype, pl.List) else value

    def row(self, table: str) -> dict[str, Any]:
        """A row of a table: declared columns by their marks, others with some value of their type."""
        schema = DECLARED[table].schema if table in DECLARED else Rejected
        declared = marks(schema)
        return {
            name: self.value(name, declared[name], dtype)
            if name in declared and declared[name].personal
            else _some(name, dtype)
            for name, dtype in schema.create_empty().schema.items()
        }


def _some(name: str, dtype: pl.DataType) -> Any:
    if name == "day" or dtype == pl.Date:
        return DAY
    if isinstance(dtype, pl.List):
        return []
    if dtype == pl.String:
        return "0" * 64 if name.endswith("sha256") else "ok"
    if dtype == pl.Boolean:
        return True
    return NOON if isinstance(dtype, pl.Datetime) else 1


def plant(home: Path, uploads_url: str, lake_url: str, database_url: str, **s3: str) -> tuple[Stores, Planted, Planted]:
    """The stores, the person who is everywhere, and another one."""
    names = {"endpoint": "s3_endpoint", "access_key": "s3_access_key", "secret_key": "s3_secret_key"}
    settings = Settings(
        home=home,
        uploads_url=uploads_url,
        lake_url=lake_url,
        database_url=database_url,
        dagster_postgres_url=database_url if database_url.startswith("postgres") else None,
        **{names[name]: value for name, value in s3.items() if name in names},
    )
    os.environ.update(
        {f"DARKROOM_{field.upper()}": s3.get(name, "") for name, field in names.items()}
        | {"DARKROOM_DATABASE_URL": database_url, "DARKROOM_ONLINE_URL": ""}
    )
    make_home(home, uploads_url, lake_url)
    stores = Stores.open(settings, DECLARED)
    person, other = Planted(1), Planted(2)
    stores.database.migrate()
    for one in (other, person):
        _plant_application(stores, one)
        stores.uploads.put(one.key, one.data)
    _plant_lake(stores, person, other)
    _plant_online(stores, person, other)
    _plant_home(stores, person, other)
    return stores, person, other


def _plant_application(stores: Stores, one: Planted) -> None:
    with stores.database.connect() as to:
        to.execute("insert into users (user_id, joined_at, name) values (%s, %s, %s)", (one.user_id, NOON, one.name))
        to.execute(
            "insert into photos (photo_id, user_id, key, day, posted_at, title, location) values (%s, %s, %s, %s, %s, %s, %s)",
            (one.photo_id, one.user_id, one.key, DAY, NOON, one.title, one.location),
        )
        to.execute(
            "insert into label_annotators (source, external_id, pseudonym) values ('feedback', %s, %s)",
            (str(one.user_id), one.pseudonym),
        )
        to.execute(
            "insert into label_requests (tool, task_key, tool_task_id, campaign, version, day, key, target, sha256) "
            "values ('studio', %s, '17', 'c', 1, %s, %s, 'upload', %s)",
            (one.task, DAY, one.key, one.sha256),
        )
        to.execute("insert into results (kind, key, chunk, position) values ('m', %s, 'c', 0)", (one.sha256,))


def _plant_lake(stores: Stores, person: Planted, other: Planted) -> None:
    """Each table with both people in its first version and without the person in its newest; logs, contents, a pack."""
    pack = b"before" + person.variant + other.variant
    pack_sha256 = stores.objects.put_if_absent(pack).sha256
    for table in [*DECLARED, "event_log_rejected"]:
        schema = (DECLARED[table].schema if table in DECLARED else Rejected).create_empty().schema
        rows = [person.row(table), other.row(table)]
        for row, one in zip(rows, (person, other), strict=True):
            if "object_offset" in row:
                row |= {
                    "object_sha256": pack_sha256,
                    "object_offset": pack.index(one.variant),
                    "size_bytes": len(one.variant),
                }
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        stores.lake.replace(table, [DAY], frame)
        stores.lake.replace(table, [DAY], frame.tail(1))
    lines = [
        json.dumps({"event_id": "e", "user_id": actor.user_id, "photo_id": owner.photo_id, "kind": "view"})
        for actor, owner in ((person, other), (other, person), (other, other))
    ]
    data = gzip.compress("\n".join(lines).encode())
    stores.lake_files.put(f"events/{DAY}/part.jsonl.gz", data)
    stores.lake_files.put(f"serving/{DAY}/part.jsonl.gz", data)
    stores.lake_files.put("dagster/logs/run/out", f"read {person.key}\nread {other.key}\n".encode())
    stores.lake_files.put("tables/photo_metadata/_delta_log/00000000000000000099.json.old", _old_statistics(person))
    chunk = io.BytesIO()
    pl.DataFrame({"result_key": [person.sha256, other.sha256], "embedding": [[1.0], [2.0]]}).write_ipc(chunk)
    stores.objects.put_if_absent(chunk.getvalue())
    stores.objects.put_if_absent(_manifest(person, other))
    stores.objects.put_if_absent(person.variant)


def _old_statistics(person: Planted) -> bytes:
    stats = json.dumps({"minValues": {"user_id": person.user_id, "title": person.title}})
    return json.dumps({"add": {"path": "day=2026-02-01/a.parquet", "stats": stats}}).encode()


def _manifest(*people: Planted) -> bytes:
    rows = [(one.key, bytes.fromhex(one.sha256), 9, "uploads", one.key, None, None) for one in people]
    return manifest.encode(pl.DataFrame(rows, schema=manifest.SCHEMA, orient="row"))


def _plant_online(stores: Stores, person: Planted, other: Planted) -> None:
    store = stores.resources["online"].open()
    for _ in range(2):
        draft = store.begin(NOON, 3600, 1)
        keys = [f"{kind}:{number}" for one in (person, other) for kind, number in (("u", one.user_id), ("p", one.photo_id))]
        store.write(draft, [(key.encode(), b"state of %d" % len(key)) for key in keys])
        lease = store.lease("test", 60)
        assert lease is not None
        store.publish(lease, store.complete(draft, position=""), position="")
        store.release(lease)
    store.close()


def _plant_home(stores: Stores, person: Planted, other: Planted) -> None:
    home = stores.home
    both = "".join(json.dumps({"user_id": one.user_id, "raw": one.title}) + "\n" for one in (person, other))
    for name in ("stream/dead.jsonl", "serving/log/2026-02-01-0.jsonl", "stream/0000000001.journal", "logs/weed.log"):
        _write(home / name, both.encode())
    shard = pa.table({"photo_id": pa.array([person.photo_id, other.photo_id], pa.int64()), "popularity": [1.0, 2.0]})
    (stores.settings.staging / "v1").mkdir(parents=True)
    with (
        pa.OSFile(str(stores.settings.staging / "v1" / "train-00000.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, shard.schema) as to,
    ):
        to.write_table(shard)
    _write(home / "cache" / "contents" / content_key(person.sha256).removeprefix("sha256/"), person.data)
    _write(home / "map" / "model" / "names-1.bin", bytes.fromhex(other.sha256 + person.sha256))
    _plant_dagster(stores, person, other)
    folder = home.parent / "then"
    folder.mkdir()
    pl.DataFrame([person.row("photo_metadata"), other.row("photo_metadata")]).write_parquet(
        folder / "rows-photo_metadata.parquet"
    )
    register.enter(home, folder, "popularity", "i", NOON)


def _plant_dagster(stores: Stores, *people: Planted) -> None:
    """A table of events in Dagster's database, which is that of the application if that is a server's."""
    events = [(json.dumps({"title": one.title}),) for one in people]
    if plain(stores.settings.dagster_postgres_url):
        stores.database.execute("create table event_logs (event text)")
        stores.database.insert("insert into event_logs values %s", events)
        return
    path = stores.settings.dagster_home / "storage" / "index.db"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table event_logs (event text)")
        connection.executemany("insert into event_logs values (?)", events)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
