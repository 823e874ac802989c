"""When assets materialize automatically.

The sensor requests days with uploads, the nightly schedule days that mature with time, and automation any day whose inputs
have changed, however old. The event log triggers nothing: each of its days affects six weeks of others, and the nightly job
reads it. Automation skips days that the ledger calls current, and days that are being computed; it requests those later if
they are still stale. A day whose run failed is requested again every six hours.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipeline_assets.framework.owners import BEING_COMPUTED, NOT_CURRENT
from pipeline_assets.framework.partitions import Days

AGAIN = "17 */6 * * *"
"""When days whose run failed are requested again, without limit: `eager` alone requests them once."""
LATER = "event_log"
"""The input whose changes wait for the nightly job."""


def when_inputs_change(inputs: Mapping[str, Days]) -> dg.AutomationCondition[Any]:
    """Materialize any day whose inputs have changed, once the same day of each exists.

    Unlike `eager`, this is not limited to the latest day, since uploads arrive late; and days before the first partition
    need not exist, since a look-back reads a missing day as empty.
    """
    missing = dg.AutomationCondition.any_deps_missing()
    looking_back = [name for name, days in inputs.items() if not days.is_same_day]
    if looking_back:
        missing = missing.ignore(dg.AssetSelection.assets(*looking_back))
    any_deps = dg.AutomationCondition.any_deps_updated()
    along = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested())
    again = dg.AutomationCondition.cron_tick_passed(AGAIN, "UTC") & dg.AutomationCondition.execution_failed() & NOT_CURRENT
    condition = (
        dg.AutomationCondition.eager()
        .without(dg.AutomationCondition.in_latest_time_window())
        .replace("any_deps_missing", missing)
        .replace("any_deps_updated", (any_deps & NOT_CURRENT) | along | again)
    ) & ~BEING_COMPUTED
    return condition.ignore(dg.AssetSelection.assets(LATER)) if LATER in inputs else condition
