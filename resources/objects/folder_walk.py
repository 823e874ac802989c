"""Lists the files below a folder, including names on which obstore's own listing fails as a whole.

obstore fails on a name with a control character or without UTF-8, and on a link to a parent folder. Here such a name is
returned (bytes that are not UTF-8 as single surrogates); cyclic and broken links, and all that is no regular file, are left
out.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTIAL = re.compile(r"#\d+$")
"""Suffix of the folder backend's partial files."""


@dataclass(frozen=True)
class FoundFile:
    """A file with the properties that obstore lists."""

    key: str
    size: int
    etag: str
    last_modified: datetime


def files(root: Path, folder: str) -> Iterator[FoundFile]:
    """Every file below `folder` of a root, in any order; links are followed."""
    yield from _below(root / folder, f"{folder}/" if folder else "", frozenset())


def folders(root: Path, folder: str) -> list[str]:
    """Names of the direct subfolders, in order."""
    try:
        with os.scandir(root / folder) as entries:
            return sorted(entry.name for entry in entries if Path(entry.path).is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _below(path: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[FoundFile]:
    try:
        status = path.stat()
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):  # deleted meanwhile, or never there
        return
    folder_id = (status.st_dev, status.st_ino)
    if folder_id in above:
        return
    for name in names:
        try:
            status = (path / name).stat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _below(path / name, f"{prefix}{name}/", above | {folder_id})
        elif stat.S_ISREG(status.st_mode) and not PARTIAL.search(name):
            # obstore's format, so that a file has one ETag however it was listed.
            etag = f"{status.st_ino:x}-{max(0, status.st_mtime_ns // 1000):x}-{status.st_size:x}"
            modified = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
            yield FoundFile(f"{prefix}{name}", status.st_size, etag, modified)
