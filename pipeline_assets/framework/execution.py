"""Runs a table asset: plan, compute, judge, commit, record, report.

The ledger decides which days' inputs or code have changed; the asset's function computes those; each day is judged (schema,
checks) before anything is written; the good days are one commit; the ledger records them; each is reported to Dagster. A
day that fails a blocking check keeps its old rows, and the run fails after the good days are written. A kill between commit
and ledger costs a second, equal commit: the days to replace are marked in the ledger before the commit.
"""

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from pipeline_assets.errors import DarkroomError
from pipeline_assets.framework import failed_days, reporting
from pipeline_assets.framework.declaration import DECLARATIONS, Declaration, RunOfDays, Table
from pipeline_assets.framework.judging import Judged, judge_all
from pipeline_assets.framework.planning import Plan, open_inputs, plan_days, previous
from resources import git
from resources.dagster_private import stored_together
from resources.database import day_writers, ledger
from resources.database.contract import Database
from resources.errors import NoSpace, TypesChanged
from resources.lake.lake import Committed, Lake
from resources.lake.lake_io import Unwritten


def execute(asset: Declaration, context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Run an asset over its context's partitions, and yield the events that Dagster records."""
    lake, database = context.resources.lake, context.resources.database
    resources = {name: getattr(context.resources, name) for name in asset.resources}
    asset = asset.with_resources(resources)
    started_at = time.monotonic()
    days = tuple(date.fromisoformat(key) for key in context.partition_keys)
    force = bool(context.op_execution_context.op_config["force"])
    last_event_id = context.instance.event_log_storage.get_maximum_record_id()
    try:
        all_resources = {"lake": lake, "database": database, **resources}
        failed = failed_days.of_run(context.instance, context.run, asset.inputs)
        plan = plan_days(asset, lake, database, days, all_resources, force=force, failed=failed)
        if plan.lost:
            ledger.enter_lost(database, plan.lost, context.run.run_id)
        run = RunOfDays(
            asset.name,
            plan.changed,
            asset.code_version,
            context.run.run_id,
            context.log,
            open_inputs(asset, plan, lake),
            plan.entries,
            lambda: previous(asset, plan, lake),
            resources,
            is_forced=force,
        )
        if plan.changed:
            lake.require_types(asset.name, asset.schema.create_empty().schema)
            _import_ahead(asset, {node.name for node in context.op_execution_context.job_def.nodes})
        with lake.reached():  # the frames are lazy: their reads happen here
            table = _compute(asset, run, resources) if plan.changed else None
            judged = judge_all(asset, run, table) if table else Judged.nothing(asset)
        written = _write(asset, run, plan, judged, lake, database, started_at, force=force)
    except (DarkroomError, NoSpace, TypesChanged) as error:
        raise dg.Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error

    yield from _report(asset, context, days, plan, judged, written, last_event_id)


def _report(
    asset: Declaration,
    context: dg.AssetExecutionContext,
    days: Sequence[date],
    plan: Plan,
    judged: "Judged",
    written: "Written",
    last_event_id: int | None,
) -> Iterator[Any]:
    """Yield each day's materialization and checks, and the days that were not written."""
    failed = {**plan.missing, **judged.bad}
    checks = judged.check_results(["schema", *(check.name for check in asset.checks)])
    if not failed and not plan.waiting:
        yield dg.MaterializeResult(check_results=checks)  # it marks every day of the run as materialized
    with stored_together(context.instance.event_log_storage):
        yield from _materializations(asset, days, plan, judged, context.resources.lake, written, last_event_id)
    context.log.info(_summary(asset, days, plan, judged, written))
    # After the materializations: Dagster counts a day's check only if it targets the day's newest one.
    with stored_together(context.instance.event_log_storage):
        yield from judged.evaluations(context.instance, asset.name)
    yield from failed_days.observations(asset.name, failed, plan.waiting)
    for (other, day), metadata in judged.table.about.items():
        yield dg.AssetObservation(other, partition=day.isoformat(), description=f"by {asset.name}", metadata=dict(metadata))
    if failed or plan.waiting:
        not_written = {**plan.waiting, **failed}
        reasons = "; ".join(f"{day}: {reason}" for day, reason in sorted(not_written.items())[:10])
        message = f"{len(not_written)} of {len(days)} days were not written and keep their old version: {reasons}"
        yield from checks  # checks are outputs, too: readers of this asset wait for the blocking ones
        yield dg.MaterializeResult(asset_key=asset.name, value=Unwritten(len(not_written), message))


@dataclass(frozen=True)
class Written:
    """The days with new rows, and the Delta version of each day that the run entered into the ledger."""

    changed_days: tuple[date, ...]
    versions: Mapping[date, int]


def _write(
    asset: Declaration,
    run: RunOfDays,
    plan: Plan,
    judged: "Judged",
    lake: Lake,
    database: Database,
    started_at: float,
    *,
    force: bool,
) -> Written:
    """Commit the good days whose rows changed (all good days if forced), and enter all good days into the ledger.

    A day that another run has claimed meanwhile is left to that run.
    """
    changed = [day for day in judged.good if force or judged.digests[day] != plan.before.get(day, {}).get("digest")]
    same = {day: plan.before[day] for day in judged.good if day not in changed}
    unchanged = {day: entry["id"] for day, entry in same.items()}
    claim = day_writers.claim(database, asset.name, list(judged.verdicts), changed, run.run_id, unchanged)
    note = {"dagster_run_id": run.run_id}
    _write_rejected(asset, lake, judged, claim.owned_days)
    rows = judged.stored.filter(pl.col("day").is_in(pl.Series(changed, dtype=pl.Date).implode()))
    committed = lake.commit(asset.name, changed, rows, note=note, owned_days=claim.owned_days) if changed else Committed()
    commits = {day: (committed.version, committed.commit_id) for day in committed.days}
    commits |= {day: (entry["delta_version"], entry["commit_id"]) for day, entry in same.items()}
    if asset.effect and commits:
        committed_rows = judged.stored.filter(pl.col("day").is_in(pl.Series(list(commits), dtype=pl.Date).implode()))
        asset.effect(run, committed_rows, {day: judged.digests[day] for day in commits}, **run.resources)
    entries = _entries(asset, plan, judged, commits, run.run_id, time.monotonic() - started_at)
    entered = day_writers.record(claim, entries, unchanged)
    return Written(committed.days, {day: version for day, (version, _) in commits.items() if day in entered})


def _summary(asset: Declaration, days: Sequence[date], plan: Plan, judged: "Judged", written: Written) -> str:
    """The line of the run's log that says what it has done."""
    unchanged = len(days) - len(plan.changed) - len(plan.missing) - len(plan.waiting)
    computed = f"{len(judged.good)} days computed ({len(written.changed_days)} with new rows)"
    left = len(judged.good) - len(written.versions)
    others = f", {left} left to another run that computes them at this moment" if left else ""
    return f"{asset.name}: {computed}, {unchanged} unchanged{others}"


def _import_ahead(asset: Declaration, run: Set[str]) -> None:
    """Import modules that this asset's readers in the same run need, on another thread, while this one waits for I/O."""
    readers = (other for name, other in DECLARATIONS.items() if name in run and asset.name in other.inputs)
    modules = {module for reader in readers for module in reader.imports if module not in sys.modules}
    if modules:
        threading.Thread(target=lambda: [importlib.import_module(module) for module in modules], daemon=True).start()


def _materializations(
    asset: Declaration,
    days: Sequence[date],
    plan: Plan,
    judged: "Judged",
    lake: Lake,
    written: Written,
    last_event_id: int | None,
) -> Iterator[dg.AssetMaterialization]:
    """One for each day that is current now. A day's last event counts, so these carry the day's own data version.

    last_event_id: the newest event when the run began. Dagster compares it with those of the inputs ("unsynced").
    """
    for day in days:
        is_new = day in written.versions
        if is_new or not (day in plan.changed or day in plan.missing or day in plan.waiting):
            yield dg.AssetMaterialization(
                asset.name,
                partition=day.isoformat(),
                metadata=reporting.materialization(asset, day, plan, judged, lake, written.versions.get(day)),
                tags={
                    "dagster/data_version": judged.digests[day] if is_new else plan.before[day]["digest"],
                    "dagster/code_version": asset.code_version,
                    **{f"dagster/input_data_version/{name}": plan.inputs[day][name] for name in asset.inputs},
                    **{f"dagster/input_event_pointer/{name}": str(last_event_id or "NULL") for name in asset.inputs},
                },
            )


def _compute(asset: Declaration, run: RunOfDays, resources: Mapping[str, Any]) -> Table | Iterator[Table]:
    result = asset.compute(run, **run.inputs, **resources)
    return result if isinstance(result, Table | Iterator) else Table(result)


def _write_rejected(asset: Declaration, lake: Lake, judged: Judged, owned_days: Callable[[], Set[date]]) -> None:
    """Write the rejected rows before the table, so that no row is ever in neither. Rows that are valid now are removed."""
    name = f"{asset.name}_rejected"
    if judged.verdicts and (not judged.rejected.is_empty() or lake.exists(name)):
        lake.commit(name, list(judged.verdicts), judged.rejected, owned_days=owned_days)


def _entries(
    asset: Declaration,
    plan: Plan,
    judged: Judged,
    commits: Mapping[date, tuple[int, str | None]],
    run_id: str,
    seconds: float,
) -> list[ledger.Materialization]:
    """One ledger entry for each day in the table, with the commit that wrote its rows."""
    rejected = dict(judged.rejected.group_by("day").len().iter_rows())
    return [
        ledger.Materialization(
            asset=asset.name,
            day=day,
            digest=judged.digests[day],
            rows=judged.counts[day],
            rejected=rejected.get(day, 0),
            code_version=asset.code_version,
            inputs_digest=plan.inputs_digest[day],
            inputs=plan.inputs[day],
            delta_version=version,
            git_commit=git_commit(),
            run_id=run_id,
            parts=asset.parts,
            since_id=_since(plan.before.get(day), judged.digests[day]),
            seconds=seconds / len(judged.good),
            commit_id=commit_id,
        )
        for day, (version, commit_id) in commits.items()
    ]


def _since(before: Mapping[str, Any] | None, digest: str) -> int | None:
    """The entry that first recorded these rows, if computing the day again gave the same."""
    return before["since_id"] if before and before["digest"] == digest else None


@cache
def git_commit() -> str | None:
    """The git commit of the running code, with `+` if the work tree has changes; None outside a repository."""
    here = Path(__file__).parent

    try:
        return git.run(here, "rev-parse", "HEAD").decode().strip() + ("+" if git.run(here, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
