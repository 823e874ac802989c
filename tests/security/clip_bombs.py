"""Sound and video made to cost a reader far more than they weigh. Part of `bombs.py`."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence

from PIL import Image

MANY = 80_000_000


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of ISO 14496-12."""
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def full_box(kind: bytes, body: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags) + body)


def table(kind: bytes, *rows: Sequence[int], version: int = 0) -> bytes:
    """A box that counts its rows of 32-bit numbers."""
    body = b"".join(struct.pack(f">{len(row)}I", *row) for row in rows)
    return full_box(kind, struct.pack(">I", len(rows)) + body, version)


def jpeg(side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "JPEG")
    return out.getvalue()


_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def _entry(kind: bytes, side: int) -> bytes:
    """What a track's samples are: MJPEG pictures, or two bytes of plain sound."""
    if kind == b"soun":
        return box(b"sowt", bytes(6), struct.pack(">H8xHHIII", 1, 1, 16, 0, 48_000 << 16, 0)[:28])
    sides = struct.pack(">HHIIIH", side, side, 0x480000, 0x480000, 0, 1)
    return box(b"jpeg", bytes(6), struct.pack(">H", 1), bytes(16), sides, bytes(32), struct.pack(">Hh", 24, -1))


def trak(
    samples: int, size: int, at: int, *, kind: bytes = b"vide", side: int = 64, edits: bytes = b"", more: bytes = b""
) -> bytes:
    """A track of one chunk at an offset, whose samples all have one size and last 1 ms. more: tables in place of its own."""
    own = (
        table(b"stts", (samples, 1)) + table(b"stsc", (1, samples, 1)) + full_box(b"stsz", struct.pack(">II", size, samples))
    )
    stbl = box(b"stbl", table(b"stsd")[:12], struct.pack(">I", 1), _entry(kind, side), more or own, table(b"stco", (at,)))
    stsd = full_box(b"stsd", struct.pack(">I", 1) + _entry(kind, side))
    stbl = box(b"stbl", stsd, more or own, table(b"stco", (at,)))
    dinf = box(b"dinf", full_box(b"dref", struct.pack(">I", 1) + full_box(b"url ", b"", flags=1)))
    head = full_box(b"vmhd", bytes(8)) if kind == b"vide" else full_box(b"smhd", bytes(4))
    hdlr = full_box(b"hdlr", bytes(4) + kind + bytes(13))
    mdhd = full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1_000, 1_000, 0x55C4, 0))
    tkhd = full_box(
        b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 1_000) + bytes(16) + _MATRIX + struct.pack(">II", side << 16, side << 16)
    )
    return box(b"trak", tkhd, edits, box(b"mdia", mdhd, hdlr, box(b"minf", head, dinf, stbl)))


def mp4(*tracks: bytes, data: bytes = b"", after: bytes = b"", packed: bool = False) -> bytes:
    """An MP4 whose data begin at offset DATA_AT. packed: its headers are zlib's (`cmov`)."""
    mvhd = full_box(
        b"mvhd",
        struct.pack(">IIIIIH", 0, 0, 1_000, 1_000, 0x10000, 0x100) + bytes(10) + _MATRIX + bytes(24) + struct.pack(">I", 9),
    )
    moov = box(b"moov", mvhd, *tracks)
    if packed:
        small = zlib.compress(moov, 9)
        moov = box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", len(moov)), small)))
    return _FTYP + box(b"mdat", data) + moov + after


_FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
DATA_AT = len(_FTYP) + 8


def mp4_of(samples: int, size: int = 1, **how: bytes) -> bytes:
    return mp4(trak(samples, size, DATA_AT, **how), data=jpeg())


def mp4_of_edits(edits: int, samples: int) -> bytes:
    """Each edit is the whole track: the index holds it as often."""
    picture = jpeg()
    elst = box(b"edts", table(b"elst", *[(samples, 0, 0x10000)] * edits))
    return mp4(trak(samples, len(picture), DATA_AT, edits=elst), data=picture * samples)


def mp4_of_fragments(samples: int) -> bytes:
    """Samples that take no byte of the table: all is by default."""
    tfhd = full_box(b"tfhd", struct.pack(">III", 1, 1, 1), flags=0x18)
    moof = box(b"moof", full_box(b"mfhd", bytes(4)), box(b"traf", tfhd, full_box(b"trun", struct.pack(">I", samples))))
    mvex = box(b"mvex", full_box(b"trex", struct.pack(">IIIII", 1, 1, 1, 1, 0)))
    return mp4(trak(1, len(jpeg()), DATA_AT), mvex, data=jpeg(), after=moof)


def mp4_of_chunks(samples: int, chunks: int) -> bytes:
    """Plain sound whose chunks say that each holds as many samples."""
    picture = jpeg()
    more = table(b"stts", (samples, 1)) + table(b"stsc", (1, samples, 1)) + full_box(b"stsz", struct.pack(">II", 2, samples))
    more += table(b"stco", *[(DATA_AT,)] * chunks)
    sound = trak(samples, 2, DATA_AT, kind=b"soun", more=more)
    return mp4(trak(1, len(picture), DATA_AT), sound, data=picture)


