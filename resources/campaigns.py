"""The folder of labeling campaigns. `pipeline_assets/labeling/campaigns` reads what is in them."""

from pathlib import Path

import dagster as dg


class CampaignFiles(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The files `NAME.yaml` of a folder; without the folder there are none."""

    folder: str

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)
