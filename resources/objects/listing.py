"""Lists objects and folders below a prefix, on any backend."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import LocalStore

from resources.objects import folder_walk
from resources.objects.backends import EXPECTED, S3Access, survives_obstore, translate
from resources.objects.object_info import ObjectInfo, bare


class Listing:
    """Lists an obstore store; on S3, through boto3."""

    def __init__(self, store: Any, s3: S3Access | None) -> None:
        self.store = store
        self.s3 = s3

    def list(self, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        """Objects with this prefix and a key above `start_after`, ascending; on S3 page by page."""
        try:
            yield from self._list_s3(self.s3, prefix, start_after) if self.s3 else self._list_here(prefix, start_after)
        except EXPECTED as error:
            raise translate(error, prefix) from None

    def full(self, key: str) -> str:
        """The key in the bucket."""
        return self.s3.full(key) if self.s3 else key

    def _list_s3(self, s3: S3Access, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        prefix_length = len(self.full(""))
        after = {"StartAfter": self.full(start_after)} if start_after else {}
        paginator = s3.client.get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=s3.bucket, Prefix=self.full(prefix), **after):
            for entry in page.get("Contents", ()):
                key = entry["Key"][prefix_length:]
                yield ObjectInfo(key, entry["Size"], bare(entry.get("ETag")), None, entry["LastModified"])

    def _list_here(self, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        folder = prefix.rpartition("/")[0] or None
        if folder is not None and not survives_obstore(folder):
            return
        for info in sorted(self._all_below(folder), key=lambda info: info.key):
            if info.key.startswith(prefix) and (start_after is None or info.key > start_after):
                yield info

    def _all_below(self, folder: str | None) -> Sequence[ObjectInfo]:
        """All objects below a folder. If one odd name or cyclic link makes obstore's listing fail, the folder is walked."""
        try:
            metas = [meta for page in self.store.list(folder) for meta in page]
        except BaseError:
            root = self._root()
            if root is None:
                raise
            files = folder_walk.files(root, folder or "")
            return [ObjectInfo(file.key, file.size, file.etag, None, file.last_modified) for file in files]
        return [ObjectInfo(m["path"], m["size"], bare(m["e_tag"]), None, m["last_modified"]) for m in metas]

    def _root(self) -> Path | None:
        """The folder behind the store, if it is one."""
        return Path(self.store.prefix) if isinstance(self.store, LocalStore) and self.store.prefix else None

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the direct subfolders of `prefix`, which is empty or ends in a slash."""
        try:
            if self.s3 is None:
                yield from self._folders_here(prefix)
                return
            pages = self.s3.client.get_paginator("list_objects_v2")
            full = self.full(prefix)
            for page in pages.paginate(Bucket=self.s3.bucket, Prefix=full, Delimiter="/"):
                yield from (entry["Prefix"].removeprefix(full).rstrip("/") for entry in page.get("CommonPrefixes", ()))
        except EXPECTED as error:
            raise translate(error, prefix) from None

    def _folders_here(self, prefix: str) -> Sequence[str]:
        try:
            prefixes = self.store.list_with_delimiter(prefix or None)["common_prefixes"]
        except BaseError:
            root = self._root()
            if root is None:
                raise
            return folder_walk.folders(root, prefix.rstrip("/"))
        return sorted(path.rpartition("/")[2] for path in prefixes)
