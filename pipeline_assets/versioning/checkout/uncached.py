"""Large files written past the system's cache: its new pages, and the copy into them, take more time than SHA-256 does.

So they lie on the disk at once, and push nothing out of memory; who reads one next reads the disk. 1.5 GB written and hashed
take 1.4 CPU s, through the cache 4.2 (ext4, two cores).
"""

import contextlib
import errno
import fcntl
import mmap
import os

BLOCK = 4096
"""No disk wants memory, places and sizes of its writes to be multiples of more."""
PIECE_BYTES = 1024**2
"""A filesystem that has to use its cache spends ten times the time on larger writes (ext4)."""
_DIRECT = getattr(os, "O_DIRECT", 0)


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
            try:
                written += os.pwrite(descriptor, piece, at + written)
            except OSError as error:
                if error.errno != errno.EINVAL or not _leaves_cache(descriptor):
                    raise
                _set_past_cache(descriptor, on=False)  # a filesystem that takes the flag and not such writes


def past_cache(descriptor: int) -> int:
    """The same open file, whose writes go past the cache if its filesystem can do that."""
    with contextlib.suppress(OSError):
        _set_past_cache(descriptor, on=True)
    return descriptor


def _leaves_cache(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & _DIRECT)


def _set_past_cache(descriptor: int, *, on: bool) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT if on else flags & ~_DIRECT)


def _blocks(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK) * BLOCK
