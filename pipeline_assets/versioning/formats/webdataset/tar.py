"""Reads tar files: their entries front to back, and members one at a time. Only regular files with safe names."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline_assets.versioning.formats.incoming import MAX_FILE_BYTES, Rejected
from pipeline_assets.versioning.pin.manifest import path_fault

BLOCK = 512
MAX_HEADER_BYTES = 64 * 1024
"""Size limit of a long name or of extended attributes."""
MAX_LENGTH_DIGITS = 6
MAX_SIZE_BYTES = 2**53
"""Size limit of a member: a header's 12-byte numbers can exceed any file offset."""
_DIGITS = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file in a tar file, and the offset of its bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Member:
    """A regular file of a tar file, with its bytes."""

    name: str
    data: bytes


def read(file: BinaryIO, entry: Entry) -> Member:
    """An entry's bytes. file: the tar file."""
    file.seek(entry.offset)
    return Member(entry.name, file.read(entry.size))


def entries(path: Path) -> Iterator[Entry | Rejected]:
    """The entries of a tar file, in order. A damaged header ends them with a rejection."""
    with path.open("rb") as file:
        end = path.stat().st_size
        extended: dict[str, str] = {}
        while True:
            at = file.tell()
            try:
                header = _header(file)
            except tarfile.HeaderError as error:
                yield Rejected(f"{path.name}@{at}", "truncated" if _is_end(file) else "bad_header", str(error))
                return
            if header is None:
                return
            if not 0 <= header.size <= MAX_SIZE_BYTES:  # a negative size would lead back to this header forever
                yield Rejected(f"{path.name}@{at}", "bad_header", f"a member of {header.size:,} bytes")
                return
            if header.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
                if header.size > MAX_HEADER_BYTES:
                    yield Rejected(f"{path.name}@{at}", "too_large", f"a header of {header.size:,} bytes")
                    return
                extended |= _extended(header, _body(file, header.size)[: header.size])
                continue
            entry = _entry(file, header, extended, path.name, end)
            extended = {}
            yield entry
            if isinstance(entry, Rejected) and entry.reason == "truncated":
                return


def _header(file: BinaryIO) -> tarfile.TarInfo | None:
    """The next header; None at the archive's end, which is a block of zeros."""
    block = file.read(BLOCK)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None


def _is_end(file: BinaryIO) -> bool:
    return not file.read(1)


def _entry(file: BinaryIO, header: tarfile.TarInfo, extended: dict[str, str], shard: str, end: int) -> Entry | Rejected:
    name = extended.get("path", header.name)
    size = int(extended["size"]) if _DIGITS.fullmatch(extended.get("size", "")) else header.size
    source = f"{shard}: {name[:200]}"
    offset = file.tell()
    if header.type not in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE):
        file.seek(min(offset + _padded(size), end))  # never beyond the end, which seek may refuse
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or name.endswith("/") or any("sparse" in k for k in extended):
        return Rejected(source, "not_a_file", "a link, a folder, a device or a sparse file")
    if size > MAX_FILE_BYTES:
        return Rejected(source, "too_large", f"a member of {size:,} bytes")
    if offset + size > end:
        return Rejected(source, "truncated", "the file ends inside of this member")
    fault = path_fault(name.removeprefix("./"))
    return Rejected(source, "unsafe_path", fault) if fault else Entry(name.removeprefix("./"), offset, size)


def _body(file: BinaryIO, size: int) -> bytes:
    return file.read(_padded(size))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _extended(header: tarfile.TarInfo, data: bytes) -> dict[str, str]:
    """Name and size from a PAX or GNU header; invalid ones are ignored, and the member keeps its short name."""
    if header.type == tarfile.XGLTYPE:
        return {}
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    fields = {}
    while data:
        length = data.split(b" ", 1)[0]
        if not 1 <= len(length) <= MAX_LENGTH_DIGITS or not length.isdigit() or not len(length) < int(length) <= len(data):
            break
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]
    return fields
