"""When assets materialize by themselves.

The sensor asks for what was uploaded; the nightly schedule for what time alone makes ready; between them a day follows
the days that it reads, late ones too. The event log starts nothing: each of its days reaches six weeks of others, and the
nightly job reads it.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipeline_assets.partitions import Days

LATER = "event_log"
"""The input whose changes wait for the nightly job."""


def when_inputs_change(inputs: Mapping[str, Days]) -> dg.AutomationCondition[Any]:
    """Any day whose inputs have changed, once its own day of each is there.

    Unlike `eager`, not the latest day alone, since uploads come late; and days before the first need not exist, since a
    look-back reads a missing day as empty.
    """
    missing = dg.AutomationCondition.any_deps_missing()
    looking_back = [name for name, days in inputs.items() if not days.is_same_day]
    if looking_back:
        missing = missing.ignore(dg.AssetSelection.assets(*looking_back))
    condition = (
        dg.AutomationCondition.eager()
        .without(dg.AutomationCondition.in_latest_time_window())
        .replace("any_deps_missing", missing)
    )
    return condition.ignore(dg.AssetSelection.assets(LATER)) if LATER in inputs else condition
