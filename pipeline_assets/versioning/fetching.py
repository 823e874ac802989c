"""Large objects in ranges: several requests at once, hashed in order while later ranges come, and never held whole."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline_assets.cores import ahead
from resources.errors import CorruptObject, ObjectError
from resources.object_store import ObjectStore

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
