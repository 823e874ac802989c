"""The asset check `current` of every table: how many of its days are not current, and why. It warns and blocks nothing.

One step answers for all assets from one survey, and it is no part of what makes them: it runs each night and when asked
(the job `check_current`, or Execute in the UI), and neither with the sensors' runs nor with those of `darkroom run`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipeline_assets import nightly
from pipeline_assets.catalog import DECLARATIONS
from pipeline_assets.currency import Survey, survey
from pipeline_assets.status import lines
from pipeline_assets.versioning import staleness

NIGHTLY: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed("0 5 * * *", "UTC")
"""Also keeps it out of the runs that automation asks for: a check with a condition of its own does not ride along."""
LINES = 5
RESOURCES = frozenset({"postgres", "lake_bucket"}.union(*(DECLARATIONS[name].outside for name in nightly.ASSETS)))
"""What the ledger, the logs' days and the sources of all assets are read through."""


@dg.multi_asset_check(
    name="current_days",
    specs=[
        dg.AssetCheckSpec(
            "current",
            asset=name,
            description="every day that ought to be there was made by today's code from inputs as they are",
            automation_condition=NIGHTLY,
        )
        for name in nightly.ASSETS
    ],
    can_subset=True,
    required_resource_keys=set(RESOURCES),
)
def current_days(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Judge all days once, and tell each asset's part."""
    judged = survey({name: getattr(context.resources, name) for name in RESOURCES}, datetime.now(UTC).date())
    for key in sorted(context.selected_asset_check_keys):
        yield result(judged, key.asset_key.to_user_string())


def result(judged: Survey, asset: str) -> dg.AssetCheckResult:
    """What a survey says of one asset: how many days are not current, for which reasons, and the first of them."""
    mine = judged.of([asset], None)
    counted = staleness.counts(mine.stale["reason"])
    told = ", ".join(f"{count:,} days: {reason}" for reason, count in counted.items())
    first = list(lines(mine.stale))[:LINES]
    return dg.AssetCheckResult(
        passed=not counted,
        asset_key=asset,
        check_name="current",
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join([f"{told}; `darkroom refresh --asset {asset}`", *first])
        if counted
        else "every day is current",
        metadata={"days": mine.days.height, "not_current": mine.stale.height, **counted},
    )