def mp4_of_pictures(at_ms: int, side: int) -> bytes:
    """Two pictures, the second hours after the first: whoever makes them come evenly makes hundreds of thousands."""
    picture = jpeg(side)
    more = table(b"stts", (1, at_ms), (1, 33)) + table(b"stsc", (1, 2, 1))
    more += full_box(b"stsz", struct.pack(">II", len(picture), 2))
    return mp4(trak(2, 1, DATA_AT, side=side, more=more), data=picture * 2)


def ebml(kind: int, *parts: bytes) -> bytes:
    """An element of Matroska."""
    body = b"".join(parts)
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + struct.pack(">Q", 1 << 56 | len(body)) + body


def number(kind: int, value: int) -> bytes:
    return ebml(kind, struct.pack(">Q", value))


def matroska(*blocks: bytes, packed: bytes = b"", codec: bytes = b"V_MJPEG", side: int = 64) -> bytes:
    """One track of pictures in one cluster. blocks: what follows the time of each; packed: the track's encodings."""
    video = ebml(0xE0, number(0xB0, side), number(0xBA, side))
    entry = ebml(0xAE, number(0xD7, 1), number(0x73C5, 1), number(0x83, 1), ebml(0x86, codec), packed, video)
    info = ebml(0x1549A966, number(0x2AD7B1, 1_000_000))
    head = ebml(0x1A45DFA3, ebml(0x4282, b"matroska"), number(0x4287, 4), number(0x4285, 2))
    simple = [ebml(0xA3, b"\x81", struct.pack(">H", at % 30_000), block) for at, block in enumerate(blocks)]
    return head + ebml(0x18538067, info, ebml(0x1654AE6B, entry), ebml(0x1F43B675, number(0xE7, 0), *simple))


def matroska_of_laces(blocks: int) -> bytes:
    """Each block is of 256 packets of one byte."""
    return matroska(b"\x80" + jpeg(), *[b"\x84\xff" + bytes(256)] * blocks)


def matroska_of_zlib(blocks: int, mebibytes: int) -> bytes:
    """Each block is of zeros without end, packed."""
    packed = ebml(
        0x6D80, ebml(0x6240, number(0x5031, 0), number(0x5032, 1), number(0x5033, 0), ebml(0x5034, number(0x4254, 0)))
    )
    zeros = zlib.compress(bytes(mebibytes * 2**20), 9)
    return matroska(b"\x80" + zlib.compress(jpeg()), *[b"\x80" + zeros] * blocks, packed=packed)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value >> (bits - 1) else value << 1) & ((1 << bits) - 1)
    return value


def flac(frames: int) -> bytes:
    """Silence of 8 channels at 96 kHz, 65,535 samples of each in a frame of 30 bytes."""
    info = (
        struct.pack(">HH", 65_535, 65_535)
        + bytes(6)
        + (96_000 << 44 | 7 << 41 | 15 << 36 | frames * 65_535).to_bytes(8, "big")
        + bytes(16)
    )
    out = [b"fLaC\x80\0\0\x22" + info]
    for at in range(frames):
        head = b"\xff\xf8\x7b\x78" + chr(at).encode() + struct.pack(">H", 65_534)
        frame = head + bytes([_crc(head, 7, 8)]) + b"\0\0\0" * 8
        out.append(frame + struct.pack(">H", _crc(frame, 0x8005, 16)))
    return b"".join(out)


def wav(*chunks: bytes) -> bytes:
    """A WAV of one second of silence after other chunks."""
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    body = b"WAVE" + form + b"".join(chunks) + b"data" + struct.pack("<I", 16_000) + bytes(16_000)
    return b"RIFF" + struct.pack("<I", len(body)) + body


CLIP_BOMBS: dict[str, Callable[[], bytes]] = {
    "mp4 of 80 million samples": lambda: mp4_of(MANY),
    "mp4 of 80 million samples without a byte": lambda: mp4_of(MANY, 0),
    "mp4 of 80 million times": lambda: mp4_of(
        1,
        more=table(b"stts", (MANY, 1))
        + table(b"ctts", (MANY, 1))
        + table(b"stsc", (1, 1, 1))
        + full_box(b"stsz", struct.pack(">II", 800, 1)),
    ),
    "mp4 of 3,000 edits": lambda: mp4_of_edits(3_000, 3_000),
    "mp4 of 80 million samples in a fragment": lambda: mp4_of_fragments(MANY),
    "mp4 of 1,000 chunks of 80 million samples": lambda: mp4_of_chunks(MANY, 1_000),
    "mp4 of packed headers": lambda: mp4(trak(MANY, 1, DATA_AT), data=jpeg(), packed=True),
    "mp4 of 900 tracks": lambda: mp4(*[trak(1, len(jpeg()), DATA_AT)] * 900, data=jpeg()),
    "mp4 of two pictures and two hours": lambda: mp4_of_pictures(7_190_000, 2_048),
    "mp4 whose picture is larger than it says": lambda: mp4(trak(1, len(jpeg(12_000)), DATA_AT), data=jpeg(12_000)),
    "matroska of a packet a byte": lambda: matroska_of_laces(2_000),
    "matroska of packed zeros": lambda: matroska_of_zlib(300, 9),
    "flac of two hours of silence in 350 KB": lambda: flac(10_500),
    "wav of 300,000 chunks": lambda: wav(*[b"junk\0\0\0\0"] * 300_000),
}
