"""An append-only journal on the local disk: blocks of lines with length and checksum, in segments. What it has is durable.

What lives here: the form of the files, and what is left of them after a kill or a power failure. What does not: what the
lines mean (`intake.py`), and when a segment ends and goes to the lake (`segments.py`).

A block is written and synced before the next one, so only the newest can be torn. It was not acknowledged: it is cut off.
Any other block that can't be read is damage, which is never skipped.
"""

import fcntl
import os
import secrets
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline_assets.errors import JournalDamaged
from resources import files
from resources.errors import AlreadyRunning, NoSpace, is_full

MAX_BLOCK_BYTES = 8 * 2**20
_MAGIC = b"DARKJNL1"
_SEGMENT = struct.Struct("<8s8sI")
"""Magic, lineage, CRC-32 of both."""
_BLOCK = struct.Struct("<IIq")
"""Bytes of the lines, CRC-32 of all but itself, newest `arrived_at` in microseconds since 1970."""
FIRST_OFFSET = _SEGMENT.size


class Position(NamedTuple):
    """A place between two blocks. Positions are ordered as the blocks were written."""

    segment: int
    offset: int


class Block(NamedTuple):
    """Lines that were appended together. arrived_us: the newest `arrived_at` among them. end: the place behind it."""

    lines: bytes
    arrived_us: int
    end: Position


class Journal:
    """The journal of one folder. One process at a time has it open; one thread appends, others may read.

    lineage: 16 hex digits that no other journal has.  end: the place behind the newest durable block.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create it, without its torn end. Raises AlreadyRunning, JournalDamaged and NoSpace."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._lock = _locked(folder / "lock")
        self._appending = threading.Lock()
        try:
            numbers = self.segments()
            self.lineage = self._lineage_of(numbers[-1]) if numbers else secrets.token_hex(8)
            number = numbers[-1] if numbers else self._create(1)
            self._file = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
            self.end = Position(number, _whole_bytes(self._file, self._path(number)))
            if os.fstat(self._file).st_size != self.end.offset:
                os.ftruncate(self._file, self.end.offset)
                os.fsync(self._file)
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, lines: bytes, arrived_us: int) -> Position:
        """Write a block of whole lines; it is on the disk when this returns. Returns the place behind it.

        Raises NoSpace; then nothing was written.
        """
        if not 0 < len(lines) <= MAX_BLOCK_BYTES:
            raise ValueError(f"A block has 1 to {MAX_BLOCK_BYTES} bytes, not {len(lines)}.")
        head = _BLOCK.pack(len(lines), _checksum(lines, arrived_us), arrived_us)
        with self._appending:
            self._write(head + lines)
            self.end = Position(self.end.segment, self.end.offset + len(head) + len(lines))
            return self.end

    def rotate(self) -> None:
        """End the newest segment and begin another. Without a block in it, nothing happens. Raises NoSpace."""
        with self._appending:
            if self.end.offset == FIRST_OFFSET:
                return
            os.ftruncate(self._file, self.end.offset)  # what a failed write may have left behind
            number = self._create(self.end.segment + 1)
            os.close(self._file)
            self._file = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
            self.end = Position(number, FIRST_OFFSET)

    def segments(self) -> list[int]:
        """The numbers of the segments that exist, ascending. All but the last have ended and never change."""
        return sorted(int(path.stem) for path in self.folder.glob("*.journal"))

    def blocks(self, start: Position) -> Iterator[Block]:
        """The durable blocks from a place on, as of now. Raises JournalDamaged; missing segments are damage, too."""
        end = self.end
        for number in range(start.segment, end.segment + 1):
            offset = start.offset if number == start.segment else FIRST_OFFSET
            yield from self._blocks_of(number, max(offset, FIRST_OFFSET), end.offset if number == end.segment else None)

    def segment(self, number: int) -> Iterator[Block]:
        """The blocks of a segment that has ended. Raises JournalDamaged."""
        return self._blocks_of(number, FIRST_OFFSET, None)

    def size(self, number: int) -> int:
        """Bytes of a segment."""
        return self._path(number).stat().st_size

    def bytes_from(self, start: Position) -> int:
        """Bytes of the journal behind a place, with the heads of blocks."""
        return max(0, sum(self.size(number) for number in self.segments() if number >= start.segment) - start.offset)

    def remove(self, number: int) -> None:
        """Delete a segment that has ended."""
        if number >= self.end.segment:
            raise ValueError(f"Segment {number} of the journal has not ended.")
        self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._file)
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:010d}.journal"

    def _create(self, number: int) -> int:
        head = _MAGIC + bytes.fromhex(self.lineage)
        try:
            files.write(self._path(number), head + struct.pack("<I", zlib.crc32(head)), mode=0o600, is_synced=True)
        except OSError as error:
            raise _no_space(error, self.folder) from error
        return number

    def _lineage_of(self, number: int) -> str:
        with self._path(number).open("rb") as file:
            head = file.read(_SEGMENT.size)
        if len(head) < _SEGMENT.size or head[:8] != _MAGIC or zlib.crc32(head[:16]) != _SEGMENT.unpack(head)[2]:
            raise JournalDamaged.at(self._path(number), 0)
        return head[8:16].hex()

    def _write(self, data: bytes) -> None:
        """Write and sync at the end. A failed write leaves the file as it was; a failed sync leaves its state unknown."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.pwrite(self._file, view, self.end.offset + len(data) - len(view)) :]
        except OSError as error:
            os.ftruncate(self._file, self.end.offset)
            raise _no_space(error, self.folder) from error
        try:
            os.fdatasync(self._file)
        except OSError as error:
            if not is_full(error):
                raise
            os.ftruncate(self._file, self.end.offset)
            raise _no_space(error, self.folder) from error

    def _blocks_of(self, number: int, offset: int, end: int | None) -> Iterator[Block]:
        path = self._path(number)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise JournalDamaged(
                f"{path} is missing, and the online store has not applied it. Restore it; or move the folder {path.parent} "
                "away, and the stream replays from the lake what had reached it."
            ) from None
        with file:
            end = os.fstat(file.fileno()).st_size if end is None else end
            file.seek(offset)
            while offset < end:
                block = _block(file.read(_BLOCK.size), file.read)
                if block is None:
                    raise JournalDamaged.at(path, offset)
                offset += _BLOCK.size + len(block[0])
                yield Block(*block, Position(number, offset))


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AlreadyRunning(
            f"Another `darkroom stream` has {path.parent}: send events to that one, or stop it first."
        ) from None
    return descriptor


