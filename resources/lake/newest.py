"""The newest version of a Delta table that this process has opened before, for two small requests.

Opening a table costs a client of its own with a TLS handshake, a listing, and a request for each commit since the last
checkpoint. A version of a table never changes, so that an open one serves as long as its commit is still in the table's
log and no later one is.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from deltalake import DeltaTable


@dataclass
class Newest:
    """The open table of one address. Readers share it: nobody updates it or writes through it."""

    _opened: tuple[DeltaTable, str] | None = None
    """The table, and the ETag of the commit that made its version: a table that was deleted and made again has another."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def table(self, etag_of: Callable[[int], str], open_table: Callable[[], DeltaTable]) -> DeltaTable:
        """The newest version. etag_of: the ETag of a version's commit, empty if the log has none."""
        with self._lock:
            opened = self._opened
        if opened is not None:
            table, etag = opened
            if etag_of(table.version()) == etag and not etag_of(table.version() + 1):
                return table
        table = open_table()
        etag = etag_of(table.version())
        with self._lock:
            self._opened = (table, etag) if etag else None
        return table
