"""Places contents as files: written, hard-linked from the cache, or cloned where the filesystem shares blocks (reflink).

Every file is written under a temporary name and renamed when it is complete.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from pipeline_assets.versioning.checkout.content_cache import ContentCache
from pipeline_assets.versioning.checkout.state import Stamp
from pipeline_assets.versioning.checkout.target import Target, name_taken, split_path

Link = Literal["hard", "reflink", "copy"]
READ_ONLY, USUAL = 0o444, 0o666
IN_MEMORY_BELOW = 16 * 1024**2
"""Smaller contents are whole in memory; larger ones go through a file in pieces."""
PIECE = 1024**2
_FICLONE = 0x40049409
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS)

Content = Mapping[str, Any]
"""A manifest row whose `paths` and `replaces` are lists: the destinations, and whether each replaces a file of ours."""


class Walk:
    """Opens folders below a target, creating missing ones. The last one stays open for further files in it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._parent: str | None = None
        self._folder = -1
        self._open = contextlib.ExitStack()

    def to(self, path: str) -> tuple[int, str]:
        """The folder that a path lies in, as a descriptor, and its name there. Raises PathEscapes."""
        parent, name = split_path(path)
        if parent != self._parent:
            self._open.close()
            self._parent = None
            self._folder = self._open.enter_context(self._target.inside(parent, make=True))
            self._parent = parent
        return self._folder, name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()


class Placer:
    """Places contents at their paths. cache: None to use none; link: how files share blocks with it."""

    def __init__(self, target: Target, cache: ContentCache | None, link: Link) -> None:
        self._target = target
        self._cache = cache
        self._link = link if cache else "copy"

    def from_data(self, items: Sequence[tuple[Content, bytes]]) -> list[tuple[Content, list[Stamp]]]:
        """Place verified contents from memory and cache them. Returns each with the stamps of its files."""
        with Walk(self._target) as walk:
            return [(content, self._from_data(walk, content, data)) for content, data in items]

    def from_cache(self, contents: Sequence[Content]) -> list[tuple[Content, list[Stamp] | None]]:
        """Place cached contents. Returns each with the stamps of its files, None if it is not cached."""
        with Walk(self._target) as walk:
            return [(content, self._from_cache(walk, content)) for content in contents]

    def from_part(self, content: Content, part: str) -> list[Stamp]:
        """Place a verified content that lies as a file in `parts`.

        It is cached only if it can share its blocks with the cache: a large file is not written twice.
        """
        with Walk(self._target) as walk:
            if self._cache is None or self._link == "copy":
                *first_places, last = _places(content)
                stamps = [self._copy(walk, part, self._target.parts, *place) for place in first_places]
                return [*stamps, self._place(walk, part, *last)]
            stamps = [self._link_or_copy(walk, part, self._target.parts, *place) for place in _places(content)]
            self._cache.keep(part, self._target.parts, content["sha256"])
            return stamps

    def rows(self, part: str, path: str, *, replace: bool) -> list[Stamp]:
        """Place a table's rows, which lie as a file in `parts`. They are not cached."""
        with Walk(self._target) as walk:
            return [self._place(walk, part, path, replace)]

    @property
    def part_mode(self) -> int:
        """The mode of a file for `from_part`."""
        return READ_ONLY if self._cache and self._link != "copy" else USUAL

    def _from_data(self, walk: Walk, content: Content, data: bytes) -> list[Stamp]:
        if self._cache and self._link == "hard":
            part = self._write(data, READ_ONLY)
            stamps = [self._link_or_copy(walk, part, self._target.parts, *place) for place in _places(content)]
            self._cache.keep(part, self._target.parts, content["sha256"])
            return stamps
        if self._cache:
            self._cache.write(data, content["sha256"])
        return [self._place(walk, self._write(data, USUAL), *place) for place in _places(content)]

    def _from_cache(self, walk: Walk, content: Content) -> list[Stamp] | None:
        if self._cache is None:
            return None
        sha256 = content["sha256"]
        if content["size_bytes"] < IN_MEMORY_BELOW:
            data = self._cache.read(sha256)
            if data is None:
                return None
            if self._link != "hard":
                return [self._place(walk, self._write(data, USUAL), *place) for place in _places(content)]
        elif not self._cache.has(sha256):
            return None
        try:
            return [self._link_or_copy(walk, self._cache.path(sha256), None, *place) for place in _places(content)]
        except FileNotFoundError:
            return None  # another process has pruned it: it is fetched again

    def _link_or_copy(self, walk: Walk, source: str, source_folder: int | None, path: str, replace: bool) -> Stamp:
        """Place a file that shares a source's blocks, by a hard link or a clone; a copy where neither works."""
        if self._link != "hard":
            return self._copy(walk, source, source_folder, path, replace)
        folder, name = walk.to(path)
        try:
            if replace:
                part = self._target.new_part()
                os.link(source, part, src_dir_fd=source_folder, dst_dir_fd=self._target.parts, follow_symlinks=False)
                self._target.place(part, folder, name, replace=True)
            else:
                os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise name_taken(path) from None
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return self._copy(walk, source, source_folder, path, replace)
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return path, facts.st_mtime_ns, facts.st_ino

    def _copy(self, walk: Walk, source: str, source_folder: int | None, path: str, replace: bool) -> Stamp:
        source_descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source_folder)
        try:
            part, part_descriptor = self._target.new_part_opened(USUAL)
            try:
                if not (self._link == "reflink" and _clone(source_descriptor, part_descriptor)):
                    for piece in _pieces(source_descriptor):
                        _write_all(part_descriptor, piece)
            finally:
                os.close(part_descriptor)
        finally:
            os.close(source_descriptor)
        return self._place(walk, part, path, replace)

    def _place(self, walk: Walk, part: str, path: str, replace: bool) -> Stamp:
        folder, name = walk.to(path)
        facts = os.stat(part, dir_fd=self._target.parts)
        self._target.place(part, folder, name, replace=replace)
        return path, facts.st_mtime_ns, facts.st_ino

    def _write(self, data: bytes, mode: int) -> str:
        part, descriptor = self._target.new_part_opened(mode)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        return part


def link_for(preferred: str, target: Target, cache: ContentCache | None) -> Link:
    """How files share blocks with the cache: as preferred if the filesystem can, else the next best.

    auto: a clone, so that an edit changes no other file; else a read-only hard link; else a copy, as when the cache is on
    another filesystem.
    """
    if cache is None or preferred == "copy":
        return "copy"
    trial = cache.root / f"trial.{os.getpid()}"
    trial.write_bytes(b"trial")
    part, descriptor = target.new_part_opened(USUAL)
    linked = target.new_part()
    try:
        with trial.open("rb") as file:
            can_clone = preferred != "hard" and _clone(file.fileno(), descriptor)
        if can_clone:
            return "reflink"
        if preferred == "reflink":
            return "copy"
        try:
            os.link(trial, linked, dst_dir_fd=target.parts)
        except OSError:
            return "copy"
        os.unlink(linked, dir_fd=target.parts)
        return "hard"
    finally:
        os.close(descriptor)
        os.unlink(part, dir_fd=target.parts)
        trial.unlink()


def _places(content: Content) -> list[tuple[str, bool]]:
    return list(zip(content["paths"], content["replaces"], strict=True))


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE):
        yield piece


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])
