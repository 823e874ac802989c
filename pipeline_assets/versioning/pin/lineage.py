"""The lineage of a pinned table: every table behind it at its pinned version, down to external sources."""

from collections.abc import Mapping
from datetime import date, timedelta

from pydantic import BaseModel, ConfigDict

from pipeline_assets.framework.declaration import Declaration
from pipeline_assets.versioning.pin.reference import Reference
from resources.database import ledger
from resources.database.contract import Database


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Part):
    """A Dagster run that computed days of a table. commit: of its code, with `+` if it had uncommitted changes."""

    run_id: str
    commit: str | None
    days: int


class TableOrigin(_Part):
    """A table of the pin. inputs: pinned tables that it was computed from; outside: its external sources.

    runs: the runs that computed its days, newest first; empty if this ledger has no record of them.
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


def lineage(reference: Reference, database: Database, declared: Mapping[str, Declaration]) -> list[TableOrigin]:
    """All tables of a pin, the pinned one first, each before its inputs. Empty for a folder."""
    origins: dict[str, TableOrigin] = {}
    pending = [reference.asset] if reference.asset else []
    while pending:
        name = pending.pop(0)
        if name in origins:
            continue
        asset, table = declared.get(name), reference.tables[name]
        inputs = [upstream for upstream in asset.inputs if upstream in reference.tables] if asset else []
        origins[name] = TableOrigin(
            table=name,
            **table.model_dump(),
            inputs=inputs,
            outside=_outside(asset, reference) if asset and asset.sources else [],
            runs=_runs(reference, name, database),
        )
        pending += inputs
    return list(origins.values())


def _outside(asset: Declaration, reference: Reference) -> list[str]:
    """The external sources of an asset, derived from its resources."""
    stores = reference.stores
    places = {
        "uploads": f"the uploads in {stores.get('uploads', '?')}",
        "lake_bucket": f"the logs in {stores.get('lake', '?')}/events",
        "database": "the application's database",
        "variant_policy": "the policy of variants (DARKROOM_VARIANTS)",
        "lake": "the uploads of all days, which are searched for look-alikes",
    }
    # An asset that reads the logs uses the database for their ledger only, which is no source.
    sources = [name for name in asset.source_resources if name != "database" or "lake_bucket" not in asset.source_resources]
    return [places.get(name, name) for name in sources]


def _runs(reference: Reference, name: str, database: Database) -> list[Run]:
    table = reference.tables[name]
    until = reference.created_at + timedelta(seconds=1)  # it is written in whole seconds
    entries = ledger.as_of(database, name, table.version, until, table.first_day, table.last_day)
    by_run = entries.group_by("run_id", "git_commit").len().join(entries, on=["run_id", "git_commit"], nulls_equal=True)
    ordered = by_run.sort("materialized_at", descending=True).unique(["run_id", "git_commit"], maintain_order=True)
    return [
        Run(run_id=run_id, commit=commit, days=days)
        for run_id, commit, days in ordered.select("run_id", "git_commit", "len").iter_rows()
    ]
