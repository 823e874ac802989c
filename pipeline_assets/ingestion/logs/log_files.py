"""Log files as bytes: gzip or plain, expanded within bounds and cut into blocks of whole lines. No line is parsed here."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE_BYTES = 65_536
BLOCK_BYTES = 8 * 2**20

_INPUT_BYTES = 16_384
_OUTPUT_BYTES = 2**20


@dataclass(frozen=True)
class Damage:
    """Why the rest of a file is not read. tail: what was had of the line in which it ends."""

    reason: str
    detail: str
    tail: bytes = b""


def line_blocks(data: bytes, max_bytes: int) -> Iterator[bytes | Damage]:
    """The file's lines in blocks of about 8 MiB, each of whole lines; then, if it can't be read to its end, Damage.

    max_bytes: of expanded bytes. The middle of a line that is far longer than 65,536 bytes may be left out.
    """
    parts: list[bytes] = []
    size = total = 0
    damage = None
    for piece in _expanded(data):
        if isinstance(piece, str):
            damage = Damage("damaged_gzip", piece)
            break
        parts.append(piece[: max_bytes - total])
        size, total = size + len(piece), total + len(piece)
        if total > max_bytes:
            damage = Damage("too_large", f"the file expands beyond {max_bytes} bytes; the rest is not read")
            break
        if size >= BLOCK_BYTES:
            lines, newline, rest = b"".join(parts).rpartition(b"\n")
            yield lines + newline
            parts, size = [rest if newline else rest[: MAX_LINE_BYTES + 1]], 0
    lines, newline, rest = b"".join(parts).rpartition(b"\n")
    if damage is None:
        yield lines + newline + rest
    else:
        yield lines + newline
        yield Damage(damage.reason, damage.detail, rest[: MAX_LINE_BYTES + 1])


def _expanded(data: bytes) -> Iterator[bytes | str]:
    """The bytes in pieces, unzipped if they are gzip of any number of members; a str says how the gzip is damaged."""
    if data[:2] != b"\x1f\x8b":
        yield from (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
        return
    unzip, compressed, fed = zlib.decompressobj(wbits=31), b"", 0
    while True:
        if not compressed:
            compressed = data[fed : fed + _INPUT_BYTES]
            fed += len(compressed)
        if unzip.eof:
            is_last = not compressed
            compressed = compressed.lstrip(b"\0")  # padding between and after members
            if is_last:
                return
            if not compressed:
                continue
            unzip = zlib.decompressobj(wbits=31)
        before = unzip.copy()
        try:
            piece = unzip.decompress(compressed, _OUTPUT_BYTES)
        except zlib.error as error:
            yield _before_damage(before, compressed)
            yield f"the gzip data are corrupt: {error}"
            return
        if not (piece or compressed or unzip.eof):
            yield "the gzip data end early"
            return
        compressed = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
        yield piece


def _before_damage(unzip: "zlib._Decompress", compressed: bytes) -> bytes:
    """What can be had of the input in which the damage lies: a byte in at a time, until it shows."""
    data = bytearray()
    try:
        for at in range(len(compressed)):
            data += unzip.decompress(compressed[at : at + 1])
    except zlib.error:
        return bytes(data)
    return bytes(data)