def _checksum(lines: bytes, arrived_us: int) -> int:
    return zlib.crc32(struct.pack("<Iq", len(lines), arrived_us), zlib.crc32(lines))


def _block(head: bytes, read: Callable[[int], bytes]) -> tuple[bytes, int] | None:
    """Lines and arrival of a block by its head; None if it is torn or damaged."""
    if len(head) < _BLOCK.size:
        return None
    size, checksum, arrived_us = _BLOCK.unpack(head)
    if not 0 < size <= MAX_BLOCK_BYTES:
        return None
    lines = read(size)
    return (lines, arrived_us) if len(lines) == size and _checksum(lines, arrived_us) == checksum else None


def _whole_bytes(descriptor: int, path: Path) -> int:
    """Bytes of the newest segment up to its last whole block. Raises JournalDamaged if more than one block lies behind."""
    offset, size = FIRST_OFFSET, os.fstat(descriptor).st_size
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(offset)
        while offset < size:
            block = _block(file.read(_BLOCK.size), file.read)
            if block is None:
                break
            offset += _BLOCK.size + len(block[0])
    if size - offset > _BLOCK.size + MAX_BLOCK_BYTES or _is_followed(path, offset, size):
        raise JournalDamaged.at(path, offset)
    return offset


def _is_followed(path: Path, offset: int, size: int) -> bool:
    """Whether a block that can't be read is followed by one that can: then it is not a torn end."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(_BLOCK.size)
        if len(head) < _BLOCK.size:
            return False
        file.seek(min(size, offset + _BLOCK.size + _BLOCK.unpack(head)[0]))
        return _block(file.read(_BLOCK.size), file.read) is not None


def _no_space(error: OSError, folder: Path) -> OSError | NoSpace:
    if not is_full(error):
        return error
    return NoSpace(f"The disk of {folder} is full ({error.strerror}). Free space: until then no event is taken.")
