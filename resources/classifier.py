"""Settings of the photo classifier: model and device. `pipeline_assets/classify` loads the model."""

import dagster as dg


class ClassifierChoice(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The photo classifier: a built-in network, or a folder with `model.pt2`, `classes.csv` and `preprocessing.json`.

    Weights load with `weights_only=True`. The compiled form is cached in `cache`, and compiled again when weights, code,
    torch or the processor change.
    """

    model: str = "efficientnet-lite0"
    device: str = "auto"
    cache: str
    batch_size: int = 64
