"""Pinning: what a table's rows or a folder's files are right now, as a manifest in the store and a reference for git."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pipeline_assets.errors import PinRefused
from pipeline_assets.versioning import folder as folders
from pipeline_assets.versioning import manifest as manifests
from pipeline_assets.versioning.packs import PACKED_BELOW, Packer, Place
from pipeline_assets.versioning.reference import Code, Manifest, Reference, TableVersion
from resources.object_store import ObjectStore, content_key

NO_FILES = pl.DataFrame(schema=manifests.SCHEMA)


@dataclass(frozen=True)
class Label:
    """What a person says of a pin, and from which code it is made."""

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
) -> Reference:
    """Keep the manifest of these files in the store, and return the reference that names it."""
    data = manifests.encode(files)
    kept = objects.put_if_absent(data)
    return Reference(
        name=label.name,
        message=label.message,
        created_at=label.created_at.replace(microsecond=0),
        created_by=label.created_by,
        code=label.code,
        asset=asset,
        tables=dict(tables or {}),
        models=dict(models or {}),
        manifest=Manifest(
            sha256=kept.sha256,
            size_bytes=kept.size,
            digest=manifests.digest(files),
            files=files.height,
            bytes=int(files["size_bytes"].sum()),
        ),
        stores=dict(stores),
    )


@dataclass(frozen=True)
class PinnedFolder:
    """A folder's files in the store. read: how many had to be read; new_bytes: what was not in the version before."""

    files: pl.DataFrame
    read: int
    new: int
    new_bytes: int
    left_out: tuple[str, ...]


def store_folder(root: Path, objects: ObjectStore, before: pl.DataFrame, memory: Path) -> PinnedFolder:
    """Bring a folder's files into the store: small ones in packs, others as objects, each content once.

    before: the manifest of the version before, whose contents are not sent again. memory: the file in which the sha256
    of unchanged files is remembered. Raises PinRefused as `folder.scan` and `folder.contents`.
    """
    found = folders.scan(root)
    files = folders.with_known(found, memory)
    places = places_of(before)
    absent = ~pl.col("sha256").is_in(before["sha256"].unique().implode())
    wanted = files.filter(pl.col("sha256").is_null() | absent)
    hashes, new, new_bytes = {}, 0, 0
    packer = Packer(objects)
    for content in folders.contents(root, wanted, PACKED_BELOW):
        hashes[content.path] = content.sha256
        if content.sha256 in places:
            continue
        new += 1
        if content.data is None:
            places[content.sha256] = _store_large(root / content.path, content.sha256, objects)
            new_bytes += (root / content.path).stat().st_size
        else:
            packer.add(content.sha256, content.data)
            new_bytes += len(content.data)
    places |= packer.close()
    read = pl.DataFrame({"path": list(hashes), "read": list(hashes.values())}, schema={"path": pl.String, "read": pl.Binary})
    files = files.join(read, on="path", how="left", maintain_order="left")
    files = files.with_columns(sha256=pl.coalesce("read", "sha256")).drop("read")
    folders.remember(found, files, memory)
    return PinnedFolder(manifest_rows(files, places), wanted.height, new, new_bytes, found.left_out)


def _store_large(path: Path, sha256: bytes, objects: ObjectStore) -> Place:
    kept = objects.put_if_absent(path)
    if bytes.fromhex(kept.sha256) != sha256:
        raise PinRefused(f"{path} changed while it was read: let its writer finish, and pin again.")
    return Place(content_key(kept.sha256), None)


def places_of(files: pl.DataFrame) -> dict[bytes, Place]:
    """Where contents lie in the store `objects`, of a manifest's rows."""
    ours = files.filter(pl.col("store") == "objects").select("sha256", "key", "offset")
    return {sha256: Place(key, offset) for sha256, key, offset in ours.iter_rows()}


def manifest_rows(files: pl.DataFrame, places: Mapping[bytes, Place]) -> pl.DataFrame:
    """A manifest of files (path, sha256, size_bytes) whose contents all lie in the store `objects`."""
    found = [places[sha256] for sha256 in files["sha256"]]
    return files.select(
        "path",
        "sha256",
        "size_bytes",
        store=pl.lit("objects"),
        key=pl.Series([place.key for place in found], dtype=pl.String),
        version_id=pl.lit(None, pl.String),
        offset=pl.Series([place.offset for place in found], dtype=pl.Int64),
    )
