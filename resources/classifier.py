"""Which photo classifier runs, and where: plain settings. The model itself is loaded by `pipeline_assets/classify`."""

import dagster as dg


class ClassifierChoice(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The photo classifier: a built-in network, or a folder of yours with `model.pt2`, `classes.csv`, `preprocessing.json`.

    Weights load with `weights_only=True`. The compiled form is kept in `cache` and made anew when weights, code, torch or
    the processor change.
    """

    model: str = "efficientnet-lite0"
    device: str = "auto"
    cache: str
    batch_size: int = 64
