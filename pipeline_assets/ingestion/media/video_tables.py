"""The tables of samples of MP4 and MOV, held against the file's size before a demuxer builds its index from them.

A table says in a few bytes how many samples there are, and an index takes about 40 bytes for each. Boxes are walked in
bounded steps; what is damaged is left to the demuxer.
Source: ISO 14496-12.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import BadClip

MAX_SAMPLES = 2**22
"""Of a file, each counted once for every edit of its track: two hours of 120 pictures a second are 864,000."""
MAX_PCM_PER_BYTE = 64
"""Samples of plain or simply packed sound that a byte of the file may hold."""
_PCM_CHUNK = 1_024
_MAX_BOXES = 500_000
_MAX_TABLE_BYTES = 2**25
_DEEPEST = 12
_Rows = npt.NDArray[np.int64]
_FOLDERS = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"dinf", b"tref", b"wave")
)


@dataclass
class _Track:
    """What the tables of one track say. timed: of how many samples the times are listed; runs: chunks from when on hold
    how many samples, (first chunk, samples, _).
    """

    is_sound: bool = False
    samples: int = 0
    sample_bytes: int = 0
    chunks: int = 0
    runs: _Rows | None = None
    timed: int = 0
    is_even: bool = False
    edits: int = 1

    @property
    def in_chunks(self) -> int:
        """Samples of all its chunks."""
        if self.runs is None or not len(self.runs):
            return 0
        chunks = np.diff(self.runs[:, 0], append=self.chunks + 1)
        return int(np.maximum(chunks, 0).astype(np.float64) @ self.runs[:, 1].astype(np.float64))


@dataclass
class _Walk:
    """One file that is walked, and how far."""

    source: BinaryIO
    size: int
    boxes: int = 0
    fragments: int = 0


def check_tables(source: BinaryIO, size: int) -> None:
    """Raise BadClip (too_costly) for a file of more samples than its bytes can hold. Leaves the source anywhere."""
    walk = _Walk(source, size)
    tracks: list[_Track] = [_Track()]
    try:
        _read(walk, 0, size, tracks, 0)
    except struct.error:
        return
    index = walk.fragments
    for track in tracks:
        is_pcm = track.is_sound and track.is_even
        max_samples = MAX_PCM_PER_BYTE * size if is_pcm else size // max(1, track.sample_bytes)
        if track.samples > max_samples or (is_pcm and track.in_chunks > max_samples):
            raise BadClip(
                "too_costly", f"a track of {max(track.samples, track.in_chunks)} samples in a file of {size} bytes"
            )
        entries = track.chunks + track.in_chunks // _PCM_CHUNK if is_pcm else max(track.samples, track.timed)
        index += entries * track.edits
    if walk.fragments > size or index > MAX_SAMPLES:
        raise BadClip("too_costly", f"an index of {max(index, walk.fragments)} samples; at most {MAX_SAMPLES} are read")


def _boxes(walk: _Walk, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box."""
    while at + 8 <= end:
        walk.boxes += 1
        if walk.boxes > _MAX_BOXES:
            raise BadClip("too_costly", f"more than {_MAX_BOXES} boxes")
        length, kind = struct.unpack(">I4s", _bytes(walk, at, 8))
        head = 8
        if length == 1:
            length, head = struct.unpack(">Q", _bytes(walk, at + 8, 8))[0], 16
        length = length or end - at
        if length < head:
            return
        yield kind, at + head, min(end, at + length)
        at += length


def _bytes(walk: _Walk, at: int, count: int) -> bytes:
    walk.source.seek(at)
    return walk.source.read(count)


def _read(walk: _Walk, at: int, end: int, tracks: list[_Track], depth: int) -> None:
    for kind, start, stop in _boxes(walk, at, end):
        if kind == b"cmov":
            raise BadClip("too_costly", "its headers are packed, as no camera has written them for twenty years")
        if kind == b"trak":
            tracks.append(_Track())
        if kind in _FOLDERS and depth < _DEEPEST:
            _read(walk, start, stop, tracks, depth + 1)
        elif kind in (b"stsz", b"stz2", b"stts", b"ctts", b"stsc", b"stco", b"co64", b"elst", b"hdlr", b"trun"):
            _add(walk, kind, start, stop, tracks[-1])


def _add(walk: _Walk, kind: bytes, start: int, stop: int, track: _Track) -> None:
    """What one table says. All of them begin with a version and flags."""
    second, third = struct.unpack(">II", _bytes(walk, start + 4, 8).ljust(8, b"\0"))
    if kind == b"hdlr":
        track.is_sound |= struct.pack(">I", third) == b"soun"
    elif kind == b"stsz":
        track.sample_bytes, track.samples = second, track.samples + third
    elif kind == b"stz2":
        track.samples += third
    elif kind == b"elst":
        track.edits = max(track.edits, second)
    elif kind in (b"stco", b"co64"):
        track.chunks += second
    elif kind == b"trun":
        walk.fragments += second
    elif kind == b"stsc":
        track.runs = _table(walk, start + 8, min(stop, start + 8 + 12 * second), 3)
    else:
        times = _table(walk, start + 8, min(stop, start + 8 + 8 * second), 2)
        track.timed = max(track.timed, int(times[:, 0].sum()))
        track.is_even |= kind == b"stts" and times[:, 1].tolist() == [1]


def _table(walk: _Walk, at: int, end: int, columns: int) -> _Rows:
    """(N, columns) whole numbers of 32 bits."""
    if end - at > _MAX_TABLE_BYTES:
        raise BadClip("too_costly", f"a table of {end - at} bytes; at most {_MAX_TABLE_BYTES} are read")
    data = _bytes(walk, at, max(0, end - at))
    whole_bytes = len(data) // (4 * columns) * 4 * columns
    return np.frombuffer(data[:whole_bytes], ">u4").astype(np.int64).reshape(-1, columns)
