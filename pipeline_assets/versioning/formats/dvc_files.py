"""DVC's own files: `.dvc` (YAML), directory listings (`.dir`, JSON) and `.dvc/config`. Their text, nothing else."""

import configparser
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline_assets.errors import ImportRefused
from pipeline_assets.versioning.manifest import path_fault

FILES = "files/md5"
"""Below it lie a cache's and a remote's contents, since DVC 3; before, they lay at the top."""
DIRECTORY = ".dir"
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Output:
    """What a `.dvc` file tracks. path: from the repository's top. is_legacy: named by DVC 2, whose md5 of a text file
    is that with Unix line ends.
    """

    path: str
    md5: str
    size_bytes: int | None
    is_directory: bool
    is_legacy: bool
    source: str


def content_key(md5: str) -> str:
    """Where a content lies below the cache or remote."""
    return f"{FILES}/{md5[:2]}/{md5[2:]}"


def directory_json(entries: Iterable[tuple[str, str]]) -> bytes:
    """A directory's listing as DVC writes it: relpath and md5, by relpath."""
    ordered = sorted(entries)
    return json.dumps([{"md5": md5, "relpath": path} for path, md5 in ordered]).encode()


def output_yaml(path: str, md5: str, size_bytes: int, files: int, remote: str = "") -> str:
    """The text of a `.dvc` file that tracks one directory. remote: where its contents lie, if not in the default one."""
    where = {"remote": remote} if remote else {}
    told = {"md5": md5, "size": size_bytes, "nfiles": files, "hash": "md5", "path": path, **where}
    return yaml.safe_dump({"outs": [told]}, sort_keys=False, allow_unicode=True)


def outputs(data: bytes, source: str) -> list[Output]:
    """What a `.dvc` file tracks. source: its path from the repository's top. Raises ImportRefused."""
    try:
        found = yaml.safe_load(data)
        listed = found["outs"]
        folder = PurePosixPath(source).parent / str(found.get("wdir", "."))
        return [_output(out, folder, source) for out in listed]
    except (yaml.YAMLError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())[:200]
        raise ImportRefused(
            f"{source} is no file of DVC's ({type(error).__name__}: {told}): take it from git again."
        ) from None


def _output(out: dict[str, Any], folder: PurePosixPath, source: str) -> Output:
    path = os.path.normpath(folder / str(out["path"]))
    if fault := path_fault(path):
        raise ImportRefused(f"{source} tracks {path[:200]!r}, which can't be part of a data set: {fault}.")
    named = str(out.get("md5", ""))
    md5 = named.removesuffix(DIRECTORY)
    if not _MD5.fullmatch(md5) or out.get("files") or out.get("cloud"):
        raise ImportRefused(
            f"{source} names {path} by no md5 (a cloud's own versions, or another kind of remote): run `dvc pull`, then "
            "pin the folder (`darkroom pin NAME --folder`)."
        )
    if out.get("cache") is False:
        raise ImportRefused(f"{source} keeps {path} out of DVC's cache: pin it as a folder (`darkroom pin NAME --folder`).")
    size = out.get("size")
    if size is not None and not (type(size) is int and size >= 0):
        raise ImportRefused(f"{source} gives {path} the size {size!r}, which is none: take it from git again.")
    return Output(path, md5, size, named.endswith(DIRECTORY), out.get("hash") != "md5", source)


def entries(data: bytes, output: Output) -> list[tuple[str, str]]:
    """A directory's files from its listing: path below it, md5. Raises ImportRefused."""
    source = f"The listing {output.md5}{DIRECTORY} of {output.path}"
    try:
        found = [(entry["relpath"], entry["md5"]) for entry in json.loads(data)]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise ImportRefused(f"{source} is damaged ({type(error).__name__}): fetch it again with `dvc fetch`.") from None
    for path, md5 in found:
        if not isinstance(path, str) or (fault := path_fault(path)):
            told = "it is no text" if not isinstance(path, str) else fault
            raise ImportRefused(f"{source} names the path {str(path)[:200]!r}: {told}. Nothing of it is imported.")
        if not isinstance(md5, str) or not _MD5.fullmatch(md5):
            raise ImportRefused(f"{source} gives {path[:200]!r} the md5 {str(md5)[:60]!r}, which is none.")
    if len({path for path, _ in found}) != len(found):
        raise ImportRefused(f"{source} names a path twice: fetch it again with `dvc fetch`.")
    return found


class Config:
    """`.dvc/config` with `.dvc/config.local` over it. Raises ImportRefused for what can't be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            self._parser.read([folder / "config", folder / "config.local"], encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            told = " ".join(str(error).split())[:200]
            raise ImportRefused(f"{folder / 'config'} can't be read as DVC's settings: {told}") from None

    def get(self, section: str, option: str) -> str:
        """A setting, empty if it is not there."""
        return self._parser.get(section, option, fallback="").strip()

    @property
    def cache(self) -> Path:
        """The local cache."""
        return self.folder / (self.get("cache", "dir") or "cache")

    def remote(self, name: str = "") -> str:
        """The URL or path of a remote, the default one unless named; a path is made absolute. Empty if there is none."""
        url = self.get(_section(name or self.get("core", "remote")), "url")
        return url if "://" in url or not url else str((self.folder / url).resolve())

    def endpoint(self, name: str = "") -> str:
        """Where that remote's S3 is; empty for AWS."""
        return self.get(_section(name or self.get("core", "remote")), "endpointurl")


def remote_text(name: str, url: str, endpoint: str, *, is_default: bool) -> str:
    """The lines of `.dvc/config` that declare a remote, as `dvc remote add` writes them."""
    core = f"[core]\n    remote = {name}\n" if is_default else ""
    where = f"    endpointurl = {endpoint}\n" if endpoint else ""
    return f"{core}[{_section(name)}]\n    url = {url}\n{where}"


def _section(name: str) -> str:
    return f"'remote \"{name}\"'"
