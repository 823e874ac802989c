"""Pins a table's current rows or a folder's current files: a manifest in the store, and a reference for git."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pipeline_assets.errors import PinRefused
from pipeline_assets.versioning.pin import folder as folders
from pipeline_assets.versioning.pin import manifest as manifests
from pipeline_assets.versioning.pin.presence import check_presence, objects_of
from pipeline_assets.versioning.pin.reference import Code, Manifest, Reference, Selection, TableVersion
from resources.objects.packs import PACKED_BELOW, Packer, Place
from resources.objects.store import ObjectStore, content_key

NO_FILES = pl.DataFrame(schema=manifests.SCHEMA)


@dataclass(frozen=True)
class Label:
    """Who makes a pin, when, from which code, with which message."""

    name: str
    code: Code
    created_by: str
    message: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def reference(
    label: Label,
    files: pl.DataFrame,
    objects: ObjectStore,
    stores: Mapping[str, str],
    asset: str | None = None,
    tables: Mapping[str, TableVersion] | None = None,
    models: Mapping[str, str] | None = None,
    selection: Selection | None = None,
) -> Reference:
    """Put the manifest of these files into the store, and return the reference that names it."""
    data = manifests.encode(files)
    manifest_object = objects.put_if_absent(data)
    return Reference(
        darkroom=1 if selection is None else 2,
        name=label.name,
        message=label.message,
        created_at=label.created_at.replace(microsecond=0),
        created_by=label.created_by,
        code=label.code,
        asset=asset,
        tables=dict(tables or {}),
        selection=selection,
        models=dict(models or {}),
        manifest=Manifest(
            sha256=manifest_object.sha256,
            size_bytes=manifest_object.size,
            digest=manifests.digest(files),
            files=files.height,
            bytes=int(files["size_bytes"].sum()),
        ),
        stores=dict(stores),
    )


@dataclass(frozen=True)
class PinnedFolder:
    """A folder's files in the store. read: files that were read; new, new_bytes: contents that were not in the store."""

    files: pl.DataFrame
    read: int
    new: int
    new_bytes: int
    left_out: tuple[str, ...]


def store_folder(root: Path, objects: ObjectStore, previous: pl.DataFrame, memory: Path) -> PinnedFolder:
    """Copy a folder's files into the store: small ones in packs, others as objects, each content once.

    previous: the manifest of the previous version; contents of it that are still in the store are not sent again.
    memory: a file that caches the sha256 of unchanged files. Raises PinRefused as `folder.scan` and
    `folder.contents`.
    """
    folder_scan = folders.scan(root)
    files = folders.with_known(folder_scan, memory)
    places = places_of(previous, objects)
    is_absent = ~pl.col("sha256").is_in(pl.Series(list(places), dtype=pl.Binary).implode())
    unread = files.filter(pl.col("sha256").is_null() | is_absent)
    hashes, new_contents, new_bytes = {}, 0, 0
    packer = Packer(objects)
    for content in folders.contents(root, unread, PACKED_BELOW):
        hashes[content.path] = content.sha256
        if content.sha256 in places:
            continue
        new_contents += 1
        if content.data is None:
            places[content.sha256] = _store_large(root / content.path, content.sha256, objects)
            new_bytes += (root / content.path).stat().st_size
        else:
            packer.add(content.sha256, content.data)
            new_bytes += len(content.data)
    places |= packer.close()
    fresh = pl.DataFrame(
        {"path": list(hashes), "read": list(hashes.values())}, schema={"path": pl.String, "read": pl.Binary}
    )
    files = files.join(fresh, on="path", how="left", maintain_order="left")
    files = files.with_columns(sha256=pl.coalesce("read", "sha256")).drop("read")
    folders.remember(folder_scan, files, memory)
    return PinnedFolder(manifest_rows(files, places), unread.height, new_contents, new_bytes, folder_scan.left_out)


def _store_large(path: Path, sha256: bytes, objects: ObjectStore) -> Place:
    stored = objects.put_if_absent(path)
    if bytes.fromhex(stored.sha256) != sha256:
        raise PinRefused(f"{path} changed while it was read: let its writer finish, and pin again.")
    return Place(content_key(stored.sha256), None)


def places_of(files: pl.DataFrame, objects: ObjectStore) -> dict[bytes, Place]:
    """Places of the rows' contents in the store `objects`, without contents whose object is missing or truncated.

    Makes one HEAD request per object. Raises StoreUnavailable.
    """
    in_objects = files.filter(pl.col("store") == "objects")
    missing_keys = {row["key"] for row, error in check_presence(objects_of(in_objects), {"objects": objects}) if error}
    places = in_objects.select("sha256", "key", "offset").iter_rows()
    return {sha256: Place(key, offset) for sha256, key, offset in places if key not in missing_keys}


def manifest_rows(files: pl.DataFrame, places: Mapping[bytes, Place]) -> pl.DataFrame:
    """The manifest rows of files (path, sha256, size_bytes) whose contents all lie in the store `objects`."""
    file_places = [places[sha256] for sha256 in files["sha256"]]
    return files.select(
        "path",
        "sha256",
        "size_bytes",
        store=pl.lit("objects"),
        key=pl.Series([place.key for place in file_places], dtype=pl.String),
        version_id=pl.lit(None, pl.String),
        offset=pl.Series([place.offset for place in file_places], dtype=pl.Int64),
    )
