"""Opens the online store of a URL. A backend's module is loaded when it is used, and nothing here loads Dagster."""

from pathlib import Path

from resources.errors import DatabaseUnusable
from resources.online.contract import OnlineStore

REDIS = ("redis://", "rediss://", "unix://")
POSTGRES = ("postgresql://", "postgres://")


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
