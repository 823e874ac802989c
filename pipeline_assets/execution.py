"""How a table asset's run goes, the same for all of them.

Ask the ledger which days' inputs or code have changed; call the asset's function for those; judge each day (schema,
checks) before anything is written; commit the good days at once; record them in the ledger; report each to Dagster. A
day that fails a blocking check keeps its old version, and the run fails after the good days are safe. A kill between
commit and ledger costs a second, equal commit: the days that a commit replaces are marked in the ledger before it.
"""

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from pipeline_assets import describe
from pipeline_assets.errors import DarkroomError
from pipeline_assets.ingestion.schemas import Rejected
from pipeline_assets.table_asset import DECLARATIONS, DayCheck, Declaration, RunOfDays, Table, Verdict
from pipeline_assets.validation import validate
from pipeline_assets.versioning import staleness
from pipeline_assets.versioning.digest import rows_digest
from resources import ledger
from resources.database import Database
from resources.errors import NoSpace
from resources.lake import Lake, Replacement
from resources.spool import Parts


def execute(
    asset: Declaration, context: dg.AssetExecutionContext, loaded: Mapping[str, pl.LazyFrame | None]
) -> Iterator[Any]:
    """Run an asset over its context's partitions, yielding what Dagster records."""
    lake, postgres = context.resources.lake, context.resources.postgres
    resources = {name: getattr(context.resources, name) for name in asset.resources}
    began = time.monotonic()
    days = tuple(date.fromisoformat(key) for key in context.partition_keys)
    force = bool(context.op_execution_context.op_config["force"])
    frames = {
        name: DECLARATIONS[name].schema.create_empty().lazy() if frame is None else frame for name, frame in loaded.items()
    }
    seen_until = context.instance.event_log_storage.get_maximum_record_id()
    try:
        plan = plan_days(asset, postgres, days, resources, force=force)
        run = RunOfDays(
            asset.name,
            plan.changed,
            asset.code_version,
            context.run.run_id,
            context.log,
            frames,
            plan.known,
            lambda: _previous(asset, plan, lake),
            resources,
        )
        if plan.changed:
            _load_ahead(asset, {node.name for node in context.op_execution_context.job_def.nodes})
        with lake.reached():  # the frames are lazy: they are read in here
            table = _compute(asset, run, frames, resources) if plan.changed else None
            judged = _judge(asset, run, table) if table else Judged.nothing(asset)
        _write_rejected(asset, lake, judged)
    except (DarkroomError, NoSpace) as error:
        raise dg.Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error

    moved = [
        day
        for day in judged.good
        if judged.digests[day] != plan.before.get(day, {}).get("digest") or (force and asset.places)
    ]
    rows = judged.stored.filter(pl.col("day").is_in(pl.Series(moved, dtype=pl.Date).implode()))
    failed = {**plan.missing, **judged.bad}
    ledger.begin(postgres, asset.name, [day for day in moved if day in plan.before], context.run.run_id)
    if not failed:
        checks = judged.check_results(["schema", *(check.name for check in asset.checks)])
        yield dg.MaterializeResult(value=Replacement(moved, rows), check_results=checks)
    elif moved:  # a MaterializeResult would mark the failed days as materialized too
        lake.replace(asset.name, moved, rows, note={"dagster_run_id": context.run.run_id})
    version = lake.version(asset.name)
    ledger.record(postgres, _entries(asset, plan, judged, version, context.run.run_id, time.monotonic() - began))
    yield from _materializations(asset, days, plan, judged, lake, version, seen_until)
    context.log.info(
        f"{asset.name}: {len(judged.good)} days computed ({len(moved)} with new rows), "
        f"{len(days) - len(plan.changed) - len(plan.missing)} unchanged"
    )
    # After the materializations: Dagster counts a day's check only if it targets the day's newest one.
    yield from judged.evaluations(context.instance, asset.name)
    if failed:
        reasons = "; ".join(f"{day}: {reason}" for day, reason in sorted(failed.items())[:10])
        raise dg.Failure(
            description=f"{len(failed)} of {len(days)} days were not written and keep their old version: {reasons}",
            allow_retries=False,
        )


def _load_ahead(asset: Declaration, run: Set[str]) -> None:
    """Load what the run's assets that read this one will import, on a thread beside the work: it waits for the network."""
    readers = (other for name, other in DECLARATIONS.items() if name in run and asset.name in other.inputs)
    wanted = {module for reader in readers for module in reader.imports if module not in sys.modules}
    if wanted:
        threading.Thread(target=lambda: [importlib.import_module(module) for module in wanted], daemon=True).start()


