"""Plans a run of an asset: the days to compute, and the digests and table versions of their inputs.

The plan is made before any input is opened. Inputs are then read at its versions, so that rows and recorded digests match.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any

import dataframely as dy
import polars as pl

from pipeline_assets.framework import failed_days, lost_days, staleness
from pipeline_assets.framework.declaration import DECLARATIONS, Declaration
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake


@dataclass(frozen=True)
class Plan:
    """The days to compute and their inputs. before: the newest ledger entry of each day that is not lost.

    reasons: why a day is not current, by `framework/staleness.py`; missing: the days that can't be computed, each with a
    sentence that names the input.
    """

    changed: tuple[date, ...]
    reasons: Mapping[date, str]
    missing: Mapping[date, str]
    before: Mapping[date, Mapping[str, Any]]
    inputs: Mapping[date, Mapping[str, str]]
    inputs_digest: Mapping[date, str]
    """One digest over all inputs of a day."""
    entries: pl.DataFrame
    lost: lost_days.Lost = field(default_factory=dict)
    """Lost days that the ledger does not record yet: all of this asset, and those of its inputs that the run reads. All of
    this asset, because new commits reuse the version numbers of lost ones."""
    waiting: Mapping[date, str] = field(default_factory=dict)
    """Days that are skipped because an input of the same day failed in this run, with a sentence that names it."""


def plan_days(
    asset: Declaration,
    lake: Lake,
    database: Database,
    days: Sequence[date],
    resources: Mapping[str, Any],
    *,
    force: bool = False,
    failed: Mapping[str, set[date]] = MappingProxyType({}),
) -> Plan:
    """Plan these days (ascending) from the ledger, the logs of the tables, and the asset's sources.

    failed: days of inputs that the same run did not write.
    """
    asset = asset.with_resources(resources)
    reach = [day for window in asset.inputs.values() for edge in (days[0], days[-1]) for day in window.of(edge)]
    # Sources first: some of them read the ledger, and a digest may be older than the rows that are read, never newer.
    outside = asset.source_digests(days, resources)
    own_entries = ledger.latest(database, [asset.name], date.min, date.max)
    input_entries = ledger.latest(database, list(asset.inputs), min([*days, *reach]), max([*days, *reach]))
    entries = pl.concat([own_entries.filter(pl.col("day").is_between(days[0], days[-1])), input_entries])
    lost = lost_days.find(lake, database, own_entries)
    newest = staleness.Ledger(entries)
    now = staleness.read_now(asset.rule, pl.Series(days, dtype=pl.Date), newest, outside)
    lost_reasons = lost_days.reasons(lost).get(asset.name, {})
    verdicts = staleness.judge(asset.name, asset.rule, now, newest, lost_reasons)
    reasons = {day: reason for day, reason in verdicts.select("day", "reason").iter_rows() if reason}
    waiting = failed_days.waiting(asset.inputs, days, failed)
    requested = [day for day in days if (force or day in reasons) and day not in waiting]
    lost = {**lost, **(lost_days.find(lake, database, input_entries) if requested else {})}
    missing = _unreadable(asset, requested, input_entries, lost) | {
        day: f"{names} of this day does not exist yet, materialize it first"
        for day, names in now.select("day", "missing").iter_rows()
        if names and day not in waiting
    }
    before = own_entries.filter(pl.col("day").is_in(now["day"].implode()))
    return Plan(
        changed=tuple(day for day in requested if day not in missing),
        reasons=reasons,
        missing=missing,
        before={row["day"]: row for row in before.iter_rows(named=True) if row["day"] not in lost_reasons},
        inputs={row.pop("day"): row for row in now.drop("inputs_digest", "missing").iter_rows(named=True)},
        inputs_digest=dict(now.select("day", "inputs_digest").iter_rows()),
        entries=entries,
        lost=lost,
        waiting=waiting,
    )


def _unreadable(asset: Declaration, days: Sequence[date], entries: pl.DataFrame, lost: lost_days.Lost) -> dict[date, str]:
    """The days that read a lost day of an input, with the reason."""
    entered = lost_days.entered(entries)
    reasons: dict[date, str] = {}
    for name, window in asset.inputs.items():
        lost_of_input = entered.get(name, set()) | set(lost.get(name, {}))
        for day in days if lost_of_input else ():
            if lost_inputs := sorted(lost_of_input.intersection(window.of(day))):
                reasons[day] = f"{name} of {lost_inputs[0]} is lost from its table, materialize it first"
    return reasons


def open_inputs(asset: Declaration, plan: Plan, lake: Lake) -> dict[str, pl.LazyFrame]:
    """One lazy frame for each input, with the rows that the plan's entries describe.

    All days are read at the newest version of the entries: it was committed before the plan was made, and a day's rows do
    not change after its entry until a run claims it. Days without an entry are left out, even if the table has rows.
    """
    return {
        name: _open(lake, name, schema_of(asset, name), plan.entries, {d for day in plan.changed for d in window.of(day)})
        for name, window in asset.inputs.items()
    }


def _open(lake: Lake, name: str, schema: type[dy.Schema], entries: pl.DataFrame, days: set[date]) -> pl.LazyFrame:
    is_read = pl.col("day").is_in(pl.Series(list(days), dtype=pl.Date).implode())
    entries = entries.filter(pl.col("asset") == name, is_read)
    version = entries.filter(pl.col("digest") != "")["delta_version"].max()
    empty = schema.create_empty()
    if version is None:
        return empty.lazy()
    rows = lake.scan(name, sorted(entries["day"]), version)  # type: ignore[arg-type]
    missing_columns = {column: empty.schema[column] for column in empty.columns if column not in rows.collect_schema()}
    return rows.with_columns(pl.lit(None, dtype).alias(column) for column, dtype in missing_columns.items())


def schema_of(asset: Declaration, name: str) -> type[dy.Schema]:
    """The schema of an input."""
    return asset.reads[name] if name in asset.reads else DECLARATIONS[name].schema


def previous(asset: Declaration, plan: Plan, lake: Lake) -> pl.DataFrame:
    """Rows of the days to compute that were computed by the same code."""
    entries = [plan.before[day] for day in plan.changed if day in plan.before]
    same_code = [entry for entry in entries if entry["code_version"] == asset.code_version]
    if not same_code:
        return asset.schema.create_empty()
    version = max(entry["delta_version"] for entry in same_code)
    return lake.scan(asset.name, [entry["day"] for entry in same_code], version).collect()


def stale_days(name: str, days: Sequence[date], database: Database, resources: Mapping[str, Any]) -> Mapping[date, str]:
    """The days of an asset that a run would compute, with the reason: lost, new, data, code or waiting."""
    return plan_days(DECLARATIONS[name], resources["lake"], database, days, resources).reasons
