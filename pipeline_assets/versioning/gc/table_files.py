"""The data files of a Delta table over its whole log, each with its first and last version. Removes nothing.

Loading each version by itself would read the log once per version; here it is read once.
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from urllib.parse import unquote

import polars as pl

from pipeline_assets.errors import CleanUpRefused
from resources.lake.erasing import list_of
from resources.lake.lake import Lake
from resources.objects.removal import Stored
from resources.objects.store import ObjectInfo, ObjectStore

LOG = "_delta_log/"
FOREVER = 2**63 - 1


@dataclass(frozen=True)
class DataFile:
    """A file of the versions from `added` until before `removed`. path: below the table; day: ISO 8601."""

    path: str
    day: str
    added: int
    removed: int = FOREVER


@dataclass
class TableFiles:
    """The content of a table's log. committed_at: of each readable version, ascending, by the store's clock."""

    name: str
    committed_at: dict[int, datetime] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    files: list[DataFile] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """The version that readers see."""
        return max(self.committed_at)

    def since(self, moment: datetime) -> list[int]:
        """Versions that were the newest at some time since `moment`: readers or pins may use them."""
        first = max((version for version, at in self.committed_at.items() if at <= moment), default=-1)
        return [version for version in self.committed_at if version >= first]

    def needed(self, versions: Collection[int], days: Mapping[int, Collection[date]]) -> set[str]:
        """Paths of the files of whole versions, and of single days of others: {version: days}."""
        whole_versions = sorted(versions)
        by_day: dict[str, list[int]] = {}
        for version, needed_days in sorted(days.items()):
            for day in needed_days:
                by_day.setdefault(day.isoformat(), []).append(version)
        return {
            file.path
            for file in self.files
            if _meets(file, whole_versions) or (file.day and _meets(file, by_day.get(file.day, ())))
        }

    def spans(self, paths: Collection[str]) -> Iterator[tuple[str, int, int]]:
        """(day, first version, first version after) of these files."""
        return ((file.day, file.added, min(file.removed, self.newest + 1)) for file in self.files if file.path in paths)


def _meets(file: DataFile, versions: Sequence[int]) -> bool:
    at = bisect_left(versions, file.added)
    return at < len(versions) and versions[at] < file.removed


def read_log(name: str, log: Iterable[Stored], store: ObjectStore, lake: Lake) -> TableFiles:
    """Read a table's log. log: the objects in its `_delta_log/`; store: the lake's.

    Raises CleanUpRefused for a log with a gap, with files outside the table, or in which rows are being erased.
    """
    if store.exists(list_of(name)):
        raise CleanUpRefused(
            f"Rows are being erased from all versions of {name}, or were when a process was killed: let the erasure end, or "
            "run it again. Nothing was deleted."
        )
    current = [item for item in log if item.is_latest and not item.is_marker]
    commits = {version: item for item in current if (version := _version(item.key)) is not None}
    first = _first_complete(name, set(commits))
    table = TableFiles(name, {version: commits[version].last_modified for version in sorted(commits) if version >= first})
    open_files: dict[str, DataFile] = {}
    if first > 0:
        open_files = {file.path: file for file in _files_at(table, first, lake)}
    entries = [commits[version] for version in table.committed_at if version > first or first == 0]
    for version, text in _texts(entries, store):
        _replay(table, version, text, open_files)
    table.files += open_files.values()
    return table


def _version(key: str) -> int | None:
    stem, _, kind = key.rpartition("/")[2].partition(".")
    return int(stem) if kind == "json" and stem.isdigit() else None


def _first_complete(name: str, versions: set[int]) -> int:
    """The first version of a gapless log. Raises CleanUpRefused for no versions or a gap."""
    if not versions or len(versions) != max(versions) - min(versions) + 1:
        raise CleanUpRefused(
            f"The log of the table {name} has no commits or a gap, so the files it needs are unknown: restore "
            f"tables/{name}/{LOG} from a backup. Nothing was deleted."
        )
    return min(versions)


def _files_at(table: TableFiles, version: int, lake: Lake) -> Iterator[DataFile]:
    """The files and columns of the first version, whose earlier log no longer exists."""
    delta = lake.table(table.name, version)
    table.columns |= {column.name for column in delta.schema().fields}
    rows = pl.DataFrame(delta.get_add_actions(flatten=True))
    for path, day in rows.select("path", "partition.day").iter_rows():
        yield DataFile(_inside(table.name, path), str(day or ""), version)


def _texts(commits: Sequence[Stored], store: ObjectStore) -> list[tuple[int, bytes]]:
    """Each commit's text, ascending by version."""
    infos = [ObjectInfo(item.key, item.size, item.etag, None, item.last_modified) for item in commits]
    texts: dict[int, bytes] = {}
    for info, data in store.get_many(infos, key=lambda info: info.key):
        if not isinstance(data, bytes):
            raise data
        version = _version(info.key)
        assert version is not None  # noqa: S101  commits are chosen by it
        texts[version] = data
    return sorted(texts.items())


def _replay(table: TableFiles, version: int, text: bytes, open_files: dict[str, DataFile]) -> None:
    try:
        actions = [dict(json.loads(line)) for line in text.splitlines() if line.strip()]
    except (ValueError, TypeError, RecursionError) as error:
        raise CleanUpRefused(
            f"Version {version} of the table {table.name} has a log entry that is damaged ({error!s:.100}): restore "
            f"tables/{table.name}/{LOG} from a backup. Nothing was deleted."
        ) from None
    for removed in (action["remove"] for action in actions if "remove" in action):
        file = open_files.pop(_inside(table.name, removed["path"]), None)
        if file is not None:
            table.files.append(DataFile(file.path, file.day, file.added, version))
    for action in actions:
        if "add" in action:
            path = _inside(table.name, action["add"]["path"])
            day = (action["add"].get("partitionValues") or {}).get("day") or ""
            open_files[path] = DataFile(path, day, version)
        elif "metaData" in action:
            schema = json.loads(action["metaData"]["schemaString"])
            table.columns |= {column["name"] for column in schema["fields"]}


def _inside(name: str, path: str) -> str:
    plain = unquote(path)
    if "://" in plain or plain.startswith("/") or ".." in plain.split("/"):
        raise CleanUpRefused(
            f"The table {name} uses {plain}, a file of another table (a shallow clone?): nothing was deleted."
        )
    return plain