def _materializations(
    asset: Declaration,
    days: Sequence[date],
    plan: "Plan",
    judged: "Judged",
    lake: Lake,
    version: int,
    seen_until: int | None,
) -> Iterator[dg.AssetMaterialization]:
    """One a day that is current now. The last event of a day wins, so these carry each day's own data version.

    seen_until: the newest event at this moment. By it Dagster tells whether an input has changed since: its "unsynced".
    """
    for day in days:
        fresh = day in judged.good
        if fresh or day not in plan.changed + tuple(plan.missing):
            yield dg.AssetMaterialization(
                asset.name,
                partition=day.isoformat(),
                metadata=describe.materialization(asset, day, plan, judged, lake, version, fresh=fresh),
                tags={
                    "dagster/data_version": judged.digests[day] if fresh else plan.before[day]["digest"],
                    "dagster/code_version": asset.code_version,
                    **{f"dagster/input_data_version/{name}": plan.inputs[day][name] for name in asset.inputs},
                    **{f"dagster/input_event_pointer/{name}": str(seen_until or "NULL") for name in asset.inputs},
                },
            )


@dataclass(frozen=True)
class Plan:
    """Which days to compute, from what. before: the newest ledger entry of each day that has one.

    missing: days whose same-day input was never materialized, with a sentence that says which. reasons: why each day is
    not current, by `versioning/staleness.py`.
    """

    changed: tuple[date, ...]
    reasons: Mapping[date, str]
    missing: Mapping[date, str]
    before: Mapping[date, Mapping[str, Any]]
    inputs: Mapping[date, Mapping[str, str]]
    inputs_digest: Mapping[date, str]
    """One digest over all that a day reads."""
    known: pl.DataFrame


def plan_days(
    asset: Declaration, postgres: Database, days: Sequence[date], resources: Mapping[str, Any], *, force: bool = False
) -> Plan:
    """Which of these days (ascending) a run would compute, asked of the ledger and of what comes from outside."""
    reach = [day for window in asset.inputs.values() for edge in (days[0], days[-1]) for day in window.of(edge)]
    known = ledger.latest(postgres, [asset.name, *asset.inputs], min([*days, *reach]), max([*days, *reach]))
    newest = staleness.Ledger(known)
    outside = asset.ask_outside(days, resources)
    now = staleness.read_now(asset.rule, pl.Series(days, dtype=pl.Date), newest, outside)
    verdicts = staleness.judge(asset.name, asset.rule, now, newest)
    reasons = {day: reason for day, reason in verdicts.select("day", "reason").iter_rows() if reason}
    missing = {
        day: f"{names} of this day does not exist yet, materialize it first"
        for day, names in now.select("day", "missing").iter_rows()
        if names
    }
    mine = known.filter(pl.col("asset") == asset.name, pl.col("day").is_in(now["day"].implode()))
    return Plan(
        changed=tuple(day for day in days if day not in missing and (force or day in reasons)),
        reasons=reasons,
        missing=missing,
        before={row["day"]: row for row in mine.iter_rows(named=True)},
        inputs={row.pop("day"): row for row in now.drop("inputs_digest", "missing").iter_rows(named=True)},
        inputs_digest=dict(now.select("day", "inputs_digest").iter_rows()),
        known=known,
    )


def _previous(asset: Declaration, plan: Plan, lake: Lake) -> pl.DataFrame:
    """Rows of the days to compute that the same code made."""
    days = [day for day in plan.changed if plan.before.get(day, {}).get("code_version") == asset.code_version]
    return lake.scan(asset.name, days).collect() if days else asset.schema.create_empty()


def _compute(asset: Declaration, run: RunOfDays, frames: Mapping[str, pl.LazyFrame], resources: Mapping[str, Any]) -> Table:
    made = asset.compute(run, **frames, **resources)
    return made if isinstance(made, Table) else Table(made)


