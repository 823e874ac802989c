"""EXIF: the few fields that Darkroom keeps, read by a bounded TIFF reader of its own.

Pillow's reader reports damage as warnings, which threads can't catch safely, and follows what it is told. This one
looks at one directory at a time, at no more than 512 entries of each, and at the tags it wants. Damage costs the
field that is damaged and never raises. Source: EXIF 2.32 (CIPA DC-008), TIFF 6.0.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

MAX_ENTRIES = 512
MAX_TEXT_BYTES = 128

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES, _ASCII, _SHORT, _LONG, _RATIONAL = 1, 2, 3, 4, 5
_MAKE, _MODEL, _ORIENTATION, _DATE_TIME, _EXIF_IFD, _GPS_IFD = 0x10F, 0x110, 0x112, 0x132, 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _DATE_TIME_DIGITIZED = 0x9003, 0x9004
_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True)
class Exif:
    """What EXIF says; null for what is absent or damaged. taken_at is in the camera's unknown zone."""

    orientation: int | None = None
    taken_at: datetime | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    camera: str | None = None


@dataclass(frozen=True)
class Entry:
    """One directory entry of a TIFF block: `count` values of TIFF type `kind`, whose bytes start at `at`."""

    tag: int
    kind: int
    count: int
    at: int

    @property
    def size_bytes(self) -> int:
        """Bytes that all its values take; 0 for a type that TIFF 6.0 does not have."""
        return _SIZES.get(self.kind, 0) * self.count


class TiffBlock:
    """A classic TIFF structure in bytes, read by offset. Every read is checked against the block's end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.is_valid = data[:4] in (b"II*\0", b"MM\0*")
        self.first = self.integer(4, "I") if self.is_valid else 0

    def integer(self, at: int, code: str) -> int:
        """The unsigned integer of struct code H or I at an offset; 0 beyond the end."""
        try:
            return int(struct.unpack_from(self.order + code, self.data, at)[0])
        except struct.error:
            return 0

    def directory(self, at: int) -> tuple[dict[int, Entry], int]:
        """The entries of the directory at an offset by tag, the first of a tag; and the next directory's offset or 0.

        Entries whose values lie outside of the block are left out.
        """
        if not 8 <= at <= len(self.data) - 2:
            return {}, 0
        count = self.integer(at, "H")
        entries: dict[int, Entry] = {}
        for entry in self._entries(at + 2, min(count, MAX_ENTRIES)):
            entries.setdefault(entry.tag, entry)
        return entries, self.integer(at + 2 + 12 * count, "I")

    def number(self, entry: Entry | None) -> int | None:
        """The entry's first value, if it is an unsigned integer."""
        if entry is None or entry.count < 1 or entry.kind not in (_BYTES, _SHORT, _LONG):
            return None
        return self.data[entry.at] if entry.kind == _BYTES else self.integer(entry.at, "HI"[entry.kind - _SHORT])

    def text(self, entry: Entry | None) -> str | None:
        """The entry's text up to its first NUL, cut at 128 bytes, printable characters only; null if nothing is left."""
        if entry is None or entry.kind != _ASCII:
            return None
        raw = self.data[entry.at : entry.at + min(entry.count, MAX_TEXT_BYTES)].split(b"\0", 1)[0]
        printable = "".join(c if c.isprintable() else " " for c in raw.decode("utf-8", "replace"))
        return " ".join(printable.split()) or None

    def rationals(self, entry: Entry | None) -> list[float]:
        """The entry's first three unsigned rationals; a zero denominator gives NaN."""
        if entry is None or entry.kind != _RATIONAL:
            return []
        pairs = [
            (self.integer(entry.at + 8 * i, "I"), self.integer(entry.at + 8 * i + 4, "I"))
            for i in range(min(entry.count, 3))
        ]
        return [above / below if below else math.nan for above, below in pairs]

    def _entries(self, start: int, count: int) -> Iterator[Entry]:
        for at in range(start, min(start + 12 * count, len(self.data) - 11), 12):
            tag, kind, values = struct.unpack_from(self.order + "HHI", self.data, at)
            size = _SIZES.get(kind, 0) * values
            value_at = at + 8 if size <= 4 else self.integer(at + 8, "I")
            if 0 < size <= len(self.data) - value_at:
                yield Entry(tag, kind, values, value_at)


def parse_exif(block: bytes) -> Exif:
    """The fields of an EXIF block, with or without the prefix of JPEG's APP1. Never raises."""
    tiff = TiffBlock(block.removeprefix(b"Exif\0\0"))
    if not tiff.is_valid:
        return Exif()
    main, _ = tiff.directory(tiff.first)
    details, _ = tiff.directory(tiff.number(main.get(_EXIF_IFD)) or 0)
    gps, _ = tiff.directory(tiff.number(main.get(_GPS_IFD)) or 0)
    orientation = tiff.number(main.get(_ORIENTATION))
    latitude = _degrees(tiff, gps, 1, {"N": 1, "S": -1}, 90)
    longitude = _degrees(tiff, gps, 3, {"E": 1, "W": -1}, 180)
    has_both = latitude is not None and longitude is not None
    times = (details.get(_DATE_TIME_ORIGINAL), details.get(_DATE_TIME_DIGITIZED), main.get(_DATE_TIME))
    return Exif(
        orientation=orientation if orientation in range(1, 9) else None,
        taken_at=next((time for time in map(_time, map(tiff.text, times)) if time), None),
        latitude_deg=latitude if has_both else None,
        longitude_deg=longitude if has_both else None,
        camera=_camera(tiff.text(main.get(_MAKE)), tiff.text(main.get(_MODEL))),
    )


def _time(text: str | None) -> datetime | None:
    match = _TIME.match(text or "")
    if not match:
        return None
    try:
        return datetime(*map(int, match.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 - EXIF has no zone
    except ValueError:
        return None


def _degrees(tiff: TiffBlock, gps: dict[int, Entry], tag: int, signs: dict[str, int], limit: int) -> float | None:
    sign = signs.get((tiff.text(gps.get(tag)) or "").upper())
    parts = tiff.rationals(gps.get(tag + 1))
    if sign is None or len(parts) != 3:
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    return sign * degrees if degrees <= limit else None


def _camera(make: str | None, model: str | None) -> str | None:
    """Make and model, the make left out where the model repeats its first word."""
    if make and model and make.split()[0].lower() != model.split()[0].lower():
        return f"{make} {model}"
    return model or make
