"""Large files written past the system's cache: its new pages, and the copy into them, take more time than SHA-256 does.

So they lie on the disk at once, and push nothing out of memory; who reads one next reads the disk.
"""

import contextlib
import fcntl
import mmap
import os

BLOCK = 4096
"""No disk wants memory, places and sizes of its writes to be multiples of more."""
PIECE_BYTES = 1024**2
"""A filesystem that has to use its cache spends ten times the time on larger writes (ext4)."""


class Uncached:
    """Writes new files in ranges that begin at multiples of BLOCK. From one thread at a time."""

    def __init__(self, range_bytes: int) -> None:
        self._aligned = memoryview(mmap.mmap(-1, _blocks(range_bytes)))

    def write(self, descriptor: int, at: int, data: memoryview) -> None:
        """Write a range. What fills its last block comes behind it: cut the file when it is whole."""
        self._aligned[: len(data)] = data
        written, end = 0, _blocks(len(data))
        while written < end:
            piece = self._aligned[written : min(written + PIECE_BYTES, end)]
            written += os.pwrite(descriptor, piece, at + written)


def past_cache(descriptor: int) -> int:
    """The same open file, whose writes go past the cache if its filesystem can do that."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | getattr(os, "O_DIRECT", 0))
    return descriptor


def _blocks(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK) * BLOCK
