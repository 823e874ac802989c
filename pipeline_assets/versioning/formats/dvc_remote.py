"""Where DVC keeps contents: the remote of a repository, chosen from its settings or by the user, opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.versioning.formats.dvc_files import Config, remote_text
from resources.object_store import ObjectStore

NAME = "darkroom"
"""What the remote of an export is called, if the repository has none for that place."""


@dataclass(frozen=True)
class Remote:
    """A remote by what DVC calls it. url: a path, or s3://bucket/prefix. endpoint: of S3, empty for AWS."""

    name: str
    url: str
    endpoint: str
    is_default: bool
    is_declared: bool

    @property
    def folder(self) -> Path | None:
        """The folder that it is; None on S3."""
        return None if "://" in self.url else Path(self.url)

    def open(self, access: Mapping[str, Any]) -> ObjectStore:
        """The store. access: what `ObjectStore.open` needs for our own S3; another endpoint never gets its keys.

        Raises ImportRefused for a remote that is neither a folder nor S3.
        """
        if self.folder:
            return ObjectStore.open(self.folder.as_uri())
        if not self.url.startswith("s3://"):
            raise ImportRefused(
                f"The remote {self.url} is neither a folder nor S3: run `dvc fetch`, which fills DVC's cache."
            )
        if self.endpoint == (access.get("endpoint") or ""):
            return ObjectStore.open(self.url, **access)
        return ObjectStore.open(self.url, endpoint=self.endpoint or None)

    def declare(self, config: Path) -> None:
        """See that `.dvc/config` has it."""
        if self.is_declared:
            return
        text = config.read_text(encoding="utf-8") if config.exists() else ""
        declared = remote_text(self.name, self.url, self.endpoint, is_default=self.is_default and "[core]" not in text)
        if self.is_default and "[core]" in text:
            text = text.replace("[core]", f"[core]\n    remote = {self.name}", 1)
        config.write_text(f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{declared}", encoding="utf-8")


def remote_of(config: Config, url: str, endpoint: str) -> Remote | None:
    """The remote at `url` (a path, file:// or s3://); the repository's default one if it is empty, None if it has none.

    endpoint: of our own S3, which an s3:// URL given here is taken to lie on. Raises ExportRefused for a name in use.
    """
    default = config.get("core", "remote")
    if not url:
        found = config.remote()
        return Remote(default, found, config.endpoint(), is_default=True, is_declared=True) if found else None
    plain = plain_url(url)
    where = endpoint if plain.startswith("s3://") else ""
    for name in filter(None, (default, NAME)):
        if (config.remote(name), config.endpoint(name)) == (plain, where):
            return Remote(name, plain, where, is_default=name == default, is_declared=True)
    if config.remote(NAME):
        raise ExportRefused(
            f"{config.folder / 'config'} has a remote {NAME} at {config.remote(NAME)}: export there, or rename that remote "
            f"(`dvc remote rename {NAME} OTHER`)."
        )
    return Remote(NAME, plain, where, is_default=not default, is_declared=False)


def plain_url(url: str) -> str:
    """A URL as DVC wants it: a folder as an absolute path, S3 without a slash at the end."""
    if url.startswith("file://"):
        return unquote(urlsplit(url).path)
    return url.rstrip("/") if "://" in url else str(Path(url).absolute())
