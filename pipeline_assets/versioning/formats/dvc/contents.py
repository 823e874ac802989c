"""Reads contents by md5 from DVC's local cache or its remote, and verifies each."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime import blobs
from pipeline_assets.runtime.transfer import Digests, digests_of_bytes, md5_of, spool
from pipeline_assets.versioning.formats.dvc import dvc_files
from pipeline_assets.versioning.formats.dvc.remote import Remote
from pipeline_assets.versioning.formats.foreign_files import MAX_LISTING_BYTES, bytes_of, facts_of
from pipeline_assets.versioning.formats.intake import local_contents
from resources.errors import NotFound, TooLarge
from resources.objects.store import ObjectStore

IN_MEMORY_BELOW = 64 * 1024**2
"""Larger contents of a remote go through a file."""
LEGACY_PIECE_BYTES = 2**20
"""DVC 2 normalized line ends in pieces, so that a pair across two pieces was not changed."""


@dataclass(frozen=True)
class DvcContent:
    """A content by name. size_bytes: None if DVC's files don't have it. is_locked: as in its output."""

    md5: str
    is_legacy: bool
    size_bytes: int | None
    is_locked: bool = False

    @property
    def key(self) -> str:
        """Its key in a cache or remote."""
        return legacy_key(self.md5) if self.is_legacy else dvc_files.content_key(self.md5)

    def is_named_by(self, digests: Digests, content: bytes | Path) -> bool:
        """Whether these bytes have this name."""
        if self.size_bytes not in (None, digests.size_bytes):
            return False
        return digests.md5 == self.md5 or (self.is_legacy and unix_md5(content) == self.md5)


def legacy_key(md5: str) -> str:
    """The key of a content in a cache or remote of DVC 2."""
    return f"{md5[:2]}/{md5[2:]}"


def unix_md5(content: bytes | Path) -> str:
    """The md5 of text in DVC 2: computed with Unix line ends."""
    data = blobs.bytes_of(content)
    md5 = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(data), LEGACY_PIECE_BYTES):
        md5.update(data[start : start + LEGACY_PIECE_BYTES].replace(b"\r\n", b"\n"))
    return md5.hexdigest()


@dataclass
class DvcContents:
    """Reads contents from the cache first, then from the remote."""

    cache: Path
    remote: Remote | None
    access: Mapping[str, Any]
    _damaged: dict[str, str] = field(default_factory=dict)

    def fault_of(self, md5: str) -> str:
        """Why a content is unusable; empty if it is just missing."""
        return self._damaged.get(md5, "")

    def listing(self, output: dvc_files.Output) -> bytes:
        """A directory's listing. Raises ImportRefused if it is missing or damaged."""
        key = DvcContent(output.md5, output.is_legacy, None).key + dvc_files.DIRECTORY
        for folder in self._folders:
            if facts_of(folder, key, set()):
                return self._checked(bytes_of(folder, key, MAX_LISTING_BYTES) or b"", output)
        if store := self._store:
            try:
                return self._checked(store.get(key), output)
            except NotFound:
                pass
        raise ImportRefused(
            f"The listing {output.md5}{dvc_files.DIRECTORY} of {output.path} is neither in {self.cache} nor in the remote "
            f"({self.remote.url if self.remote else 'none is set'}): run `dvc fetch` first, or name the remote."
        )

    def read(self, contents: Mapping[str, DvcContent]) -> Iterator[tuple[str, Digests, bytes | Path]]:
        """Each available content, by its md5: small ones in memory, large ones as a file.

        Damaged ones are left out; `fault_of` has the reason.
        """
        unread = dict(contents)
        for md5, digests, content in self._local_then_remote(unread):
            if unread[md5].is_named_by(digests, content):
                del unread[md5]
                yield md5, digests, content
            else:
                self._damaged[md5] = " (it is damaged: its md5 or size differs)"

    def _local_then_remote(self, unread: Mapping[str, DvcContent]) -> Iterator[tuple[str, Digests, bytes | Path]]:
        for folder in self._folders:
            by_key = {content_named.key: md5 for md5, content_named in unread.items()}
            for key, digests, content in local_contents(
                folder, list(by_key), lambda sha256, data: Digests(sha256.hex(), md5_of(data), len(data))
            ):
                yield by_key[key], digests, content
        if unread and (store := self._store):
            yield from self._fetched(store, dict(unread))

    def _fetched(self, store: ObjectStore, unread: Mapping[str, DvcContent]) -> Iterator[tuple[str, Digests, bytes | Path]]:
        for md5, data in store.get_many(unread, key=lambda md5: unread[md5].key, max_object_bytes=IN_MEMORY_BELOW):
            if isinstance(data, bytes):
                yield md5, digests_of_bytes(data), data
            elif isinstance(data, TooLarge):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / md5
                    size = store.head(unread[md5].key).size
                    yield md5, spool(store, unread[md5].key, None, size, path), path
            elif not isinstance(data, NotFound):
                self._damaged[md5] = f" ({data})"

    @property
    def _folders(self) -> list[Path]:
        remote = self.remote.folder if self.remote else None
        return [self.cache, remote] if remote else [self.cache]

    @property
    def _store(self) -> ObjectStore | None:
        return self.remote.open(self.access) if self.remote and not self.remote.folder else None

    def _checked(self, data: bytes, output: dvc_files.Output) -> bytes:
        if md5_of(data) != output.md5:
            raise ImportRefused(
                f"The listing {output.md5}{dvc_files.DIRECTORY} of {output.path} is damaged: delete it and run `dvc fetch`."
            )
        return data
