"""Opens the online store of a URL, and is its Dagster resource. A backend's module is loaded when it is used."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from resources.errors import DatabaseUnusable
from resources.online.contract import OnlineStore

REDIS = ("redis://", "rediss://", "unix://")
POSTGRES = ("postgresql://", "postgres://")


class OnlineStores(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The online store of the settings. file: of the SQLite database, which is used if the URL is empty."""

    url: str = Field("", repr=False)  # it has a password
    file: str

    def open(self) -> OnlineStore:
        """The store, to be closed by the caller. Nothing is connected or created before its first use."""
        return open_store(self.url, Path(self.file))


def open_store(url: str, file: Path) -> OnlineStore:
    """The store at a URL, or in a file if the URL is empty. Raises DatabaseUnusable for a URL of another kind."""
    if not url:
        from resources.online.sqlite import SqliteStore

        return SqliteStore(file)
    if url.startswith(POSTGRES):
        from resources.online.postgres import PostgresStore

        return PostgresStore(url)
    if url.startswith(REDIS):
        try:
            from resources.online.redis_store import RedisStore
        except ImportError:
            raise DatabaseUnusable(
                "DARKROOM_ONLINE_URL names a Redis or Valkey, whose client is not installed: pip install 'darkroom[redis]'."
            ) from None

        return RedisStore(url)
    raise DatabaseUnusable(
        f"DARKROOM_ONLINE_URL begins with {url.split(':')[0]!r}: write postgresql://, redis://, rediss:// (TLS) or "
        "unix:///path/of/socket, or leave it empty for an SQLite file."
    )
