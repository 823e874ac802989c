"""Prepares everything that a run needs: servers, buckets, migrations, Dagster's home."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from resources.assembly import resolve
from resources.errors import ServiceFailed
from resources.files import write_secret
from resources.home import make_home
from resources.objects import s3
from resources.servers.dagster_home import write_dagster_home
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints
from resources.servers.users import User
from resources.settings import Settings, env_lines, export

EVENT_BATCH = 1000
"""Number of materializations of a run that Dagster stores in one statement."""


def start(settings: Settings) -> Settings:
    """Start the embedded servers that the settings need, create buckets, migrate, write Dagster's home.

    Returns the settings with the servers' addresses, which are also written to this process's environment and to `HOME/env`
    (mode 0600). The servers run until `stop`.
    """
    servers = _servers(settings)
    return _prepared(settings, servers.start(detach=True) if servers else None)


def stop(settings: Settings) -> tuple[bool, list[User]]:
    """Stop the embedded servers, also while they are in use. Returns whether any ran, and their users. The data stay."""
    servers = Services(settings.home)
    users = servers.users()
    return servers.stop(), users


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """Start the services as `start` does, for the length of a block; the last block that uses the servers stops them.

    Servers that `start` has started keep running. A process that is killed in its block no longer counts as a user.
    """
    servers = _servers(settings)
    try:
        yield _prepared(settings, servers.start() if servers else None)
    finally:
        if servers:
            servers.leave()


def _servers(settings: Settings) -> Services | None:
    make_home(settings.home, settings.uploads_url, settings.lake_url)
    return Services(settings.home, settings.embedded_servers) if settings.wants_embedded else None


def _prepared(settings: Settings, endpoints: Endpoints | None) -> Settings:
    if endpoints:
        addresses = endpoints.settings()
        write_secret(settings.env_file, env_lines(addresses))
        settings = settings.having(addresses)
    if settings.dagster_postgres_url is None and not settings.uses_sqlite:
        raise ServiceFailed(
            "DARKROOM_DATABASE_URL is set, but DARKROOM_DAGSTER_POSTGRES_URL is not: name a database for Dagster's own "
            "tables too. It may be on the same server."
        )
    export(settings)
    os.environ["DAGSTER_HOME"] = str(write_dagster_home(settings))
    # Without a batch size Dagster stores a run's materializations one by one, each on its own connections.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    resolve(settings)["database"].migrate()
    buckets = [url[5:].split("/")[0] for url in (settings.uploads_url, settings.lake_url) if url.startswith("s3://")]
    if buckets:
        client = s3.client(settings)
        for bucket in buckets:
            s3.ensure_bucket(client, bucket)
    return settings


def home_size(settings: Settings) -> int:
    """Size of the home folder in bytes."""
    return sum(path.lstat().st_size for path in settings.home.rglob("*") if not path.is_dir())


def delete_home(settings: Settings) -> None:
    """Delete the home folder with all data. The servers must be stopped."""
    Services(settings.home).delete_sockets()
    shutil.rmtree(settings.home)
