"""The asset check `current` of every table: how many of its days are not current, and why. It warns and never blocks.

One step evaluates the check for all assets from one survey. It runs each night and on request (the job `check_current`, or
Execute in the UI), but not in runs that compute days: those of sensors and of `darkroom run`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipeline_assets.catalog import DECLARATIONS
from pipeline_assets.framework import staleness
from pipeline_assets.nightly import calendars
from pipeline_assets.nightly.lines import lines
from pipeline_assets.nightly.survey import Survey, survey
from pipeline_assets.runtime.visible import markdown

NIGHTLY: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed("0 5 * * *", "UTC")
"""A check with its own condition is not added to the runs that automation requests for assets."""
LINES = 5
"""Reasons listed in the description of one result."""
RESOURCES = frozenset(
    {"lake", "database", "lake_bucket"}.union(
        *([*DECLARATIONS[name].source_resources, *DECLARATIONS[name].choosing_resources] for name in calendars.ASSETS)
    )
)
"""The resources that a survey of all assets reads."""


@dg.multi_asset_check(
    name="current_days",
    specs=[
        dg.AssetCheckSpec(
            "current",
            asset=name,
            description="every day that should exist was computed by today's code from today's inputs",
            automation_condition=NIGHTLY,
        )
        for name in calendars.ASSETS
    ],
    can_subset=True,
    required_resource_keys=set(RESOURCES),
)
def current_days(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Survey all days once, and yield one result for each selected asset."""
    judged = survey({name: getattr(context.resources, name) for name in RESOURCES}, datetime.now(UTC).date())
    for key in sorted(context.selected_asset_check_keys):
        yield result(judged, key.asset_key.to_user_string())


def result(judged: Survey, asset: str) -> dg.AssetCheckResult:
    """The result of one asset: the number of days that are not current, by reason, and the first of them in words."""
    of_asset = judged.of([asset], None)
    days_by_reason = staleness.counts(of_asset.stale["reason"])
    totals = ", ".join(f"{count:,} days: {reason}" for reason, count in days_by_reason.items())
    first = list(lines(of_asset.stale))[:LINES]
    return dg.AssetCheckResult(
        passed=not days_by_reason,
        asset_key=asset,
        check_name="current",
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join([f"{totals}; `darkroom refresh --asset {asset}`", *map(markdown, first)])
        if days_by_reason
        else "every day is current",
        metadata={"days": of_asset.days.height, "not_current": of_asset.stale.height, **days_by_reason},
    )
