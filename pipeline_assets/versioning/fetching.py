"""Large objects in ranges: several requests at once, hashed in order while later ranges come, and never held whole."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from resources.errors import CorruptObject, ObjectError
from resources.object_store import ObjectStore

T = TypeVar("T")
R = TypeVar("R")
Row = Mapping[str, Any]
"""A row of a manifest."""

RANGE_BYTES = 8 * 1024**2
AT_ONCE = 6
"""Ranges that are under way at once, of one file or of several: what is held of files that are read in ranges."""


def ranges(size_bytes: int) -> int:
    """In how many ranges so many bytes are read."""
    return -(-size_bytes // RANGE_BYTES)


def read_large(
    stores: Mapping[str, ObjectStore],
    rows: Iterable[Row],
    begin: Callable[[Row], object] = lambda row: None,
    write: Callable[[Row, int, memoryview], object] = lambda row, at, data: None,
) -> Iterator[tuple[Row, ObjectError | bool]]:
    """Read files of a manifest in ranges, in order. Each range's row: False while there are more, True at the end of a file
    that has the sha256 that it should, else the error.

    begin: is called before a file's first range is asked for. write: is given each range and where in the file it begins, in
    order, on one thread, while the range is hashed on another: writers of one file would wait for each other. Raises
    StoreUnavailable, and what `begin` and `write` do.
    """

    def one(part: tuple[Row, int, int]) -> tuple[Row, int, int, memoryview | ObjectError]:
        row, at, end = part
        start = row["offset"] or 0
        try:
            data = stores[row["store"]].get_range(row["key"], start + at, start + end, version_id=row["version_id"])
        except ObjectError as error:
            return row, at, end, error
        return row, at, end, data

    state, failed = hashlib.sha256(), None
    with ThreadPoolExecutor(AT_ONCE, "range") as pool, ThreadPoolExecutor(1, "write") as writer:
        for row, at, end, data in ahead(pool, one, _parts(rows, begin), AT_ONCE):
            if isinstance(data, memoryview):
                written = writer.submit(write, row, at, data)
                state.update(data)
                written.result()
            else:
                failed = failed or data
            if end < row["size_bytes"]:
                yield row, False
                continue
            found = state.digest()
            if failed is None and found != row["sha256"]:
                failed = CorruptObject.of(row["key"], row["sha256"].hex(), found.hex())
            yield row, failed or True
            state, failed = hashlib.sha256(), None


def _parts(rows: Iterable[Row], begin: Callable[[Row], object]) -> Iterator[tuple[Row, int, int]]:
    for row in rows:
        begin(row)
        for at in range(0, max(row["size_bytes"], 1), RANGE_BYTES):
            yield row, at, min(at + RANGE_BYTES, row["size_bytes"])


def ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], limit: int) -> Iterator[R]:
    """Results of `work` in the order of the items, of which no more than `limit` are under way."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            if not future.cancel():
                future.exception()
