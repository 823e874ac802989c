"""The slow steps of a checkout: rows, contents from the cache, contents from the stores, large ones in ranges."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from pipeline_assets.errors import CheckoutIncomplete
from pipeline_assets.runtime.cores import ahead
from pipeline_assets.runtime.progress import track
from pipeline_assets.versioning.checkout.content_cache import ContentCache
from pipeline_assets.versioning.checkout.fetching import RANGE_BYTES, ranges, read_large
from pipeline_assets.versioning.checkout.placement import IN_MEMORY_BELOW, Content, Placer, link_for
from pipeline_assets.versioning.checkout.plan import MAX_NAMED, Plan
from pipeline_assets.versioning.checkout.selection import Selection
from pipeline_assets.versioning.checkout.state import Stamp
from pipeline_assets.versioning.checkout.target import Target
from pipeline_assets.versioning.checkout.uncached import Uncached, past_cache
from pipeline_assets.versioning.pin.condition import condition_errors
from pipeline_assets.versioning.pin.contents import Pinned
from resources.errors import NoSpace, ObjectError
from resources.files import sha256_of

T = TypeVar("T")

PLACING_THREADS = 4
CONTENTS_A_TASK = 128
BYTES_A_TASK = 4 * 1024**2
IS_ROWS = pl.col("made_from").is_not_null()


@dataclass
class Report:
    """The result of a checkout. link: how files share blocks with the cache; damaged: cache entries that were replaced.

    left: files of earlier checkouts that are no longer selected and stay, since someone changed them.
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
    """The work of one checkout. `run` yields the stamps of written files, a few at a time, for the journal."""

    def __init__(
        self, target: Target, pinned: Pinned, cache: ContentCache | None, link: str, tell: Callable[[str], object]
    ) -> None:
        self._target, self._pinned, self._cache, self._tell = target, pinned, cache, tell
        link_kind = link_for(link, target, cache)
        self._report = Report(link=link_kind)
        self._placer = Placer(target, cache, link_kind)
        self._rows_part = ""

    def with_rows(self, steps: Plan, selection: Selection, where: str | None) -> Plan:
        """Write the rows of the plan into `parts`, if it has any; the plan with their sha256."""
        if selection.rows is None or steps.put.filter(IS_ROWS).is_empty():
            return steps
        self._rows_part = self._target.new_part()
        path = self._target.parts_path / self._rows_part
        with self._pinned.lake.reached(), condition_errors(where):
            selection.rows.sink_parquet(path, compression="zstd", engine="streaming")
        sha256 = bytes.fromhex(sha256_of(path))
        put = steps.put.with_columns(
            sha256=pl.when(IS_ROWS).then(pl.lit(sha256)).otherwise("sha256"),
            size_bytes=pl.when(IS_ROWS).then(pl.lit(path.stat().st_size)).otherwise("size_bytes"),
        )
        return Plan(steps.keep, put, steps.remove, steps.left)

    def run(self, steps: Plan) -> Iterator[list[Stamp]]:
        """Place all files. Those that can't be fetched are kept for `report`."""
        contents = _contents(steps.put.filter(~IS_ROWS))
        if self._report.link == "copy":
            self._require(int(steps.put["size_bytes"].sum()))
        with ThreadPoolExecutor(PLACING_THREADS, "place") as pool:
            yield from self._contents(pool, contents)
        for row in steps.put.filter(IS_ROWS).iter_rows(named=True):
            yield self._count(row, self._placer.rows(self._rows_part, row["path"], replace=row["replace"]))

    def report(self, steps: Plan, rows: str | None) -> Report:
        """The result. Raises CheckoutIncomplete if files are missing."""
        report = self._report
        report.kept, report.removed, report.left, report.rows = steps.keep.height, len(steps.remove), steps.left, rows
        report.damaged = self._cache.damaged if self._cache else 0
        if report.faults:
            details = " ".join(f"{path}: {error}" for path, error in report.faults[:MAX_NAMED])
            raise CheckoutIncomplete(
                f"{len(report.faults):,} of {steps.put.height:,} files could not be fetched; all others are in place. "
                f"{details} Repair the store (`darkroom verify` lists all faults), then check out again: it continues from "
                "here."
            )
        return report

    def _contents(self, pool: ThreadPoolExecutor, contents: pl.DataFrame) -> Iterator[list[Stamp]]:
        missed = []
        for content, stamps in self._track(self._cached(pool, contents), contents, "from the cache"):
            if stamps is None:
                missed.append(content["sha256"])
                continue
            self._report.from_cache += 1
            yield self._count(content, stamps)
        uncached = contents.filter(pl.col("sha256").is_in(pl.Series(missed, dtype=pl.Binary).implode()))
        self._require(int(uncached["size_bytes"].sum()))
        is_small = pl.col("size_bytes") < IN_MEMORY_BELOW
        small, large = uncached.filter(is_small), uncached.filter(~is_small)
        yield from self._track(self._small(pool, small), small, "fetch")
        total = sum(map(ranges, large["size_bytes"]))
        yield from track(self._large(large), total, "fetch large files", "ranges of 8 MB", self._tell)

    def _track(self, steps: Iterable[T], contents: pl.DataFrame, label: str) -> Iterator[T]:
        return track(steps, contents.height, label, "contents", self._tell)

    def _cached(self, pool: ThreadPoolExecutor, contents: pl.DataFrame) -> Iterator[tuple[Content, list[Stamp] | None]]:
        if self._cache is None:
            yield from ((content, None) for content in contents.iter_rows(named=True))
            return
        tasks = (part.rows(named=True) for part in contents.iter_slices(CONTENTS_A_TASK))
        for placed in ahead(pool, self._placer.from_cache, tasks, 2 * PLACING_THREADS):
            yield from placed

    def _small(self, pool: ThreadPoolExecutor, contents: pl.DataFrame) -> Iterator[list[Stamp]]:
        for placed in ahead(pool, self._placer.from_data, _tasks(self._fetched(contents)), PLACING_THREADS):
            for content, stamps in placed:
                self._report.fetched += 1
                self._report.fetched_bytes += content["size_bytes"]
                yield self._count(content, stamps)

    def _fetched(self, contents: pl.DataFrame) -> Iterator[tuple[Content, bytes]]:
        for content, data in self._pinned.read(contents):
            if isinstance(data, bytes):
                yield content, data
            else:
                self._fault(content, data)

    def _large(self, contents: pl.DataFrame) -> Iterator[list[Stamp]]:
        """Read large contents: no stamps for each range, and a file's stamps with its last range."""
        parts: dict[bytes, tuple[str, int]] = {}
        uncached = Uncached(RANGE_BYTES)

        def begin(content: Content) -> None:
            part, descriptor = self._target.new_part_opened(self._placer.part_mode)
            parts[content["sha256"]] = part, past_cache(descriptor)

        def write(content: Content, at: int, data: memoryview) -> None:
            uncached.write(parts[content["sha256"]][1], at, data)

        try:
            rows, others = contents.iter_rows(named=True), self._pinned.others_of
            for content, outcome in read_large(self._pinned.stores, rows, begin, write, others):
                if outcome is False:
                    yield []
                    continue
                part, descriptor = parts.pop(content["sha256"])
                os.ftruncate(descriptor, content["size_bytes"])
                os.close(descriptor)
                if outcome is True:
                    self._report.fetched += 1
                    self._report.fetched_bytes += content["size_bytes"]
                    yield self._count(content, self._placer.from_part(content, part))
                else:
                    os.unlink(part, dir_fd=self._target.parts)
                    self._fault(content, outcome)
                    yield []
        finally:
            for _, descriptor in parts.values():
                os.close(descriptor)

    def _count(self, content: Content, stamps: list[Stamp]) -> list[Stamp]:
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
                "another disk, or fewer files with --where. Fetched files are kept and not fetched again."
            )


def _contents(put: pl.DataFrame) -> pl.DataFrame:
    """Each content once, with its destination paths, in the order of the first."""
    return put.group_by("sha256", maintain_order=True).agg(
        pl.col("size_bytes", "store", "key", "version_id", "offset").first(), paths="path", replaces="replace"
    )


def _tasks(items: Iterable[tuple[Content, bytes]]) -> Iterator[list[tuple[Content, bytes]]]:
    """Group contents into tasks, bounded in number and bytes."""
    task: list[tuple[Content, bytes]] = []
    task_bytes = 0
    for content, data in items:
        task.append((content, data))
        task_bytes += len(data)
        if len(task) >= CONTENTS_A_TASK or task_bytes >= BYTES_A_TASK:
            yield task
            task, task_bytes = [], 0
    if task:
        yield task
