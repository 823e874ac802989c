"""The errors that resources raise on purpose. Each message says what to do.

Errors about one object have its `key` and derive from `ObjectError`: bulk reads return them as values. Errors about the
store (`StoreUnavailable`, `BucketMissing`) end the work: its objects are in an unknown state.
"""

import errno


class ResourceError(Exception):
    """Base class of all errors below."""


class ObjectError(ResourceError):
    """An error about one object, identified by `key`."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key

    def __reduce__(self) -> tuple[type["ObjectError"], tuple[str, str]]:
        return type(self), (self.key, str(self))


class NotFound(ObjectError):
    """There is no object, or no such version of it, under this key."""


class Overwritten(NotFound):
    """The key has other bytes than the requested ones, and none of its versions has those."""


class AccessDenied(ObjectError):
    """The credentials don't allow this on this key."""


class BadCredentials(AccessDenied):
    """The credentials are refused, independent of the object."""


class Unreadable(ObjectError):
    """The object exists, but its bytes can't be read: it is archived, or its encryption key is gone."""


class InvalidKey(ObjectError):
    """The backend can't store this key, or would change it."""


class InvalidRange(ObjectError):
    """The byte range starts at or beyond the object's end."""


class TooLarge(ObjectError):
    """The object exceeds the size that the caller allows."""


class CorruptObject(ObjectError):
    """The hash of the bytes differs from the sha256 in their name."""

    @classmethod
    def of(cls, key: str, expected: str, actual: str) -> "CorruptObject":
        """expected, actual: sha256 in hex."""
        return cls(
            key,
            f"{key}: expected sha256 {expected}, read bytes with sha256 {actual}. The stored object is damaged: "
            "restore it from another version or a backup, or delete it and run again.",
        )


class StoreUnavailable(ResourceError):
    """The store did not answer properly after all retries; the state of the object is unknown."""


class DatabaseUnusable(ResourceError):
    """The database exists, but can't be used: from a newer Darkroom, damaged, read-only, or in the wrong place."""


class BucketMissing(ResourceError):
    """The bucket does not exist."""


class BucketNotVersioned(ResourceError):
    """Overwritten uploads in this bucket can't be restored."""


class InsecureEndpoint(ResourceError):
    """Credentials would travel unencrypted to another machine."""


class NoSpace(ResourceError):
    """The disk has too little space for the data to write."""


def is_full(error: OSError) -> bool:
    """Whether a write failed because the disk, its quota or the process's limit on files is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PathEscapes(ResourceError):
    """A path leaves the folder that it must stay in."""


class HomeNotOurs(ResourceError):
    """Files in DARKROOM_HOME may come from somebody else, and are not used."""


class SettingTwice(ResourceError):
    """A setting has one value under its name and another under its former name."""


class ServiceFailed(ResourceError):
    """An embedded server did not start, or its state can't be used; the message has the end of its log."""


class PortTaken(ServiceFailed):
    """Another program listens on the port of an embedded server; nothing was sent to it."""


class AlreadyRunning(ResourceError):
    """Another process is doing the same work."""


class TableMissing(ResourceError):
    """No run has written this table yet."""


class TypesChanged(ResourceError):
    """Rows have other types than the table's columns, whose types never change."""


class TableClosed(ResourceError):
    """Rows are being erased from all versions of this table, which takes no commits meanwhile."""


class LogIncomplete(ResourceError):
    """The log of a table lacks versions, or names files in a way that can't be rewritten; nothing was changed."""


class NothingPublished(ResourceError):
    """The online store has no generation that can be read."""


class StoreFlushed(NothingPublished):
    """The online store is empty, and this process has read from it before."""


class StoreUnreadable(ResourceError):
    """The online store was written by another version of Darkroom."""


class GenerationGone(ResourceError):
    """A generation of the online store was replaced and swept while somebody read it."""


class DraftGone(ResourceError):
    """Another build of online features has begun, and removed this one's draft."""


class LeaseLost(ResourceError):
    """Another process may change the online store now; nothing was changed."""


class StoreRewound(ResourceError):
    """The online store has another state than its writer left, as after a failure of its server; nothing was changed."""
