"""How training sets are staged on local disk: plain settings, shown in the UI."""

import dagster as dg


class StagingPolicy(dg.ConfigurableResource):  # type: ignore[type-arg]
    """window_days: how many days of mature rows a night's model learns from; keep: stagings left on the disk."""

    window_days: int = 90
    keep: int = 3
