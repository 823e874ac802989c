"""Finds lost days: days whose rows in the ledger are not in their table. Reads the table's log only, no rows.

This happens to a lake that was restored from a backup, and to a table that was deleted or recreated. A run computes such
days again.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import polars as pl

from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.standing import MISSING, Standing, commit_id, standing

Lost = Mapping[str, Mapping[date, tuple[int, str]]]
"""By asset and day: the id of the ledger entry whose rows are gone, and the reason."""


def find(lake: Lake, database: Database, newest: pl.DataFrame) -> Lost:
    """The days whose newest entry contradicts its table. newest: entries from `ledger.latest`.

    A run may be writing meanwhile: a day counts as lost only if the ledger still has no newer entry, because a run enters
    the days to replace before it replaces them.
    """
    recorded = newest.filter(pl.col("digest") != "").partition_by("asset", as_dict=True)
    if not recorded:
        return {}
    by_asset = {str(asset): entries for (asset,), entries in recorded.items()}
    with ThreadPoolExecutor(len(by_asset)) as pool:  # one request to the store for each
        lost_by_asset = dict(
            zip(by_asset, pool.map(lambda name: _lost_of(lake, name, by_asset[name]), by_asset), strict=True)
        )
    suspects = {asset: days for asset, days in lost_by_asset.items() if days}
    if not suspects:
        return {}
    days = [day for by_day in suspects.values() for day in by_day]
    entries = ledger.latest(database, list(suspects), min(days), max(days))
    ids = {(asset, day): entry for asset, day, entry in entries.select("asset", "day", "id").iter_rows()}
    return {
        asset: {day: lost for day, lost in by_day.items() if ids.get((asset, day)) == lost[0]}
        for asset, by_day in suspects.items()
    }


def reasons(lost: Lost) -> dict[str, dict[date, str]]:
    """The reasons alone, by asset and day."""
    return {asset: {day: why for day, (_, why) in days.items()} for asset, days in lost.items()}


def entered(newest: pl.DataFrame) -> dict[str, set[date]]:
    """By asset, the days that a run has entered as lost and that no run has computed since."""
    rows = newest.filter(pl.col("digest") == "", pl.col("inputs").str.contains(f'"{ledger.LOST}"'))
    return {str(asset): set(entries["day"]) for (asset,), entries in rows.partition_by("asset", as_dict=True).items()}


def _lost_of(lake: Lake, asset: str, entries: pl.DataFrame) -> dict[date, tuple[int, str]]:
    reasons = judge(entries, standing(lake, asset), lambda version, name: commit_id(lake, asset, version) in (name, None))
    ids = dict(entries.select("day", "id").iter_rows())
    return {day: (ids[day], reason) for day, reason in reasons.items()}


def judge(entries: pl.DataFrame, table: Standing, is_commit: Callable[[int, str], bool]) -> dict[date, str]:
    """The lost days of one asset with the reason. entries: day, rows, delta_version, commit_id; one row for each day.

    is_commit: whether a version of the table may have this commit id. It is called for the newest version of the entries,
    and for earlier ones only if that one has another id.
    """
    if table.version == MISSING:
        return dict.fromkeys(entries["day"], "its table is gone")
    reasons: dict[date, str] = {}
    for day, rows, version in entries.select("day", "rows", "delta_version").iter_rows():
        stored = table.rows.get(day, 0)
        if not 0 <= version <= table.version:
            reasons[day] = f"the ledger names version {version} of its table, which ends with {table.version}"
        elif stored != rows and (stored is not None or not rows):
            reasons[day] = f"its table has {stored if stored is not None else 'some'} rows of it, the ledger {rows}"
    is_lost = pl.col("day").is_in(pl.Series(list(reasons), dtype=pl.Date).implode())
    entries_with_commit = entries.filter(~is_lost, pl.col("commit_id").is_not_null())
    commits = sorted(set(entries_with_commit.select("delta_version", "commit_id").iter_rows()))
    if commits and not is_commit(*commits[-1]):
        # A restored table has its old commits up to some version, and other ones after it.
        first = bisect_left(commits, True, key=lambda commit: not is_commit(*commit))
        replaced = {version for version, _ in commits[first:]}
        for day, version in entries_with_commit.select("day", "delta_version").iter_rows():
            if version in replaced:
                reasons[day] = f"version {version} of its table is another commit by now"
    return reasons
