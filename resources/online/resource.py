"""The online store as a Dagster resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from resources.online.contract import OnlineStore
from resources.online.opening import open_store


class OnlineStores(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The online store of the settings. file: of the SQLite database, which is used if the URL is empty."""

    url: str = Field("", repr=False)  # it has a password
    file: str

    def open(self) -> OnlineStore:
        """The store, to be closed by the caller. Nothing is connected or created before its first use."""
        return open_store(self.url, Path(self.file))
