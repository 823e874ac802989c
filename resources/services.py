"""Everything that must be up before a run: servers, buckets, migrations, Dagster's home. One call makes all of it so."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources import s3
from resources.assembly import resolve
from resources.dagster_home import write_dagster_home
from resources.embedded import Services
from resources.errors import ServiceFailed
from resources.settings import Settings, export

EVENT_BATCH = 1000
"""Materializations of a run over many partitions that Dagster stores in one statement."""


def start(settings: Settings, *, detach: bool) -> Settings:
    """Start the embedded servers where no others are set, make buckets, migrate, write Dagster's home.

    Returns the settings with the servers' addresses, which are also in this process's environment and in `HOME/env`
    (mode 0600). detach: the servers outlive this process. A second call attaches to what runs.
    """
    if settings.wants_embedded:
        endpoints = Services(settings.home, settings.embedded_servers).start(detach=detach)
        addresses = {
            "embedded": "true",
            "s3_endpoint": endpoints.s3_endpoint,
            "s3_access_key": endpoints.access_key,
            "s3_secret_key": endpoints.secret_key,
        }
        if endpoints.postgres_url:
            addresses |= {
                "postgres_url": endpoints.postgres_url,
                "dagster_postgres_url": endpoints.dagster_postgres_url,
            }
        _write_env(settings.env_file, {f"DARKROOM_{name.upper()}": value for name, value in addresses.items()})
        settings = Settings.model_validate({**settings.model_dump(), **addresses})
    if settings.dagster_postgres_url is None and not settings.uses_sqlite:
        raise ServiceFailed(
            "DARKROOM_POSTGRES_URL is set, but DARKROOM_DAGSTER_POSTGRES_URL is not: name a database for Dagster's own "
            "tables too. It may be on the same server."
        )
    export(settings)
    os.environ["DAGSTER_HOME"] = str(write_dagster_home(settings))
    # Dagster stores a run's materializations one by one, each on connections of its own, unless it is told a batch size.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    resources = resolve(settings)
    resources["postgres"].migrate()
    for url in (settings.uploads_url, settings.lake_url):
        if url.startswith("s3://"):
            s3.ensure_bucket(s3.client_of(resources["s3"]), url.removeprefix("s3://").split("/")[0])
    return settings


def stop(settings: Settings) -> bool:
    """Stop the embedded servers. Returns whether any ran. The data stay."""
    return Services(settings.home).stop()


def home_size(settings: Settings) -> int:
    """Bytes under the home folder."""
    return sum(path.lstat().st_size for path in settings.home.rglob("*") if not path.is_dir())


def delete_home(settings: Settings) -> None:
    """Delete the home folder with all data. The servers must be stopped."""
    shutil.rmtree(settings.home)


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """The services for the length of a block; those that ran before it go on after it."""
    ran_before = settings.wants_embedded and Services(settings.home, settings.embedded_servers).status().running
    started = start(settings, detach=False)
    try:
        yield started
    finally:
        if settings.wants_embedded and not ran_before:
            stop(settings)


def _write_env(path: Path, values: dict[str, str]) -> None:
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    partial.replace(path)
