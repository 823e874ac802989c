"""Days and assets that Dagster's unfinished runs compute, whoever launched them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache

import dagster as dg

from resources.database.claims import Span

COMPUTING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
UNDER_WAY = [dg.DagsterRunStatus.QUEUED, *COMPUTING]
LOST_AFTER = timedelta(hours=2)
"""An unfinished run without news for so long counts as lost. A queued one does not: the queue keeps it."""
MAX_RUNS_READ = 2_000


@dataclass(frozen=True)
class LiveRun:
    """An unfinished run and its days. heard_at: the time of its last change of status, or now while it is queued."""

    run: dg.DagsterRun
    spans: tuple[Span, ...]
    heard_at: datetime

    def is_lost(self, now: datetime) -> bool:
        """Whether its last news is older than LOST_AFTER."""
        return now - self.heard_at >= LOST_AFTER


def live_runs(
    instance: dg.DagsterInstance, now: datetime, statuses: Sequence[dg.DagsterRunStatus] = UNDER_WAY
) -> list[LiveRun]:
    """The unfinished runs over days of assets, including those of backfills, people and the `darkroom` command."""

    @cache
    def steps(snapshot_id: str) -> frozenset[str]:
        return frozenset(instance.get_execution_plan_snapshot(snapshot_id).step_keys_to_execute)

    runs = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(statuses)), limit=MAX_RUNS_READ):
        run = record.dagster_run
        days = days_of(run)
        if days is None:
            continue
        if run.asset_selection is not None:
            assets = frozenset(key.to_user_string() for key in run.asset_selection)
        else:
            assets = steps(run.execution_plan_snapshot_id) if run.execution_plan_snapshot_id else frozenset()
        queued = run.status is dg.DagsterRunStatus.QUEUED
        last_heard = now if queued else heard_at(record)
        runs.append(LiveRun(run, tuple(Span(asset, *days) for asset in sorted(assets)), last_heard))
    return runs


def days_of(run: dg.DagsterRun) -> tuple[date, date] | None:
    """The first and last day of a run; None if it has no days."""
    day = run.tags.get("dagster/partition")
    first = run.tags.get("dagster/asset_partition_range_start", day)
    last = run.tags.get("dagster/asset_partition_range_end", day)
    try:
        return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None
    except ValueError:  # partitions of a user's own job need not be days
        return None


def heard_at(record: dg.RunRecord) -> datetime:
    """The time of a run's last change of status, UTC."""
    return record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or UTC)


def days_between(span: Span) -> Iterator[date]:
    """Each day of a span."""
    return (span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1))
