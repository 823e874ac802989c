"""The steps of a checkout that take time: rows, contents from the cache, contents from the stores, large ones in ranges."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from pipeline_assets.cores import ahead
from pipeline_assets.errors import CheckoutIncomplete
from pipeline_assets.progress import track
from pipeline_assets.versioning.checkout_plan import NAMED, Plan
from pipeline_assets.versioning.checkout_state import Stamp
from pipeline_assets.versioning.content_cache import ContentCache
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.fetching import RANGE_BYTES, ranges, read_large
from pipeline_assets.versioning.placing import HELD_BELOW, Content, Placer, link_for
from pipeline_assets.versioning.selection import Selection, fitting
from pipeline_assets.versioning.target import Target
from pipeline_assets.versioning.uncached import Uncached, past_cache
from resources.errors import NoSpace, ObjectError

T = TypeVar("T")

PLACERS = 4
CONTENTS_A_TASK = 128
BYTES_A_TASK = 4 * 1024**2
IS_ROWS = pl.col("made_from").is_not_null()


@dataclass
class Report:
    """What a checkout did. link: how files share blocks with the cache; damaged: entries of it that were replaced.

    left: files that a checkout wrote, that are wanted no more, and that stay since someone has changed them.
    """

    written: int = 0
    written_bytes: int = 0
    from_cache: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    kept: int = 0
    removed: int = 0
    left: tuple[str, ...] = ()
    damaged: int = 0
    rows: str | None = None
    link: str = "copy"
    faults: list[tuple[str, ObjectError]] = field(default_factory=list)


class Work:
    """One checkout's. `run` gives the files that have come to be, a few at a time, to be written down."""

    def __init__(
        self, target: Target, pinned: Pinned, cache: ContentCache | None, link: str, tell: Callable[[str], object]
    ) -> None:
        self._target, self._pinned, self._cache, self._tell = target, pinned, cache, tell
        found = link_for(link, target, cache)
        self._report = Report(link=found)
        self._placer = Placer(target, cache, found)
        self._rows_part = ""

    def with_rows(self, todo: Plan, selection: Selection, where: str | None) -> Plan:
        """The plan with the rows written into `parts`, if they are to be put: their sha256 is known then."""
        if selection.rows is None or todo.put.filter(IS_ROWS).is_empty():
            return todo
        self._rows_part = self._target.new_part()
        path = self._target.parts_path / self._rows_part
        with self._pinned.lake.reached(), fitting(where):
            selection.rows.sink_parquet(path, compression="zstd", engine="streaming")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").digest()
        put = todo.put.with_columns(
            sha256=pl.when(IS_ROWS).then(pl.lit(sha256)).otherwise("sha256"),
            size_bytes=pl.when(IS_ROWS).then(pl.lit(path.stat().st_size)).otherwise("size_bytes"),
        )
        return Plan(todo.keep, put, todo.remove, todo.left)

    def run(self, todo: Plan) -> Iterator[list[Stamp]]:
        """Put everything where it belongs. Files that can't be got are kept for `report`."""
        contents = _contents(todo.put.filter(~IS_ROWS))
        if self._report.link == "copy":
            self._require(int(todo.put["size_bytes"].sum()))
        with ThreadPoolExecutor(PLACERS, "place") as pool:
            yield from self._contents(pool, contents)
        for row in todo.put.filter(IS_ROWS).iter_rows(named=True):
            yield self._written(row, self._placer.rows(self._rows_part, row["path"], replace=row["replace"]))

    def report(self, todo: Plan, rows: str | None) -> Report:
        """What was done. Raises CheckoutIncomplete if anything is missing."""
        found = self._report
        found.kept, found.removed, found.left, found.rows = todo.keep.height, len(todo.remove), todo.left, rows
        found.damaged = self._cache.damaged if self._cache else 0
        if found.faults:
            told = " ".join(f"{path}: {error}" for path, error in found.faults[:NAMED])
            raise CheckoutIncomplete(
                f"{len(found.faults):,} of {todo.put.height:,} files could not be got; all others are in place. {told} "
                "Mend the store (`darkroom verify` lists all that is wrong), then check out again: it goes on from here."
            )
        return found

    def _contents(self, pool: ThreadPoolExecutor, contents: pl.DataFrame) -> Iterator[list[Stamp]]:
        missed = []
        for content, stamps in self._told(self._cached(pool, contents), contents, "from the cache"):
            if stamps is None:
                missed.append(content["sha256"])
                continue
            self._report.from_cache += 1
            yield self._written(content, stamps)
        absent = contents.filter(pl.col("sha256").is_in(pl.Series(missed, dtype=pl.Binary).implode()))
        self._require(int(absent["size_bytes"].sum()))
        is_small = pl.col("size_bytes") < HELD_BELOW
        small, large = absent.filter(is_small), absent.filter(~is_small)
        yield from self._told(self._small(pool, small), small, "fetch")
        total = sum(map(ranges, large["size_bytes"]))
        yield from track(self._large(large), total, "fetch large files", "ranges of 8 MB", self._tell)

    def _told(self, steps: Iterable[T], contents: pl.DataFrame, what: str) -> Iterator[T]:
        return track(steps, contents.height, what, "contents", self._tell)

    def _cached(self, pool: ThreadPoolExecutor, contents: pl.DataFrame) -> Iterator[tuple[Content, list[Stamp] | None]]:
        if self._cache is None:
            yield from ((content, None) for content in contents.iter_rows(named=True))
            return
        tasks = (part.rows(named=True) for part in contents.iter_slices(CONTENTS_A_TASK))
        for found in ahead(pool, self._placer.from_cache, tasks, 2 * PLACERS):
            yield from found

    def _small(self, pool: ThreadPoolExecutor, contents: pl.DataFrame) -> Iterator[list[Stamp]]:
        for placed in ahead(pool, self._placer.from_data, _tasks(self._got(contents)), PLACERS):
            for content, stamps in placed:
                self._report.fetched += 1
                self._report.fetched_bytes += content["size_bytes"]
                yield self._written(content, stamps)

    def _got(self, contents: pl.DataFrame) -> Iterator[tuple[Content, bytes]]:
        for content, data in self._pinned.read(contents):
            if isinstance(data, bytes):
                yield content, data
            else:
                self._fault(content, data)

    def _large(self, contents: pl.DataFrame) -> Iterator[list[Stamp]]:
        """Nothing for each range, and a file's stamps with its last one."""
        parts: dict[bytes, tuple[str, int]] = {}
        uncached = Uncached(RANGE_BYTES)

        def begin(content: Content) -> None:
            part, descriptor = self._target.new_part_opened(self._placer.part_mode)
            parts[content["sha256"]] = part, past_cache(descriptor)

        def write(content: Content, at: int, data: memoryview) -> None:
            uncached.write(parts[content["sha256"]][1], at, data)

        try:
            for content, outcome in read_large(self._pinned.stores, contents.iter_rows(named=True), begin, write):
                if outcome is False:
                    yield []
                    continue
                part, descriptor = parts.pop(content["sha256"])
                os.ftruncate(descriptor, content["size_bytes"])
                os.close(descriptor)
                if outcome is True:
                    self._report.fetched += 1
                    self._report.fetched_bytes += content["size_bytes"]
                    yield self._written(content, self._placer.from_part(content, part))
                else:
                    os.unlink(part, dir_fd=self._target.parts)
                    self._fault(content, outcome)
                    yield []
        finally:
            for _, descriptor in parts.values():
                os.close(descriptor)

    def _written(self, content: Content, stamps: list[Stamp]) -> list[Stamp]:
        self._report.written += len(stamps)
        self._report.written_bytes += len(stamps) * int(content["size_bytes"])
        return stamps

    def _fault(self, content: Content, error: ObjectError) -> None:
        self._report.faults.extend((path, error) for path in content["paths"])

    def _require(self, needed_bytes: int) -> None:
        free = self._target.free_bytes
        if needed_bytes > free:
            raise NoSpace(
                f"{self._target.folder} needs {needed_bytes / 1e9:.2f} GB and has {free / 1e9:.2f} GB: free some, choose "
                "another disk, or fewer files by --where. What is there is kept and not fetched again."
            )


def _contents(put: pl.DataFrame) -> pl.DataFrame:
    """Each content once, with the paths that it goes to, in the order of the first."""
    return put.group_by("sha256", maintain_order=True).agg(
        pl.col("size_bytes", "store", "key", "version_id", "offset").first(), paths="path", replaces="replace"
    )


def _tasks(items: Iterable[tuple[Content, bytes]]) -> Iterator[list[tuple[Content, bytes]]]:
    """Contents in tasks that are worth a thread's turn, and small enough to hold."""
    task: list[tuple[Content, bytes]] = []
    held = 0
    for content, data in items:
        task.append((content, data))
        held += len(data)
        if len(task) >= CONTENTS_A_TASK or held >= BYTES_A_TASK:
            yield task
            task, held = [], 0
    if task:
        yield task
