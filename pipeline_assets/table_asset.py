"""The one seam between Darkroom and Dagster: `table_asset` turns a function of frames into a partitioned, versioned asset.

What all assets share lives here and nowhere else: which days need computing, quarantine, the schema, checks, the commit,
the ledger, and what the UI shows. An asset module says only what is its own.

This module declares; `execution.py` runs what is declared; `describe.py` says what the UI shows.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar, cast

import dagster as dg
import dataframely as dy
import polars as pl

from pipeline_assets import describe
from pipeline_assets.automation import when_inputs_change
from pipeline_assets.partitions import Days, daily
from pipeline_assets.progress import track
from pipeline_assets.versioning.code import Part, Parts, parts_of
from pipeline_assets.versioning.digest import code_digest
from pipeline_assets.versioning.staleness import Rule, with_windows
from resources.lake import EMPTY_IF_MISSING

T = TypeVar("T")

OWNERS = ["team:darkroom"]
INFRASTRUCTURE_RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)
"""For a store or server that does not answer. Bad data raises DarkroomError, which is never retried."""


@dataclass(frozen=True)
class Table:
    """What an asset's function returns when it has more to say than rows.

    rows: a frame, or frames that together are the rows, none of which needs to be held when the next is made. rejected:
    inputs kept aside (`Rejected`); metadata: shown with every day of the run; pictures: PNG bytes by title.
    """

    rows: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame]
    rejected: pl.DataFrame | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a check found on one day: `facts` are shown in the UI."""

    passed: bool
    description: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunOfDays:
    """What an asset's function knows of its run: the days to compute, and how to speak."""

    asset: str
    days: tuple[date, ...]
    code_version: str
    run_id: str
    log: Any
    inputs: Mapping[str, pl.LazyFrame] = field(default_factory=dict)
    known: pl.DataFrame = field(default_factory=pl.DataFrame)
    """The ledger's newest entries of all upstream days: asset, day, digest, rows, delta_version ..."""
    previous: Callable[[], pl.DataFrame] = field(default=pl.DataFrame)
    """The asset's own rows of these days that the same code made: what need not be done again."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Those that the asset's function asks for, by name, for its checks."""
    _shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What the asset's function and its checks of each day need alike: computed by the first that asks for it."""
        if name not in self._shared:
            self._shared[name] = compute()
        return cast("T", self._shared[name])

    def progress(self, items: Iterable[T], total: int, unit: str) -> Iterator[T]:
        """Pass items on unchanged, telling how far the work is: a bar on a terminal, else lines in the run's log."""
        return track(items, total, self.asset, unit, self.log.info)


@dataclass(frozen=True)
class DayCheck:
    """A check of one day, before it is written.

    judge: (day, the day's rows, the day's rejected rows, the run) -> Verdict. Bulk columns are condensed in these rows. A
    blocking check keeps a bad day out of the table; another only warns.
    """

    name: str
    judge: Callable[[date, pl.DataFrame, pl.DataFrame, RunOfDays], Verdict]
    description: str
    blocking: bool = False


@dataclass(frozen=True)
class Declaration:
    """One table asset as declared: what documentation, the CLI and the seam read.

    imports: modules that computing a day loads and that take seconds.
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
    """What the code version is made of, and the days that are read."""
    day_metadata: Callable[[pl.DataFrame], Mapping[str, Any]] | None
    resources: tuple[str, ...]
    imports: tuple[str, ...] = ()

    @property
    def rule(self) -> Rule:
        """What makes a day of this asset stale."""
        windows = {name: (days.start, days.end) for name, days in self.inputs.items()}
        return Rule(self.code_version, self.parts, windows, has_source=self.sources is not None)

    @property
    def outside(self) -> list[str]:
        """The resources through which it asks whether what lies outside the lake has changed."""
        return list(inspect.signature(self.sources).parameters)[1:] if self.sources else []

    def ask_outside(self, days: Sequence[date], resources: Mapping[str, Any]) -> Mapping[date, str]:
        """Digests of what lies outside, by day; none where nothing does. resources: at least those of `outside`."""
        return self.sources(days, **{name: resources[name] for name in self.outside}) if self.sources and days else {}

    @property
    def key(self) -> list[str]:
        """The columns that name a row: the day and the schema's primary key."""
        return list(dict.fromkeys(["day", *self.schema.primary_key()]))

    @property
    def volatile(self) -> list[str]:
        """Columns that differ between identical runs and stay out of the digest."""
        return self._marked("volatile")

    @property
    def places(self) -> list[str]:
        """Columns that say where in a store a row's bytes lie: a forced run writes them anew, also for equal rows."""
        return self._marked("place")

    @property
    def bulk(self) -> list[str]:
        """Columns of lists too large to hold for every row of a run: the seam spools them, and works on the rest."""
        return self._marked("bulk")

    @property
    def labels(self) -> list[str]:
        """Columns that a model learns to predict."""
        return self._marked("label")

    def _marked(self, mark: str) -> list[str]:
        return [name for name, column in self.schema.columns().items() if (column.metadata or {}).get(mark)]


