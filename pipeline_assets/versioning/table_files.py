"""A Delta table's data files over its whole log: from which version to which each belongs to it. Nothing is removed here.

Loading each version by itself would read the log once a version; here it is read once.
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from urllib.parse import unquote

import polars as pl

from pipeline_assets.errors import CleanUpRefused
from resources.lake import Lake
from resources.object_store import ObjectInfo, ObjectStore
from resources.removal import Stored

LOG = "_delta_log/"
FOREVER = 2**63 - 1


@dataclass(frozen=True)
class DataFile:
    """A file and the versions to which it belongs: from `added` to before `removed`. path: below the table; day: ISO."""

    path: str
    day: str
    added: int
    removed: int = FOREVER


@dataclass
class TableFiles:
    """All that a table's log says. committed_at: of each version that can still be read, ascending, by the store's clock."""

    name: str
    committed_at: dict[int, datetime] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    files: list[DataFile] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """The version that readers see."""
        return max(self.committed_at)

    def since(self, moment: datetime) -> list[int]:
        """Versions that were the newest at some time from `moment` on: a reader or a pin may be at work on them."""
        first = max((version for version, at in self.committed_at.items() if at <= moment), default=-1)
        return [version for version in self.committed_at if version >= first]

    def needed(self, versions: Collection[int], days: Mapping[int, Collection[date]]) -> set[str]:
        """Paths of the files of these versions, and of those of some days of others: {version: days}."""
        whole = sorted(versions)
        by_day: dict[str, list[int]] = {}
        for version, wanted in sorted(days.items()):
            for day in wanted:
                by_day.setdefault(day.isoformat(), []).append(version)
        return {
            file.path for file in self.files if _meets(file, whole) or (file.day and _meets(file, by_day.get(file.day, ())))
        }

    def spans(self, paths: Collection[str]) -> Iterator[tuple[str, int, int]]:
        """(day, first version, first version after) of these files."""
        return ((file.day, file.added, min(file.removed, self.newest + 1)) for file in self.files if file.path in paths)


def _meets(file: DataFile, versions: Sequence[int]) -> bool:
    at = bisect_left(versions, file.added)
    return at < len(versions) and versions[at] < file.removed


def read_log(name: str, log: Iterable[Stored], store: ObjectStore, lake: Lake) -> TableFiles:
    """Read a table's log. log: what lies in its `_delta_log/`; store: the lake's.

    Raises CleanUpRefused for a log with a gap or with files outside the table, of which nothing can be said.
    """
    current = [item for item in log if item.is_latest and not item.is_marker]
    commits = {version: item for item in current if (version := _version(item.key)) is not None}
    first = _first_whole(name, set(commits))
    found = TableFiles(name, {version: commits[version].last_modified for version in sorted(commits) if version >= first})
    open_files: dict[str, DataFile] = {}
    if first > 0:
        open_files = {file.path: file for file in _standing(found, first, lake)}
    wanted = [commits[version] for version in found.committed_at if version > first or first == 0]
    for version, text in _texts(wanted, store):
        _replay(found, version, text, open_files)
    found.files += open_files.values()
    return found


def _version(key: str) -> int | None:
    stem, _, kind = key.rpartition("/")[2].partition(".")
    return int(stem) if kind == "json" and stem.isdigit() else None


def _first_whole(name: str, versions: set[int]) -> int:
    """The first of the versions that follow each other up to the newest. Raises CleanUpRefused if there is none or a gap."""
    if not versions or len(versions) != max(versions) - min(versions) + 1:
        raise CleanUpRefused(
            f"The log of the table {name} has no commits or a gap, so it can't be told which files it needs: restore "
            f"tables/{name}/{LOG} from a backup. Nothing was deleted."
        )
    return min(versions)


def _standing(found: TableFiles, version: int, lake: Lake) -> Iterator[DataFile]:
    """The files and columns of a version from before which the log is gone."""
    table = lake.table(found.name, version)
    found.columns |= {column.name for column in table.schema().fields}
    rows = pl.DataFrame(table.get_add_actions(flatten=True))
    for path, day in rows.select("path", "partition.day").iter_rows():
        yield DataFile(_inside(found.name, path), str(day or ""), version)


def _texts(commits: Sequence[Stored], store: ObjectStore) -> list[tuple[int, bytes]]:
    """Each commit's text, by ascending version."""
    infos = [ObjectInfo(item.key, item.size, item.etag, None, item.last_modified) for item in commits]
    found: dict[int, bytes] = {}
    for info, data in store.get_many(infos, key=lambda info: info.key):
        if not isinstance(data, bytes):
            raise data
        version = _version(info.key)
        assert version is not None  # noqa: S101  commits are chosen by it
        found[version] = data
    return sorted(found.items())


def _replay(found: TableFiles, version: int, text: bytes, open_files: dict[str, DataFile]) -> None:
    actions = [json.loads(line) for line in text.splitlines() if line.strip()]
    for removed in (action["remove"] for action in actions if "remove" in action):
        file = open_files.pop(_inside(found.name, removed["path"]), None)
        if file is not None:
            found.files.append(DataFile(file.path, file.day, file.added, version))
    for action in actions:
        if "add" in action:
            path = _inside(found.name, action["add"]["path"])
            day = (action["add"].get("partitionValues") or {}).get("day") or ""
            open_files[path] = DataFile(path, day, version)
        elif "metaData" in action:
            schema = json.loads(action["metaData"]["schemaString"])
            found.columns |= {column["name"] for column in schema["fields"]}


def _inside(name: str, path: str) -> str:
    plain = unquote(path)
    if "://" in plain or plain.startswith("/"):
        raise CleanUpRefused(
            f"The table {name} uses {plain}, a file of another table (a shallow clone?): nothing was deleted."
        )
    return plain
