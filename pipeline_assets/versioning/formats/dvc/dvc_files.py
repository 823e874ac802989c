"""Parses and writes DVC's files: `.dvc` and `dvc.lock` (YAML), directory listings (`.dir`, JSON) and `.dvc/config`."""

import configparser
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime import strict_json
from pipeline_assets.versioning.formats.foreign_files import bytes_of
from pipeline_assets.versioning.pin.manifest import path_fault

FILES = "files/md5"
"""Folder of contents in a cache or remote, since DVC 3; before, contents lay at the top."""
DIRECTORY = ".dir"
MAX_YAML_NODES, MAX_YAML_RATIO = 10_000, 10
"""Limits of the values of a YAML text: a fixed number, plus a number per byte."""
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Output:
    """A tracked output. path: from the repository's top. is_legacy: named by DVC 2, whose md5 of a text file is computed
    with Unix line ends. is_locked: an output of a stage, which may lie in git or nowhere.
    """

    path: str
    md5: str
    size_bytes: int | None
    is_directory: bool
    is_legacy: bool
    source: str
    is_locked: bool = False


def content_key(md5: str) -> str:
    """The key of a content in the cache or remote."""
    return f"{FILES}/{md5[:2]}/{md5[2:]}"


def directory_json(entries: Iterable[tuple[str, str]]) -> bytes:
    """A directory's listing in DVC's format: relpath and md5, sorted by relpath."""
    ordered = sorted(entries)
    return json.dumps([{"md5": md5, "relpath": path} for path, md5 in ordered]).encode()


def output_yaml(path: str, md5: str, size_bytes: int, files: int, remote: str = "") -> str:
    """The text of a `.dvc` file that tracks one directory. remote: of its contents, if not the default one."""
    remote_entry = {"remote": remote} if remote else {}
    output = {"md5": md5, "size": size_bytes, "nfiles": files, "hash": "md5", "path": path, **remote_entry}
    return yaml.safe_dump({"outs": [output]}, sort_keys=False, allow_unicode=True)


def outputs(data: bytes, source: str) -> list[Output]:
    """The outputs of a `.dvc` file. source: its path from the repository's top. Raises ImportRefused."""
    try:
        document = _plain_yaml(data)
        entries = document["outs"]
        folder = PurePosixPath(source).parent / str(document.get("wdir", "."))
        return [_output(out, folder, source) for out in entries]
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ImportRefused(f"{source} is no valid DVC file ({_error_text(error)}): restore it from git.") from None


def locked(lock: bytes, pipeline: bytes | None, source: str) -> tuple[list[Output], list[str]]:
    """The outputs of the stages of a `dvc.lock`, including `foreach` and `matrix`; and those left out, with reasons.

    pipeline: the `dvc.yaml` beside it, which has the working folders of stages; DVC ignores stages missing from it.
    source: the lock's path from the repository's top. Raises ImportRefused.
    """
    try:
        document = _plain_yaml(lock) or {}
        stages = dict(document["stages"] if "schema" in document else document)
        declared = dict((_plain_yaml(pipeline or b"") or {}).get("stages") or {})
        wdirs = {name: _wdir(declared.get(name, declared.get(str(name).split("@")[0]))) for name in stages}
        entries = [(name, out) for name, stage in stages.items() for out in stage.get("outs") or ()]
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ImportRefused(f"{source}, or the dvc.yaml beside it, is no valid DVC file ({_error_text(error)}).") from None
    outputs: list[Output] = []
    left_out: list[str] = []
    for name, out in entries:
        wdir = wdirs[name]
        path = out.get("path") if isinstance(out, dict) else out
        if wdir is None or "${" in wdir:
            reason = "is not in dvc.yaml" if wdir is None else f"works in {wdir}, which is filled in when it runs"
            left_out.append(f"{path} of {source}: its stage {name} {reason}")
            continue
        try:
            output = _output(out, PurePosixPath(source).parent / wdir, source)
            outputs.append(replace(output, is_locked=True))
        except (ImportRefused, KeyError, TypeError, AttributeError) as error:
            left_out.append(f"{path} of {source}: {_error_text(error)}")
    return outputs, left_out


