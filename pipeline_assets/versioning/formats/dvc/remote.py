"""DVC remotes: chosen from a repository's settings or by the user, and opened as a store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.versioning.formats.dvc.dvc_files import Config, remote_text
from resources.objects.store import ObjectStore

AWS = "aws"
"""The name of AWS itself among endpoints."""
NAME = "darkroom"
"""The name of an export's remote, if the repository has none for that place."""


@dataclass(frozen=True)
class Remote:
    """A remote with its name in DVC. url: a path, or s3://bucket/prefix. endpoint: of S3, empty for AWS.

    is_asked_for: the user named it, or its S3 endpoint; else only the repository did, which may be a stranger's.
    """

    name: str
    url: str
    endpoint: str
    is_default: bool
    is_declared: bool
    is_asked_for: bool = True

    @property
    def folder(self) -> Path | None:
        """Its folder; None on S3."""
        return None if "://" in self.url else Path(self.url)

    def open(self, access: Mapping[str, Any]) -> ObjectStore:
        """The store. access: arguments of `ObjectStore.open` for our own S3; another endpoint never gets its keys.

        Raises ImportRefused for a remote that is neither a folder nor S3, and for an S3 that only the repository names.
        """
        if self.folder:
            return ObjectStore.open(self.folder.as_uri())
        if not self.url.startswith("s3://"):
            raise ImportRefused(
                f"The remote {self.url} is neither a folder nor S3: run `dvc fetch`, which fills DVC's cache."
            )
        if not self.is_asked_for:
            endpoint = self.endpoint or AWS
            raise ImportRefused(
                f"The repository names the remote {self.url} on {endpoint}, which would get requests signed with your "
                f"credentials of AWS: if you trust it, say --endpoint {endpoint}, else run `dvc fetch` there."
            )
        if self.endpoint == (access.get("endpoint") or ""):
            return ObjectStore.open(self.url, **access)
        return ObjectStore.open(self.url, endpoint=self.endpoint or None)

    def declare(self, config: Path) -> None:
        """Add it to `.dvc/config`, if it is not there."""
        if self.is_declared:
            return
        text = config.read_text(encoding="utf-8") if config.exists() else ""
        declared = remote_text(self.name, self.url, self.endpoint, is_default=self.is_default and "[core]" not in text)
        if self.is_default and "[core]" in text:
            text = text.replace("[core]", f"[core]\n    remote = {self.name}", 1)
        config.write_text(f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{declared}", encoding="utf-8")


def remote_of(config: Config, url: str, ours: str, endpoint: str | None = None) -> Remote | None:
    """The remote at `url` (a path, file:// or s3://); if it is empty the repository's default one, None without one.

    ours: the endpoint of our own S3. endpoint: the S3 endpoint that the user trusts, `aws` for AWS: of an s3:// URL, by
    default our own. A remote that the repository names is opened if it is a folder, or on one of these endpoints. Only url
    and endpointurl of the repository's settings are used, no credentials, profiles or certificates.
    Raises ExportRefused for a name in use.
    """
    trusted = None if endpoint is None else "" if endpoint == AWS else endpoint.rstrip("/")
    default = config.get("core", "remote")
    if not url:
        default_url = config.remote()
        location = config.endpoint()
        is_known = "://" not in default_url or (bool(location) and location == ours) or location.rstrip("/") == trusted
        return (
            Remote(default, default_url, location, is_default=True, is_declared=True, is_asked_for=is_known)
            if default_url
            else None
        )
    plain = plain_url(url)
    location = (ours if trusted is None else trusted) if plain.startswith("s3://") else ""
    for name in filter(None, (default, NAME)):
        if (config.remote(name), config.endpoint(name)) == (plain, location):
            return Remote(name, plain, location, is_default=name == default, is_declared=True)
    if config.remote(NAME):
        raise ExportRefused(
            f"{config.folder / 'config'} has a remote {NAME} at {config.remote(NAME)}: export there, or rename that remote "
            f"(`dvc remote rename {NAME} OTHER`)."
        )
    return Remote(NAME, plain, location, is_default=not default, is_declared=False)


def plain_url(url: str) -> str:
    """A URL in DVC's form: a folder as an absolute path, S3 without a slash at the end."""
    if url.startswith("file://"):
        return unquote(urlsplit(url).path)
    return url.rstrip("/") if "://" in url else str(Path(url).absolute())
