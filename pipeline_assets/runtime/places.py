"""Reads contents of uploads by their sha256, from any object that still has them.

Bytes are verified by their hash. In a bucket without versions their ETag may therefore have changed, as it does when a
folder is copied.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipeline_assets.runtime.transfer import temporary
from resources.errors import AccessDenied, BadCredentials, CorruptObject, NotFound, ObjectError, TooLarge, Unreadable
from resources.files import sha256_of
from resources.objects.store import BY_ETAG, ObjectStore

if TYPE_CHECKING:
    from resources.lake.lake import Lake  # with Dagster, which takes a second to load

TRIED_AGAIN = ("gone", "corrupt", "unreadable")
"""Reasons that do not depend on the content itself: the next run tries it again."""


@dataclass(frozen=True)
class Place:
    """An object that should have a content. version_id: None for the current version of the key."""

    key: str
    version_id: str | None


Places = Mapping[str, Sequence[Place]]
"""Places by sha256 in hex, in the order in which they are tried."""
Find = Callable[[Sequence[str]], Places]
"""Finds further places of contents that could not be read from their known ones."""


def places_of(rows: pl.DataFrame) -> dict[str, list[Place]]:
    """The places of each content, in the order of the rows. rows: sha256, key and version_id as in `RawUploads`."""
    places: dict[str, list[Place]] = {}
    for sha256, key, version_id in rows.select("sha256", "key", "version_id").unique(maintain_order=True).iter_rows():
        places.setdefault(sha256, []).extend(Place(key, version) for version in versions_of(version_id))
    return places


def versions_of(version_id: str | None) -> list[str | None]:
    """The versions of a key that may have these bytes. If versioning is turned on later, an old object's id is `null`."""
    return [None, "null"] if version_id is None or version_id.startswith(BY_ETAG) else [version_id]


def in_all_days(lake: "Lake | None", bucket: str | None) -> Find:
    """Finds places in the uploads of all days. bucket: None for any."""

    def find(hashes: Sequence[str]) -> Places:
        if lake is None or not lake.exists("raw_uploads"):
            return {}
        has_content = pl.col("sha256").is_in(pl.Series(list(hashes), dtype=pl.String).implode())
        rows = lake.scan("raw_uploads").filter(has_content)
        if bucket is not None:
            rows = rows.filter(pl.col("bucket") == bucket)
        return places_of(rows.select("day", "sha256", "key", "version_id").sort("day", "key", "version_id").collect())

    return find


def nowhere(_hashes: Sequence[str]) -> Places:
    """No further places."""
    return {}


@dataclass(frozen=True)
class Contents:
    """Reads contents from these places, and from those that `find` returns if they fail."""

    store: ObjectStore
    places: Places
    find: Find = nowhere

    def read(
        self, hashes: Iterable[str], *, concurrency: int, max_in_memory_bytes: int | None = None
    ) -> Iterator[tuple[str, bytes | Path | ObjectError]]:
        """Yield (sha256, verified content) in any order; a content that is requested twice is yielded twice.

        max_in_memory_bytes: a larger content is a temporary file. If no place has a content, its value is the error.
        Raises errors that concern all contents: StoreUnavailable, BucketMissing, BadCredentials.
        """
        fetched = self.store.get_many(
            hashes,
            key=lambda sha256: self.places[sha256][0].key,
            version_id=lambda sha256: self.places[sha256][0].version_id,
            concurrency=concurrency,
            max_object_bytes=max_in_memory_bytes,
        )
        lost: list[tuple[str, ObjectError]] = []
        for sha256, data in fetched:
            first, *other_places = self.places[sha256]
            if isinstance(data, TooLarge):
                content = self._read_place(sha256, first, max_in_memory_bytes)
            else:
                content = verified(sha256, first, data)
            content = self._from_any(sha256, content, other_places, max_in_memory_bytes)
            if isinstance(content, ObjectError):
                lost.append((sha256, content))
            else:
                yield sha256, content
        found_places = self.find([sha256 for sha256, _ in lost]) if lost else {}
        for sha256, error in lost:
            other_places = [place for place in found_places.get(sha256, ()) if place not in self.places[sha256]]
            yield sha256, self._from_any(sha256, error, other_places, max_in_memory_bytes)

    def _from_any(
        self,
        sha256: str,
        content: bytes | Path | ObjectError,
        other_places: Sequence[Place],
        max_in_memory_bytes: int | None,
    ) -> bytes | Path | ObjectError:
        for place in other_places:
            if not isinstance(content, ObjectError):
                return content
            other_content = self._read_place(sha256, place, max_in_memory_bytes)
            content = max(content, other_content, key=_rank) if isinstance(other_content, ObjectError) else other_content
        return content

    def _read_place(self, sha256: str, place: Place, max_in_memory_bytes: int | None) -> bytes | Path | ObjectError:
        """The content from one place, or the error."""
        data: bytes | Path | ObjectError
        try:
            size = 0 if max_in_memory_bytes is None else self.store.head(place.key, version_id=place.version_id).size
            if max_in_memory_bytes is not None and size > max_in_memory_bytes:
                data = temporary(self.store, place.key, place.version_id, size)
            else:
                data = self.store.get(place.key, version_id=place.version_id)
        except ObjectError as error:
            data = error
        return verified(sha256, place, data)


def verified(sha256: str, place: Place, data: bytes | Path | ObjectError) -> bytes | Path | ObjectError:
    """The data, or a CorruptObject if their hash differs. An error is returned unchanged; BadCredentials is raised."""
    if isinstance(data, BadCredentials):
        raise data
    if isinstance(data, ObjectError) or (actual := sha256_of(data)) == sha256:
        return data
    message = f"the bytes read have sha256 {actual}: restore the object; it is tried again by itself"
    return CorruptObject(place.key, message)


def _rank(error: ObjectError) -> int:
    """The rank of an error among those of several places: the higher, the more likely the content still exists."""
    return 2 if isinstance(error, (AccessDenied, Unreadable)) else 0 if isinstance(error, NotFound) else 1


def reason_of(error: ObjectError) -> str:
    """The quarantine reason of an object or content that can't be read: gone, corrupt, or unreadable."""
    return "gone" if isinstance(error, NotFound) else "corrupt" if isinstance(error, CorruptObject) else "unreadable"
