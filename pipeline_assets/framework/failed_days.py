"""Records the days that a run's assets did not write, so that their readers in the same run skip them.

Each is an observation of the asset with the reason. A run's tags name the earlier runs of the same command.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from pipeline_assets.framework.partitions import Days

NOT_WRITTEN = "darkroom/not_written"
"""Tag of the observation of a day that was not written: `failed`, or `waiting` for a failed day of another asset."""
AFTER = "darkroom/after"
"""Tag of a run: the ids of the earlier runs of the same command."""


def observations(asset: str, failed: Mapping[date, str], waiting: Mapping[date, str]) -> Iterator[dg.AssetObservation]:
    """One observation for each day that was not written."""
    for kind, days in (("failed", failed), ("waiting", waiting)):
        for day, reason in sorted(days.items()):
            yield dg.AssetObservation(
                asset, partition=day.isoformat(), description=f"not written: {reason}", tags={NOT_WRITTEN: kind}
            )


def of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, assets: Iterable[str]) -> dict[str, set[date]]:
    """The days of these assets that this run and earlier runs of its command did not write."""
    selected, days_by_asset = set(assets), dict[str, set[date]]()
    for run_id in [*filter(None, run.tags.get(AFTER, "").split(",")), run.run_id] if selected else ():
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION):
            event = entry.get_dagster_event().asset_observation_data.asset_observation
            name = event.asset_key.to_user_string()
            if name in selected and NOT_WRITTEN in event.tags and event.partition:
                days_by_asset.setdefault(name, set()).add(date.fromisoformat(event.partition))
    return days_by_asset


def waiting(inputs: Mapping[str, Days], days: Sequence[date], failed: Mapping[str, set[date]]) -> dict[date, str]:
    """The days that wait because the same day of an input was not written, each with a sentence.

    A failed day of an input with a longer window delays nothing: its readers use the ledger's version of it, and are not
    current (`upstream`) until it is repaired.
    """
    reasons: dict[date, str] = {}
    for name, window in inputs.items():
        for day in days if window.is_same_day else ():
            if day in failed.get(name, ()):
                reasons.setdefault(day, f"waits for {name} of this day, which failed")
    return reasons