DECLARATIONS: dict[str, Declaration] = {}
"""Every table asset by name, in the order of import."""


def table_asset(
    *,
    schema: type[dy.Schema],
    group: str,
    inputs: Mapping[str, Days] | None = None,
    sources: Callable[..., Mapping[date, str]] | None = None,
    code: Sequence[Any] = (),
    checks: Sequence[DayCheck] = (),
    quarantines: bool = False,
    kinds: set[str] | None = None,
    pool: str | None = None,
    days_per_run: int | None = None,
    automatic: bool = False,
    freshness: dg.FreshnessPolicy | None = None,
    lineage: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    day_metadata: Callable[[pl.DataFrame], Mapping[str, Any]] | None = None,
    imports: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare an asset that is a table: one Delta commit a run, one materialization a day.

    The function takes (run: RunOfDays, one LazyFrame per input, the resources that it names) and returns rows or a Table;
    its docstring is the asset's description. inputs: upstream assets and the days that a day reads. sources: for what
    comes from outside, (days, resources) -> {day: digest of what is there}, so that an unchanged day is not read again.
    code: modules, functions, files and strings whose change invalidates every day; a `Part` says that a string is a model
    or a setting. quarantines: rows that fail the schema are
    kept aside in `{name}_rejected` instead of failing the run. automatic: a day follows its inputs without being asked.
    days_per_run: chunk of a backfill; None is all in one. imports: modules that computing a day loads and that take seconds:
    a run loads them while the assets before this one compute.
    """

    def declare(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        reads = dict(inputs or {})
        parameters = list(inspect.signature(compute).parameters)[1:]
        made_of = [compute, Part("code", "schema", str(sorted(schema.columns()))), *code]
        declaration = Declaration(
            name=compute.__name__,
            schema=schema,
            inputs=reads,
            compute=compute,
            sources=sources,
            checks=tuple(checks),
            quarantines=quarantines,
            code_version=code_digest(made_of),
            parts=with_windows(parts_of(made_of), {name: (days.start, days.end) for name, days in reads.items()}),
            day_metadata=day_metadata,
            resources=tuple(name for name in parameters if name not in reads),
            imports=tuple(imports),
        )
        DECLARATIONS[declaration.name] = declaration
        policy = dg.BackfillPolicy.multi_run(days_per_run) if days_per_run else dg.BackfillPolicy.single_run()

        def run(context: dg.AssetExecutionContext, **frames: pl.LazyFrame | None):  # type: ignore[no-untyped-def]  # Dagster
            from pipeline_assets.execution import execute  # it reads the classes above

            return execute(declaration, context, frames)

        return dg.asset(
            run,
            name=declaration.name,
            description=inspect.getdoc(compute),
            group_name=group,
            ins={
                name: dg.AssetIn(partition_mapping=days.mapping, metadata={EMPTY_IF_MISSING: True})
                for name, days in reads.items()
            },
            partitions_def=daily,
            backfill_policy=policy,
            io_manager_key="io_manager",
            required_resource_keys={"lake", "postgres", *declaration.resources},
            code_version=declaration.code_version,
            config_schema={
                "force": dg.Field(
                    bool, default_value=False, description="compute every day of the run, even if nothing has changed"
                )
            },
            check_specs=[
                dg.AssetCheckSpec(
                    "schema",
                    asset=declaration.name,
                    blocking=True,
                    partitions_def=daily,
                    description="every row keeps the declared schema",
                ),
                *(
                    dg.AssetCheckSpec(
                        check.name,
                        asset=declaration.name,
                        blocking=check.blocking,
                        partitions_def=daily,
                        description=check.description,
                    )
                    for check in checks
                ),
            ],
            metadata=describe.definition(declaration.name, schema, reads, lineage or {}),
            owners=OWNERS,
            kinds=kinds,
            pool=pool,
            retry_policy=INFRASTRUCTURE_RETRIES,
            automation_condition=when_inputs_change(reads) if automatic else None,
            freshness_policy=freshness,
        )

    return declare
