"""`table_asset` turns a function of frames into a partitioned, versioned Dagster asset.

All assets share this path: planning, quarantine, schema, checks, commit, ledger and metadata. An asset module declares only
its own properties. `declaration.py` defines the declaration, `execution.py` runs it, `reporting.py` has its metadata.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl

from pipeline_assets.framework import reporting
from pipeline_assets.framework.automation import when_inputs_change
from pipeline_assets.framework.code_version import Part
from pipeline_assets.framework.declaration import DECLARATIONS, Calendar, DayCheck, Declaration, parts_with_windows
from pipeline_assets.framework.digest import code_digest
from pipeline_assets.framework.execution import execute
from pipeline_assets.framework.partitions import Days, daily

OWNERS = ["team:darkroom"]


class RetriesOfErrors(dg.RetryPolicy):
    """Retries a step after errors. Dagster's own policy also retries it after Ctrl-C or termination: the run would go on."""

    def calculate_delay(self, attempt_num: int) -> float:
        """As Dagster's. Raises the interrupt that is being handled, instead of a retry of it."""
        interrupt = sys.exception()
        if interrupt is not None and not isinstance(interrupt, Exception):
            raise interrupt
        return super().calculate_delay(attempt_num)


INFRASTRUCTURE_RETRIES = RetriesOfErrors(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)
"""For a store or server that does not answer. Bad data raises a DarkroomError, which is not retried."""


def table_asset(
    *,
    schema: type[dy.Schema],
    group: str,
    inputs: Mapping[str, Days] | None = None,
    sources: Callable[..., Mapping[date, str]] | None = None,
    sources_are_pinned: bool = False,
    code: Sequence[Any] = (),
    checks: Sequence[DayCheck] = (),
    quarantines: bool = False,
    kinds: set[str] | None = None,
    pool: str | None = None,
    days_per_run: int | None = None,
    days: Calendar | None = None,
    automatic: bool = False,
    freshness: dg.FreshnessPolicy | None = None,
    lineage: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    day_metadata: Callable[[pl.DataFrame], Mapping[str, Any]] | None = None,
    effect: Callable[..., None] | None = None,
    imports: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare an asset that is a table: one Delta commit for each run, one materialization for each day.

    The function takes (run: RunOfDays, one LazyFrame for each input, the resources that it names) and returns rows, a Table,
    or an iterator of one Table for each day of the run, in their order, of which memory holds one at a time. Its docstring
    is the asset's description.

    inputs: upstream assets and the days that a day reads. sources: (days, resources) -> {day: digest} of data outside the
    lake, so that an unchanged day is not read again. sources_are_pinned: sources read only the ledger and the lake, so that
    a pinned day can be rebuilt (`darkroom reproduce`). code: modules, functions, files and strings whose change makes every
    day stale; a `Part` names a string as a model or a setting. quarantines: rows that fail the schema go to
    `{name}_rejected` instead of failing the day. automatic: a day is materialized when its inputs change. days_per_run: days
    in one run of a backfill; None: all. days: the calendar; None: derived from the inputs. imports: modules whose import
    takes seconds; a run imports them while earlier assets compute. effect: (run, rows of the committed days, {day: digest},
    the resources of the asset's function) -> None; it must be safe to repeat. A day is entered into the ledger after it, so
    that a run that dies before or in it is repeated.
    """

    def declare(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        reads = dict(inputs or {})
        named = inspect.signature(compute).parameters.values()
        parameters = [one.name for one in named if one.kind is not one.VAR_KEYWORD][1:]
        made_of = [compute, Part("code", "schema", str(sorted(schema.columns()))), *code]
        declaration = Declaration(
            name=compute.__name__,
            schema=schema,
            inputs=reads,
            compute=compute,
            sources=sources,
            sources_are_pinned=sources_are_pinned,
            checks=tuple(checks),
            quarantines=quarantines,
            code_version=code_digest(made_of),
            parts=parts_with_windows(made_of, reads),
            day_metadata=day_metadata,
            effect=effect,
            resources=tuple(name for name in parameters if name not in reads),
            imports=tuple(imports),
            group=group,
            days=days,
            code=tuple(made_of),
            reads={name: DECLARATIONS[name].schema for name in reads if name in DECLARATIONS},
        )
        DECLARATIONS[declaration.name] = declaration
        policy = dg.BackfillPolicy.multi_run(days_per_run) if days_per_run else dg.BackfillPolicy.single_run()

        def run(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]  # Dagster
            return execute(declaration, context)

        return dg.asset(
            run,
            name=declaration.name,
            description=inspect.getdoc(compute),
            group_name=group,
            deps=[dg.AssetDep(name, partition_mapping=days.mapping) for name, days in reads.items()],
            partitions_def=daily,
            backfill_policy=policy,
            io_manager_key="io_manager",
            required_resource_keys={"lake", "database", *declaration.resources},
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
            metadata=reporting.definition(declaration.name, schema, reads, lineage or {}),
            owners=OWNERS,
            kinds=kinds,
            pool=pool,
            retry_policy=INFRASTRUCTURE_RETRIES,
            automation_condition=when_inputs_change(reads) if automatic else None,
            freshness_policy=freshness,
        )

    return declare
