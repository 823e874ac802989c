"""Reads large objects in ranges: several requests at once, hashed in order, in bounded memory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline_assets.runtime.cores import ahead
from resources.errors import CorruptObject, ObjectError
from resources.objects.store import ObjectStore

Row = Mapping[str, Any]
"""A row of a manifest."""

RANGE_BYTES = 8 * 1024**2
PARALLEL_RANGES = 6
"""Ranges in flight at once, of one or several files; they bound the memory of reading."""


def ranges(size_bytes: int) -> int:
    """The number of ranges of a file."""
    return -(-size_bytes // RANGE_BYTES)


def read_large(
    stores: Mapping[str, ObjectStore],
    rows: Iterable[Row],
    begin: Callable[[Row], object] = lambda row: None,
    write: Callable[[Row, int, memoryview], object] = lambda row, at, data: None,
    others: Callable[[Row], Sequence[Row]] = lambda row: (),
) -> Iterator[tuple[Row, ObjectError | bool]]:
    """Read files of a manifest in ranges, in order. Yields each range's row with False before the end of its file, and at
    the end with True if its sha256 is right, else with the error.

    begin: called before a file's first range is requested. write: called with each range and its offset in the file, in
    order, on one thread, while another thread hashes the range. others: further places of a file that is missing from its
    own; their bytes overwrite what was written. Raises StoreUnavailable, and whatever `begin` and `write` raise.
    """

    def read_part(part: tuple[Row, int, int]) -> tuple[Row, int, int, memoryview | ObjectError]:
        row, at, end = part
        start = row["offset"] or 0
        try:
            data = stores[row["store"]].get_range(row["key"], start + at, start + end, version_id=row["version_id"])
        except ObjectError as error:
            return row, at, end, error
        return row, at, end, data

    state, failed = hashlib.sha256(), None
    with ThreadPoolExecutor(PARALLEL_RANGES, "range") as pool, ThreadPoolExecutor(1, "write") as writer:
        for row, at, end, data in ahead(pool, read_part, _parts(rows, begin), PARALLEL_RANGES):
            if isinstance(data, memoryview):
                write_future = writer.submit(write, row, at, data)
                state.update(data)
                write_future.result()
            else:
                failed = failed or data
            if end < row["size_bytes"]:
                yield row, False
                continue
            sha256 = state.digest()
            if failed is None and sha256 != row["sha256"]:
                failed = CorruptObject.of(row["key"], row["sha256"].hex(), sha256.hex())
            if failed is not None and any(_read_from(stores, place, row, write) for place in others(row)):
                failed = None
            yield row, failed or True
            state, failed = hashlib.sha256(), None


def _read_from(
    stores: Mapping[str, ObjectStore], place: Row, row: Row, write: Callable[[Row, int, memoryview], object]
) -> bool:
    """Read and write the file from another place; whether it is intact there."""
    state, start = hashlib.sha256(), place["offset"] or 0
    try:
        for _, at, end in _parts([row], lambda row: None):
            data = stores[place["store"]].get_range(place["key"], start + at, start + end, version_id=place["version_id"])
            write(row, at, data)
            state.update(data)
    except ObjectError:
        return False
    return state.digest() == row["sha256"]


def _parts(rows: Iterable[Row], begin: Callable[[Row], object]) -> Iterator[tuple[Row, int, int]]:
    for row in rows:
        begin(row)
        for at in range(0, max(row["size_bytes"], 1), RANGE_BYTES):
            yield row, at, min(at + RANGE_BYTES, row["size_bytes"])
