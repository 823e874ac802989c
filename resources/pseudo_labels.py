"""Settings of pseudo-labels, shown in the UI."""

import dagster as dg


class PseudoLabelPolicy(dg.ConfigurableResource):  # type: ignore[type-arg]
    """may_be_taken: whether pseudo-labels whose measured gain is surely above 0 are marked as taken."""

    may_be_taken: bool = False
