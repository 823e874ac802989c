"""When assets materialize by themselves: the conditions that table assets share.

The sensor asks for what was uploaded; the nightly schedule for what time alone makes ready; between them a day follows
the days that it reads, late ones too. The event log does not start anything: each log day reaches six weeks of others,
and the nightly job reads it.
"""

import dagster as dg

_EVENT_LOG = dg.AssetSelection.assets("event_log")

WHEN_INPUTS_CHANGE = (
    dg.AutomationCondition.eager()
    .without(dg.AutomationCondition.in_latest_time_window())
    .ignore(_EVENT_LOG)
    .with_label("when_inputs_change")
)
"""Any day of it whose inputs are there and have changed: not only the latest, since uploads come late."""
