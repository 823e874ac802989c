"""Reads files of untrusted folders: regular files only, without following links, up to a size."""

import os
import stat
from pathlib import Path, PurePosixPath

from pipeline_assets.errors import ImportRefused

MAX_TEXT_BYTES = 16 * 1024**2
"""Size limit of settings and lists of names: YAML takes a hundred times as much memory."""
MAX_LISTING_BYTES = 512 * 1024**2
"""Size limit of a directory's listing, in JSON: a few million files."""


def facts_of(root: Path, path: str, plain: set[str]) -> os.stat_result | None:
    """The stat of a regular file below `root`; None if it is missing, no regular file, or behind a link.

    `root` itself may be a link. plain: folders known to be no links; the file's folders are added.
    """
    try:
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if str(parent) not in plain:
                if not stat.S_ISDIR((root / parent).lstat().st_mode):
                    return None
                plain.add(str(parent))
        facts = (root / path).lstat()
    except (OSError, ValueError):
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None


def bytes_of(root: Path, path: str, max_bytes: int = MAX_TEXT_BYTES) -> bytes | None:
    """A file's bytes; None if it is missing.

    Raises ImportRefused for a path that is no regular file, is behind a link, or is larger than max_bytes.
    """
    facts = facts_of(root, path, set())
    if facts is None:
        if not os.path.lexists(root / path):
            return None
        raise ImportRefused(
            f"{root / path} is a link or no file, or lies behind a link, which is not followed: copy the file there."
        )
    if facts.st_size > max_bytes:
        raise ImportRefused(
            f"{root / path} has {facts.st_size:,} bytes, more than the limit for such a file ({max_bytes:,})."
        )
    try:
        with (root / path).open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise ImportRefused(f"{root / path} can't be read: {error.strerror}.") from None
