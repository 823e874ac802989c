"""Two automation conditions: whether a day is being computed, and whether the ledger calls it current.

Dagster evaluates them in the code server. They read the database of the settings; without one, as when definitions are only
inspected, no day is being computed and every day may be stale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from pipeline_assets.framework.planning import stale_days
from resources.assembly import resolve
from resources.database import claims, seen_objects
from resources.database.claims import Span
from resources.settings import load_settings


def owned(spans: list[Span], asset: str, days: list[date]) -> set[date]:
    """The days of an asset that one of the spans covers."""
    asset_spans = [span for span in spans if span.asset == asset]
    return {day for day in days if any(span.first <= day <= span.last for span in asset_spans)}


def _being_computed(context: dg.AutomationContext[Any], asset: str, days: list[date]) -> set[date]:
    """Days that a command has claimed, or that an unfinished run computes."""
    from sensors.live_runs import live_runs

    now = datetime.now(UTC)
    runs = live_runs(context.asset_graph_view.instance, now)
    spans = [span for run in runs if not run.is_lost(now) for span in run.spans]
    resources = _resources()
    if resources:
        spans += [span for claim in claims.live(resources["database"]) for span in claim.spans]
    return owned(spans, asset, days)


def _not_current(context: dg.AutomationContext[Any], asset: str, days: list[date]) -> set[date]:
    """Days that a run would compute, or that wait for an input, without days after the last upload that were never computed.

    A change reaches weeks of later days through windows; days without uploads should not exist.
    """
    resources = _resources()
    if not resources:
        return set(days)
    span = [min(days) + timedelta(days=n) for n in range((max(days) - min(days)).days + 1)]
    reasons = stale_days(asset, span, resources["database"], resources)
    last = max(seen_objects.upload_days(resources["database"], resources["uploads"].bucket), default=date.min)
    return {day for day in days if day in reasons and (reasons[day] != "new" or day <= last)}


def _resources() -> dict[str, Any]:
    settings = load_settings()
    return resolve(settings) if settings.database_url else {}


@dataclass(frozen=True)
class DaysWhere(dg.AutomationCondition[dg.AssetKey]):
    """The candidate days that `select` returns. label: its name in the UI."""

    label: str
    select: Callable[[Any, str, list[date]], set[date]]

    @property
    def name(self) -> str:
        """The name of the condition in the UI and in its cursor."""
        return self.label

    def __hash__(self) -> int:
        return hash(self.label)

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """The selected candidates; `select` is not called without candidates."""
        keys = context.candidate_subset.expensively_compute_partition_keys()
        if not keys:
            return dg.AutomationResult(context, context.get_empty_subset())
        days = sorted(map(date.fromisoformat, keys))
        keys_where = {day.isoformat() for day in self.select(context, context.key.to_user_string(), days)}
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection_with_partition_keys(keys_where))


BEING_COMPUTED = DaysWhere("being computed by a command or a run", _being_computed)
NOT_CURRENT = DaysWhere("not current by the ledger", _not_current)
