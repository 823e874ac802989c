"""Every error that a resource raises on purpose. Each message says what to do next.

Errors about one object carry its `key` and derive from `ObjectError`: bulk reads hand them back as values.
Errors about the store itself (`StoreUnavailable`, `BucketMissing`) stop the work: nothing can be said of its objects.
"""

import errno


class ResourceError(Exception):
    """Base of all errors below."""


class ObjectError(ResourceError):
    """A fact about one object, named by `key`."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key

    def __reduce__(self) -> tuple[type["ObjectError"], tuple[str, str]]:
        return type(self), (self.key, str(self))


class NotFound(ObjectError):
    """No object (or no such version of it) under this key."""


class AccessDenied(ObjectError):
    """The credentials are wrong, or don't allow this on this key."""


class InvalidKey(ObjectError):
    """The backend can't hold this key, or only by reading it as another one."""


class InvalidRange(ObjectError):
    """The byte range starts at or beyond the object's end."""


class TooLarge(ObjectError):
    """The object exceeds the size that the caller allows."""


class CorruptObject(ObjectError):
    """The bytes read don't hash to the sha256 that names them."""

    @classmethod
    def of(cls, key: str, expected: str, actual: str) -> "CorruptObject":
        """expected, actual: sha256 in hex."""
        return cls(
            key,
            f"{key}: expected sha256 {expected}, read bytes with sha256 {actual}. The stored object is damaged: "
            "restore it from another version or a backup, or delete it and run again.",
        )


class StoreUnavailable(ResourceError):
    """The store did not answer properly after all retries; nothing is known of the object."""


class DatabaseUnusable(ResourceError):
    """The database is there, but can't serve as it is: of a newer Darkroom, damaged, read-only, or misplaced."""


class BucketMissing(ResourceError):
    """The bucket does not exist."""


class BucketNotVersioned(ResourceError):
    """Overwritten uploads in this bucket can't be got back."""


class InsecureEndpoint(ResourceError):
    """Credentials would travel unencrypted to another machine."""


class NoSpace(ResourceError):
    """The disk has too little room for what is about to be written."""


def is_full(error: OSError) -> bool:
    """Whether a write failed because the disk, its quota or the process's limit on files is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PathEscapes(ResourceError):
    """A path leads out of the folder that it must stay in."""


class ServiceFailed(ResourceError):
    """An embedded server did not start, or its state can't be used; the message carries the end of its log."""


class AlreadyRunning(ResourceError):
    """Another process does the same work at this moment."""


class TableMissing(ResourceError):
    """A table was asked for that no run has written yet."""
