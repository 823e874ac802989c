"""Small data sets to check out and verify: a folder's files in packs, a table's rows with one upload each. All real."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from pipeline_assets.framework.digest import rows_digest
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import SCHEMA
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, reference, store_folder
from pipeline_assets.versioning.pin.reference import Code, TableVersion
from pipeline_assets.versioning.pin.verification import Rules
from resources.database import ledger
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

DAYS = (date(2026, 1, 1), date(2026, 1, 2))
TABLE = "photos"
SECRET = b"of one home"
"""Seals the records of checkouts."""
RULES = {TABLE: Rules(("day", "photo_id", "likes", "split", "sha256", "embedding"), ("day", "photo_id"), (), ("embedding",))}


def label(name: str = "set") -> Label:
    """A pin's label that is the same each time."""
    return Label(name, Code(commit=None, clean=False), "someone", created_at=datetime(2026, 1, 3, tzinfo=UTC))


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Make a folder of these files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but those that the checkout keeps for itself."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".darkroom-checkout" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def pinned_folder(store: ObjectStore, source: Path, name: str = "set") -> Pinned:
    """A folder's files, pinned."""
    stored = store_folder(source, store, NO_FILES, source.with_name(f"{source.name}.known"))
    made = reference(label(name), stored.files, store, {})
    return Pinned(made, Lake(url=source.with_name("no-lake").as_uri()), {"objects": store, "uploads": store})


def pinned_files(store: ObjectStore, files: pl.DataFrame, lake: Path, name: str = "set") -> Pinned:
    """These rows of a manifest, pinned as they are."""
    return Pinned(reference(label(name), files, store, {}), Lake(url=lake.as_uri()), {"objects": store, "uploads": store})


def photo(number: int) -> bytes:
    """An upload's bytes, some of them equal."""
    return f"photo {number % 5}".encode() * 100


def rows() -> pl.DataFrame:
    """Six photos on two days, of which two are equal."""
    return pl.DataFrame(
        {
            "day": [DAYS[number % 2] for number in range(6)],
            "photo_id": list(range(6)),
            "likes": [None if number == 3 else 10 * number for number in range(6)],
            "split": ["train" if number < 4 else "test" for number in range(6)],
            "sha256": [hashlib.sha256(photo(number)).hexdigest() for number in range(6)],
            "embedding": [[float(number), 1.0] for number in range(6)],
        },
        schema_overrides={"likes": pl.Int64, "embedding": pl.List(pl.Float32)},
    )


def pinned_table(store: ObjectStore, lake: Lake) -> Pinned:
    """The table of `rows`, with its uploads in a store and its version in a lake."""
    table = rows()
    version = lake.replace(TABLE, DAYS, table)
    digests = [f"{day} {_digest(table.filter(pl.col('day') == day))}" for day in DAYS]
    uploads = []
    for number in range(5):
        key = f"uploads/2026-01-01/7/{number}.jpg"
        store.put(key, photo(number))
        digest = hashlib.sha256(photo(number)).hexdigest()
        uploads.append(
            (f"files/{digest[:2]}/{digest}.jpg", bytes.fromhex(digest), len(photo(number)), "uploads", key, None, None)
        )
    files = pl.DataFrame(uploads, schema=SCHEMA, orient="row").sort("path")
    pin = TableVersion(
        version=version, first_day=DAYS[0], last_day=DAYS[1], rows=table.height, digest=ledger.digest_of(digests)
    )
    made = reference(label(), files, store, {}, TABLE, {TABLE: pin})
    return Pinned(made, lake, {"objects": store, "uploads": store})


def _digest(one_day: pl.DataFrame) -> str:
    from pipeline_assets.framework.digest import condense

    return rows_digest(condense(one_day, ["embedding"]), ["day", "photo_id"])
