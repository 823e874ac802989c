"""Where a pinned table comes from: every table behind it at its pinned version, down to what lies outside."""

from collections.abc import Mapping
from datetime import date, timedelta

from pydantic import BaseModel, ConfigDict

from pipeline_assets.table_asset import Declaration
from pipeline_assets.versioning.reference import Reference
from resources import ledger
from resources.database import Database


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Part):
    """A Dagster run that made some of a table's days. commit: of the code that ran, with `+` if it had changes."""

    run_id: str
    commit: str | None
    days: int


class TableOrigin(_Part):
    """A table of the pin. inputs: pinned tables that it was computed from; outside: what else it read.

    runs: those that made its days, as the ledger has them, newest first; none where this ledger never saw them.
    """

    table: str
    version: int
    first_day: date
    last_day: date
    rows: int
    digest: str
    inputs: list[str]
    outside: list[str]
    runs: list[Run]


def lineage(reference: Reference, postgres: Database, declared: Mapping[str, Declaration]) -> list[TableOrigin]:
    """All tables of a pin, the pinned one first, each before its inputs. Empty for a folder."""
    found: dict[str, TableOrigin] = {}
    pending = [reference.asset] if reference.asset else []
    while pending:
        name = pending.pop(0)
        if name in found:
            continue
        asset, table = declared.get(name), reference.tables[name]
        inputs = [one for one in asset.inputs if one in reference.tables] if asset else []
        found[name] = TableOrigin(
            table=name,
            **table.model_dump(),
            inputs=inputs,
            outside=_outside(asset, reference) if asset and asset.sources else [],
            runs=_runs(reference, name, postgres),
        )
        pending += inputs
    return list(found.values())


def _outside(asset: Declaration, reference: Reference) -> list[str]:
    """What an asset reads that is no table, by the resources that it asks for."""
    stores = reference.stores
    places = {
        "uploads": f"the uploads in {stores.get('uploads', '?')}",
        "lake_bucket": f"the logs in {stores.get('lake', '?')}/events",
        "postgres": "the application's database",
        "variant_policy": "the policy of variants (DARKROOM_VARIANTS)",
        "lake": "the uploads of all days, among which look-alikes are looked for",
    }
    return [places.get(name, name) for name in asset.outside]


def _runs(reference: Reference, name: str, postgres: Database) -> list[Run]:
    table = reference.tables[name]
    until = reference.created_at + timedelta(seconds=1)  # it is written in whole seconds
    entries = ledger.as_of(postgres, name, table.version, until, table.first_day, table.last_day)
    by_run = entries.group_by("run_id", "git_commit").len().join(entries, on=["run_id", "git_commit"], nulls_equal=True)
    ordered = by_run.sort("materialized_at", descending=True).unique(["run_id", "git_commit"], maintain_order=True)
    return [
        Run(run_id=run_id, commit=commit, days=days)
        for run_id, commit, days in ordered.select("run_id", "git_commit", "len").iter_rows()
    ]
