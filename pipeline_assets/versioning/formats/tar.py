"""Tar files read front to back, a member at a time, in bounded memory. Only regular files with safe names are read."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline_assets.versioning.formats.incoming import MAX_FILE_BYTES, Rejected
from pipeline_assets.versioning.manifest import path_fault

BLOCK = 512
MAX_HEADER_BYTES = 64 * 1024
"""Of a long name or of extended attributes."""


@dataclass(frozen=True)
class Member:
    """A regular file of a tar file."""

    name: str
    data: bytes


def members(path: Path) -> Iterator[Member | Rejected]:
    """What a tar file holds, in its order. After a damaged header nothing more can be found, and that is said."""
    with path.open("rb") as file:
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
            if header.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
                if header.size > MAX_HEADER_BYTES:
                    yield Rejected(f"{path.name}@{at}", "too_large", f"a header of {header.size:,} bytes")
                    return
                extended |= _extended(header, _body(file, header.size)[: header.size])
                continue
            found = _member(file, header, extended, path.name)
            extended = {}
            yield found
            if isinstance(found, Rejected) and found.reason == "truncated":
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


def _member(file: BinaryIO, header: tarfile.TarInfo, extended: dict[str, str], shard: str) -> Member | Rejected:
    name = extended.get("path", header.name)
    size = int(extended["size"]) if extended.get("size", "").isdigit() else header.size
    where = f"{shard}: {name[:200]}"
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or name.endswith("/") or any("sparse" in k for k in extended):
        file.seek(_padded(size) if header.type not in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE) else 0, 1)
        return Rejected(where, "not_a_file", "a link, a folder, a device or a sparse file")
    if size > MAX_FILE_BYTES:
        file.seek(_padded(size), 1)
        return Rejected(where, "too_large", f"a member of {size:,} bytes")
    data = _body(file, size)
    if len(data) < size:
        return Rejected(where, "truncated", "the file ends inside of this member")
    fault = path_fault(name.removeprefix("./"))
    return Rejected(where, "unsafe_path", fault) if fault else Member(name.removeprefix("./"), data[:size])


def _body(file: BinaryIO, size: int) -> bytes:
    return file.read(_padded(size))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _extended(header: tarfile.TarInfo, data: bytes) -> dict[str, str]:
    """Name and size from a PAX or GNU header; what makes no sense is left, and the member keeps its short name."""
    if header.type == tarfile.XGLTYPE:
        return {}
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found = {}
    while data:
        length = data.split(b" ", 1)[0]
        if not length.isdigit() or not len(length) < int(length) <= len(data):
            break
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]
    return found
