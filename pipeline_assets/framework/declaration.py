"""The declaration of a table asset, and the arguments and results of its function.

`table_asset` creates declarations, `execution` runs them.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeVar, cast

import dataframely as dy
import polars as pl

from pipeline_assets.framework.code_version import Chosen, Parts, parts_of
from pipeline_assets.framework.digest import code_digest
from pipeline_assets.framework.partitions import Days
from pipeline_assets.framework.staleness import Rule, with_windows
from pipeline_assets.runtime.progress import track

T = TypeVar("T")


Calendar = Literal["uploads", "logs", "nights", "newest"]
"""Which days of an asset should exist: those with uploads, those with logs, the night that trains the model, or the newest
day of the log."""


@dataclass(frozen=True)
class Table:
    """The result of an asset's function: rows with rejected inputs, metadata and pictures.

    rows: a frame, or an iterable of frames of which only one needs to be in memory. rejected: quarantined inputs
    (`Rejected`); metadata: shown with every day of the run; pictures: PNG bytes by title; about: what is shown on the pages
    of other assets, metadata by (asset, day).
    """

    rows: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame]
    rejected: pl.DataFrame | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    about: Mapping[tuple[str, date], Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The result of a check of one day. facts: shown in the UI."""

    passed: bool
    description: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunOfDays:
    """One run as its asset's function sees it: days to compute, inputs, resources, clock and log."""

    asset: str
    days: tuple[date, ...]
    code_version: str
    run_id: str
    log: Any
    inputs: Mapping[str, pl.LazyFrame] = field(default_factory=dict)
    entries: pl.DataFrame = field(default_factory=pl.DataFrame)
    """The ledger's newest entries of the asset's days and of all days that they read: asset, day, digest, rows ..."""
    previous: Callable[[], pl.DataFrame] = field(default=pl.DataFrame)
    """Reads the asset's own rows of these days that the same code computed, to reuse them."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """The resources of the asset's function, by name, for its checks."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The time of the run: one moment for all days."""
    is_forced: bool = False
    """Whether days are computed that have not changed: the caller doubts what is there."""
    _shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """A value that the asset's function and its checks share: computed on the first call."""
        if name not in self._shared:
            self._shared[name] = compute()
        return cast("T", self._shared[name])

    def progress(self, items: Iterable[T], total: int, unit: str) -> Iterator[T]:
        """Yield the items unchanged, and report progress: a bar on a terminal, otherwise lines in the run's log."""
        return track(items, total, self.asset, unit, self.log.info)


@dataclass(frozen=True)
class DayCheck:
    """A check of one day, run before the day is written.

    judge: (day, the day's rows, the day's rejected rows, the run) -> Verdict. Bulk columns of these rows are condensed. A
    failed blocking check keeps the day out of the table; another one only warns.
    """

    name: str
    judge: Callable[[date, pl.DataFrame, pl.DataFrame, RunOfDays], Verdict]
    description: str
    blocking: bool = False


@dataclass(frozen=True)
class Declaration:
    """A table asset as declared; documentation, commands and the framework read it.

    imports: modules whose import takes seconds and that only computing a day needs.
    """

    name: str
    schema: type[dy.Schema]
    inputs: Mapping[str, Days]
    compute: Callable[..., Any]
    sources: Callable[..., Mapping[date, str]] | None
    checks: tuple[DayCheck, ...]
    quarantines: bool
    code_version: str
    parts: Parts
    """The parts of the code version, and the windows of days that are read."""
    day_metadata: Callable[[pl.DataFrame], Mapping[str, Any]] | None
    resources: tuple[str, ...]
    imports: tuple[str, ...] = ()
    reads: Mapping[str, type[dy.Schema]] = field(default_factory=dict)
    """The schemas of the inputs that are already declared."""
    group: str = ""
    days: Calendar | None = None
    """None: derived from the inputs (`nightly.calendars`)."""
    code: tuple[Any, ...] = ()
    """The arguments of the code version's digest."""
    effect: Callable[..., None] | None = None
    """What happens outside the lake with the committed days, before they are entered into the ledger."""
    sources_are_pinned: bool = False
    """Whether `sources` reads only the ledger and tables, which a pin records."""

    def with_resources(self, resources: Mapping[str, Any]) -> "Declaration":
        """The declaration with the parts that these resources decide: another classifier gives another code version."""
        code = tuple(part.with_resources(resources) if isinstance(part, Chosen) else part for part in self.code)
        if code == self.code:
            return self
        return replace(self, code=code, code_version=code_digest(code), parts=parts_with_windows(code, self.inputs))

    @property
    def choosing_resources(self) -> list[str]:
        """The names of the resources that decide a part of the code version."""
        return sorted({part.resource for part in self.code if isinstance(part, Chosen)})

    @property
    def rule(self) -> Rule:
        """The rule by which a day of this asset is stale."""
        windows = {name: (days.start, days.end) for name, days in self.inputs.items()}
        required = {name for name, days in self.inputs.items() if days.is_same_day}
        return Rule(self.code_version, self.parts, windows, has_source=self.sources is not None, required=required)

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether a pin records all inputs of a day."""
        return self.sources is None or self.sources_are_pinned

    @property
    def source_resources(self) -> list[str]:
        """The names of the resources that `sources` reads."""
        return list(inspect.signature(self.sources).parameters)[1:] if self.sources else []

    def source_digests(self, days: Sequence[date], resources: Mapping[str, Any]) -> Mapping[date, str]:
        """Digests by day of what `sources` reads; empty without sources. resources: at least `source_resources`."""
        return (
            self.sources(days, **{name: resources[name] for name in self.source_resources}) if self.sources and days else {}
        )

    @property
    def key(self) -> list[str]:
        """The columns that identify a row: the day and the schema's primary key."""
        return list(dict.fromkeys(["day", *self.schema.primary_key()]))

    @property
    def volatile(self) -> list[str]:
        """Columns that differ between identical runs; they are excluded from the digest."""
        return self._marked("volatile")

    @property
    def bulk(self) -> list[str]:
        """Columns of lists that are too large to keep in memory for every row of a run: they are spooled to disk."""
        return self._marked("bulk")

    @property
    def labels(self) -> list[str]:
        """Columns that a model learns to predict."""
        return self._marked("label")

    def _marked(self, mark: str) -> list[str]:
        return [name for name, column in self.schema.columns().items() if (column.metadata or {}).get(mark)]


def parts_with_windows(code: Sequence[Any], inputs: Mapping[str, Days]) -> Parts:
    """The parts of a code version, with the windows of days that are read."""
    return with_windows(parts_of(code), {name: (days.start, days.end) for name, days in inputs.items()})


DECLARATIONS: dict[str, Declaration] = {}
"""Every table asset by name, in the order of import."""