@dataclass(frozen=True)
class Judged:
    """A run's rows after schema and checks, day by day. bad: {day: why it was not written}.

    rows: with bulk columns condensed, for all that looks at rows; stored: whole, for writing.
    """

    rows: pl.DataFrame
    stored: Parts
    rejected: pl.DataFrame
    good: tuple[date, ...]
    bad: Mapping[date, str]
    digests: Mapping[date, str]
    verdicts: Mapping[date, Mapping[str, tuple[DayCheck | None, Verdict]]]
    table: Table

    @classmethod
    def nothing(cls, asset: Declaration) -> "Judged":
        """No day needed computing."""
        empty = asset.schema.create_empty()
        return cls(empty, Parts.of(empty), Rejected.create_empty(), (), {}, {}, {}, Table(empty))

    def check_results(self, names: Sequence[str]) -> list[dg.AssetCheckResult]:
        """One result a check over all days of the run; a warning names the days."""
        results = []
        for name in names:
            found = {day: verdicts[name] for day, verdicts in self.verdicts.items()}
            failed = {day: verdict for day, (_, verdict) in found.items() if not verdict.passed}
            text = "; ".join(f"{day}: {v.description}" for day, v in sorted(failed.items())[:5])
            if not failed:
                text = "holds on every day" if found else "nothing has changed"
            facts = next(iter(found.values()))[1].facts if len(found) == 1 else {"days": len(found)}
            results.append(
                dg.AssetCheckResult(
                    passed=not failed,
                    check_name=name,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=text,
                    metadata=dict(facts),
                )
            )
        return results

    def evaluations(self, instance: dg.DagsterInstance, asset: str) -> Iterator[dg.AssetCheckEvaluation]:
        """One evaluation a day and check, each of the day's newest materialization."""
        keys = [day.isoformat() for day in self.verdicts]
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=keys)
        newest: dict[str | None, AssetCheckEvaluationTargetMaterializationData] = {}
        for record in instance.fetch_materializations(wanted, limit=2 * len(keys)).records if keys else ():
            target = AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
            newest.setdefault(record.partition_key, target)
        for day, verdicts in self.verdicts.items():
            for name, (check, verdict) in verdicts.items():
                yield dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(asset),
                    check_name=name,
                    passed=verdict.passed,
                    metadata=dict(verdict.facts),
                    description=verdict.description,
                    blocking=check is None or check.blocking,
                    partition=day.isoformat(),
                    target_materialization_data=newest.get(day.isoformat()),
                )


def _judge(asset: Declaration, run: RunOfDays, table: Table) -> Judged:
    found = validate(asset, table.rows)
    kept, broken, rule = found.rows, found.broken.with_columns(pl.col("day").fill_null(run.days[-1])), ", ".join(found.rules)
    rejected: pl.DataFrame = (
        Rejected.validate(table.rejected, cast=True) if table.rejected is not None else Rejected.create_empty()
    )
    if asset.quarantines and not broken.is_empty():
        rejected = pl.concat([rejected, describe.as_rejected(broken, asset.key, rule)])
        broken = broken.clear()
    good, bad, digests, verdicts = [], {}, {}, {}
    for day in run.days:
        rows = kept.filter(pl.col("day") == day)
        aside = rejected.filter(pl.col("day") == day)
        wrong = broken.filter(pl.col("day") == day).height
        results: dict[str, tuple[DayCheck | None, Verdict]] = {
            "schema": (None, Verdict(not wrong, f"{wrong} rows break the schema ({rule})" if wrong else "holds"))
        }
        for check in asset.checks:
            results[check.name] = (check, check.judge(day, rows, aside, run))
        verdicts[day] = results
        why = [f"{n}: {v.description}" for n, (c, v) in results.items() if not v.passed and (c is None or c.blocking)]
        if why:
            bad[day] = ", ".join(why)
        else:
            good.append(day)
            digests[day] = rows_digest(rows, asset.key, asset.volatile)
    return Judged(kept, found.stored, rejected, tuple(good), bad, digests, verdicts, table)


def _write_rejected(asset: Declaration, lake: Lake, judged: Judged) -> None:
    """The rejected rows go first: a row is never neither in the table nor beside it."""
    name = f"{asset.name}_rejected"
    if judged.verdicts and (asset.quarantines or not judged.rejected.is_empty()):
        days = list(judged.verdicts)
        if not judged.rejected.is_empty() or lake.exists(name):
            lake.replace(name, days, judged.rejected)


def _entries(
    asset: Declaration, plan: Plan, judged: Judged, version: int, run_id: str, seconds: float
) -> list[ledger.Materialization]:
    counts = dict(judged.rows.group_by("day").len().iter_rows())
    rejected = dict(judged.rejected.group_by("day").len().iter_rows())
    return [
        ledger.Materialization(
            asset=asset.name,
            day=day,
            digest=judged.digests[day],
            rows=counts.get(day, 0),
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
        )
        for day in judged.good
    ]


def _since(before: Mapping[str, Any] | None, digest: str) -> int | None:
    """The entry with which a day's rows came, if computing it again gave the same."""
    return before["since_id"] if before and before["digest"] == digest else None


@cache
def git_commit() -> str | None:
    """The commit of the code that is running, with `+` if the tree has changes; None outside a repository."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
