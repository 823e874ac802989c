"""Contents by their md5, from DVC's local cache or from its remote, each held against its name."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ImportRefused
from pipeline_assets.held import bytes_of
from pipeline_assets.transfer import Digests, digests_of_bytes, md5_of, spool
from pipeline_assets.versioning.formats import dvc_files
from pipeline_assets.versioning.formats.dvc_remote import Remote
from pipeline_assets.versioning.formats.intake import local_contents
from resources.errors import NotFound, TooLarge
from resources.object_store import ObjectStore

HELD_BELOW = 64 * 1024**2
"""Larger contents of a remote go through a file, in bytes."""
LEGACY_PIECE_BYTES = 2**20
"""DVC 2 made line ends alike piece by piece, so that a pair across two pieces was left."""


@dataclass(frozen=True)
class Wanted:
    """A content by its name. size_bytes: None where DVC's files don't say it."""

    md5: str
    is_legacy: bool
    size_bytes: int | None

    @property
    def key(self) -> str:
        """Where it lies below a cache or remote."""
        return legacy_key(self.md5) if self.is_legacy else dvc_files.content_key(self.md5)

    def is_named_by(self, digests: Digests, content: bytes | Path) -> bool:
        """Whether these bytes are the ones that were named."""
        if self.size_bytes not in (None, digests.size_bytes):
            return False
        return digests.md5 == self.md5 or (self.is_legacy and unix_md5(content) == self.md5)


def legacy_key(md5: str) -> str:
    """Where a content lies below a cache or remote of DVC 2."""
    return f"{md5[:2]}/{md5[2:]}"


def unix_md5(content: bytes | Path) -> str:
    """The md5 by which DVC 2 named text: that with Unix line ends."""
    data = bytes_of(content)
    md5 = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(data), LEGACY_PIECE_BYTES):
        md5.update(data[start : start + LEGACY_PIECE_BYTES].replace(b"\r\n", b"\n"))
    return md5.hexdigest()


@dataclass
class DvcContents:
    """The cache first, then the remote."""

    cache: Path
    remote: Remote | None
    access: Mapping[str, Any]
    _damaged: dict[str, str] = field(default_factory=dict)

    def told(self, md5: str) -> str:
        """Why a content could not be had, if not because it is nowhere."""
        return self._damaged.get(md5, "")

    def listing(self, output: dvc_files.Output) -> bytes:
        """A directory's listing. Raises ImportRefused if it is nowhere, or damaged."""
        key = Wanted(output.md5, output.is_legacy, None).key + dvc_files.DIRECTORY
        for folder in self._folders:
            if (folder / key).is_file():
                return self._checked((folder / key).read_bytes(), output)
        if store := self._store:
            try:
                return self._checked(store.get(key), output)
            except NotFound:
                pass
        raise ImportRefused(
            f"The listing {output.md5}{dvc_files.DIRECTORY} of {output.path} is neither in {self.cache} nor in the remote "
            f"({self.remote.url if self.remote else 'none is set'}): run `dvc fetch` first, or name the remote."
        )

    def read(self, wanted: Mapping[str, Wanted]) -> Iterator[tuple[str, Digests, bytes | Path]]:
        """Each content that can be had, by its md5: small ones in memory, large ones as a file.

        One that is damaged is left out, and `told` says so.
        """
        left = dict(wanted)
        for md5, digests, content in self._found(left):
            if left[md5].is_named_by(digests, content):
                del left[md5]
                yield md5, digests, content
            else:
                self._damaged[md5] = " (what lies there has another md5 or size: it is damaged)"

    def _found(self, left: Mapping[str, Wanted]) -> Iterator[tuple[str, Digests, bytes | Path]]:
        for folder in self._folders:
            by_key = {one.key: md5 for md5, one in left.items()}
            for key, digests, content in local_contents(
                folder, list(by_key), lambda sha256, data: Digests(sha256.hex(), md5_of(data), len(data))
            ):
                yield by_key[key], digests, content
        if left and (store := self._store):
            yield from self._fetched(store, dict(left))

    def _fetched(self, store: ObjectStore, left: Mapping[str, Wanted]) -> Iterator[tuple[str, Digests, bytes | Path]]:
        for md5, data in store.get_many(left, key=lambda md5: left[md5].key, max_object_bytes=HELD_BELOW):
            if isinstance(data, bytes):
                yield md5, digests_of_bytes(data), data
            elif isinstance(data, TooLarge):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / md5
                    size = store.head(left[md5].key).size
                    yield md5, spool(store, left[md5].key, None, size, path), path
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
