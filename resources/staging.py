"""Settings for staging training sets on local disk, shown in the UI."""

import dagster as dg


class StagingPolicy(dg.ConfigurableResource):  # type: ignore[type-arg]
    """keep: number of stagings kept on the disk."""

    keep: int = 3