def _plain_yaml(data: bytes) -> Any:
    """Parse YAML. Raises YAMLError if aliases and merges expand to far more or deeper values than the text has."""
    loader = yaml.SafeLoader(data)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        nodes, depth = _extent(node, {})
        if nodes > MAX_YAML_NODES + MAX_YAML_RATIO * len(data) or depth > strict_json.MAX_DEPTH:
            raise yaml.YAMLError("its aliases repeat too much, or it is nested too deeply")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _extent(node: yaml.Node, extents: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """The number of values of a node with aliases expanded, and its depth; both infinite if it contains itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1, 0
    if id(node) not in extents:
        extents[id(node)] = math.inf, math.inf
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = [_extent(part, extents) for part in parts]
        extents[id(node)] = 1 + sum(nodes for nodes, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    return extents[id(node)]


def _wdir(stage: Any) -> str | None:
    """The working folder of a stage of `dvc.yaml`; None if there is no such stage."""
    if stage is None:
        return None
    return str(stage.get("do", stage).get("wdir", "."))


def _error_text(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ImportRefused) else f"{type(error).__name__}: {text}"


def _output(out: dict[str, Any], folder: PurePosixPath, source: str) -> Output:
    path = os.path.normpath(folder / str(out["path"]))
    if fault := path_fault(path):
        raise ImportRefused(f"{source} tracks {path[:200]!r}, which can't be part of a data set: {fault}.")
    name = str(out.get("md5", ""))
    md5 = name.removesuffix(DIRECTORY)
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
    return Output(path, md5, size, name.endswith(DIRECTORY), out.get("hash") != "md5", source)


def entries(data: bytes, output: Output) -> list[tuple[str, str]]:
    """A directory's files from its listing: path below it, md5. Raises ImportRefused."""
    source = f"The listing {output.md5}{DIRECTORY} of {output.path}"
    try:
        files = [(entry["relpath"], entry["md5"]) for entry in strict_json.loads(data)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImportRefused(f"{source} is damaged ({type(error).__name__}): fetch it again with `dvc fetch`.") from None
    for path, md5 in files:
        if not isinstance(path, str) or (fault := path_fault(path)):
            reason = "it is no text" if not isinstance(path, str) else fault
            raise ImportRefused(f"{source} names the path {str(path)[:200]!r}: {reason}. Nothing of it is imported.")
        if not isinstance(md5, str) or not _MD5.fullmatch(md5):
            raise ImportRefused(f"{source} gives {path[:200]!r} the md5 {str(md5)[:60]!r}, which is none.")
    if len({path for path, _ in files}) != len(files):
        raise ImportRefused(f"{source} names a path twice: fetch it again with `dvc fetch`.")
    return files


class Config:
    """`.dvc/config`, overridden by `.dvc/config.local`. Raises ImportRefused if they can't be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            for name in ("config", "config.local"):
                text = bytes_of(folder.parent, f"{folder.name}/{name}") or b""
                self._parser.read_string(text.decode("utf-8"), name)
        except (configparser.Error, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ImportRefused(f"{folder / 'config'} can't be read as DVC's settings: {reason}") from None

    def get(self, section: str, option: str) -> str:
        """A setting, empty if it is not set."""
        return self._parser.get(section, option, fallback="").strip()

    @property
    def cache(self) -> Path:
        """The local cache."""
        return self.folder / (self.get("cache", "dir") or "cache")

    def remote(self, name: str = "") -> str:
        """The URL or absolute path of a remote, by default the default one. Empty if there is none."""
        url = self.get(_section(name or self.get("core", "remote")), "url")
        return url if "://" in url or not url else str((self.folder / url).resolve())

    def endpoint(self, name: str = "") -> str:
        """The S3 endpoint of that remote; empty for AWS."""
        return self.get(_section(name or self.get("core", "remote")), "endpointurl")


def remote_text(name: str, url: str, endpoint: str, *, is_default: bool) -> str:
    """The lines of `.dvc/config` that declare a remote, as `dvc remote add` writes them."""
    core = f"[core]\n    remote = {name}\n" if is_default else ""
    endpoint_line = f"    endpointurl = {endpoint}\n" if endpoint else ""
    return f"{core}[{_section(name)}]\n    url = {url}\n{endpoint_line}"


def _section(name: str) -> str:
    return f"'remote \"{name}\"'"
