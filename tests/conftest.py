"""The real servers that tests run against: started once a session, a fresh bucket, prefix or database for each test."""

import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import psycopg2
import pytest
from psycopg2 import sql

from resources import s3
from resources.database import Database
from resources.embedded import Endpoints, Services
from resources.object_backends import boto3_client
from resources.object_store import ObjectStore
from resources.postgres import Postgres
from resources.processes import free_ports
from resources.sqlite import Sqlite

SHARED_BUCKET = "darkroom-tests"

# How busy the machine is says nothing of the code.
hypothesis.settings.register_profile("darkroom", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("darkroom")

# A shell that starts this in the background ignores Ctrl-C for it; Dagster then ignores SIGTERM too, and so would every
# process that a test starts and wants to end.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure at once, in one process or from many: what hangs later can't hide it."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}", file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """PostgreSQL and S3 of this session."""
    home = tmp_path_factory.mktemp("services")
    with Services(home) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def s3_client(services: Endpoints) -> Iterator[Any]:
    """A boto3 client of the session's S3."""
    client = boto3_client(services.s3_endpoint, services.access_key, services.secret_key, services.region)
    s3.ensure_bucket(client, SHARED_BUCKET)
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """The name of a fresh, versioned bucket."""
    name = f"b-{secrets.token_hex(8)}"
    s3.ensure_bucket(s3_client, name)
    return name


@pytest.fixture
def s3_url(s3_client: Any) -> str:
    """A fresh prefix in a versioned bucket. Cheaper than a bucket of one's own."""
    return f"s3://{SHARED_BUCKET}/{secrets.token_hex(8)}"


@pytest.fixture
def s3_options(services: Endpoints) -> dict[str, str]:
    """What ObjectStore.open needs beside an s3:// URL."""
    return {
        "endpoint": services.s3_endpoint,
        "access_key": services.access_key,
        "secret_key": services.secret_key,
        "region": services.region,
    }


@pytest.fixture
def object_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], ObjectStore]:
    """Opens an empty store: `folder`, `s3` or `memory`. The servers start only if S3 is asked for."""

    def opened(backend: str) -> ObjectStore:
        if backend == "s3":
            return ObjectStore.open(request.getfixturevalue("s3_url"), **request.getfixturevalue("s3_options"))
        return ObjectStore.open("memory://" if backend == "memory" else (tmp_path / "objects").as_uri())

    return opened


@pytest.fixture
def postgres_url(services: Endpoints) -> Iterator[str]:
    """The address of a fresh, empty database, dropped afterwards."""
    name = f"test_{os.getpid()}_{secrets.token_hex(6)}"
    _on_server(services.postgres_url, sql.SQL("create database {}").format(sql.Identifier(name)))
    yield urlunsplit(urlsplit(services.postgres_url)._replace(path=f"/{name}"))
    _on_server(services.postgres_url, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(params=["postgres", "sqlite"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database of each kind, without a table. The servers start only for PostgreSQL."""
    if request.param == "postgres":
        return Postgres(url=request.getfixturevalue("postgres_url"))
    (tmp_path / "database").mkdir()
    return Sqlite(url=f"sqlite:///{tmp_path / 'database' / 'darkroom.db'}")


@pytest.fixture
def database(empty_database: Database) -> Database:
    """A database of each kind, migrated."""
    empty_database.migrate()
    return empty_database


def _on_server(url: str, statement: sql.Composed) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture
def free_port() -> int:
    """A port of this machine on which nothing listens."""
    return free_ports(1)[0]
