"""Names of objects, contents and versions, and the properties of an object."""

from dataclasses import dataclass
from datetime import datetime

UNVERSIONED = ("", "null")
"""S3's ids of the only version of an object in a bucket without versioning."""


BY_ETAG = "etag-"
"""Prefix of our version ids for objects without versions: the prefix and an ETag stand for the bytes with this ETag.

They are read only if the key, or its version `null`, still has this ETag: old bytes become version `null` when they are
overwritten after versioning was switched on.
"""


@dataclass(frozen=True)
class ObjectRef:
    """A content: sha256 in hex, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class ObjectInfo:
    """The properties of an object. version_id: only from `head`, on a versioned bucket."""

    key: str
    size: int
    etag: str | None
    version_id: str | None
    last_modified: datetime


def content_key(sha256: str) -> str:
    """The key of a content: sha256/ab/cdef..."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ValueError(f"{sha256!r} is no sha256 in lower-case hex.")
    return f"sha256/{sha256[:2]}/{sha256[2:]}"


def bare(etag: str | None) -> str | None:
    """An entity tag without its quotes."""
    return etag.strip('"') if etag else None
