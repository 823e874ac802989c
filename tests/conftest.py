"""The real servers that tests run against: started once for all workers, a fresh bucket, prefix or database for each test."""

import gc
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import ports
import psycopg2
import pytest
from longest import LONGEST, is_its_turn
from psycopg2 import sql
from tools import settings_of

from resources.database.contract import Database
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite
from resources.objects import s3
from resources.objects.backends import boto3_client
from resources.objects.store import ObjectStore
from resources.servers import labeling, weed
from resources.servers.certificates import trust
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints
from resources.servers.label_studio import Account

SHARED_BUCKET = "darkroom-tests"

# How busy the machine is says nothing of the code.
hypothesis.settings.register_profile("darkroom", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("darkroom")

# A shell that starts this in the background ignores Ctrl-C for it; Dagster then ignores SIGTERM too, and so would every
# process that a test starts and wants to end.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)


# The definitions read the settings as they load: those of this checkout's own home, after `make run`, are no test's.
os.environ["DARKROOM_HOME"] = str(Path(tempfile.gettempdir()) / f"darkroom-no-home-{os.getpid()}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure at once, in one process or from many: what hangs later can't hide it."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}", file=sys.__stderr__, flush=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only tests that need no server and are not slow: `make check`")
    parser.addoption("--turn", type=int, help="of the longest files only a third, which one by this number: CI")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first. With `--quick`, without what is slow or surely needs a server; with `--turn`, some of the longest."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    turn = config.getoption("--turn")
    left_out = set()
    if config.getoption("--quick"):
        left_out = {
            item for item in items if item.get_closest_marker("slow") or "services" in getattr(item, "fixturenames", ())
        }
    elif turn is not None:
        left_out = {item for item in items if item.path.name in LONGEST and not is_its_turn(item.path.name, turn)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect thousands of tests without a search for garbage: each would look at all modules, which stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


TRUSTED: list[tuple[Path, Path]] = []
"""The authority of the servers, once they run, and this process's own file of all authorities."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Trust the servers, also after a test has put the environment back to what it was before they ran."""
    for authority, bundle in TRUSTED:
        trust(authority, bundle)


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same in each of its workers."""
    mine = tmp_path_factory.getbasetemp()
    return mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine


@pytest.fixture(scope="session")
def services(of_all_workers: Path, pytestconfig: pytest.Config) -> Iterator[Endpoints]:
    """PostgreSQL and S3 of this run: one of each for all workers, stopped by the last."""
    if pytestconfig.getoption("--quick"):
        pytest.skip("needs PostgreSQL or S3: `make test`")
    home = of_all_workers / "services"
    with Services(home) as endpoints:
        # A test kills processes, never the machine: what is written need not be on the disk.
        _on_server(endpoints.postgres_url, sql.SQL("alter system set fsync = off"))
        _on_server(endpoints.postgres_url, sql.SQL("select pg_reload_conf()"))
        TRUSTED.append((weed.authority(home / "s3"), Path(endpoints.ca_bundle).with_name(f"ca-bundle-{os.getpid()}.pem")))
        yield endpoints


@pytest.fixture(scope="session")
def label_studio(services: Endpoints, of_all_workers: Path) -> Account:
    """Label Studio of this run: one for all workers, installed before the first run, stopped with the other servers."""
    settings = settings_of(of_all_workers / "services", services.ca_bundle)
    return labeling.start(settings, lambda line: print(line, file=sys.__stderr__, flush=True))


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


@pytest.fixture(scope="session")
def new_s3_url(s3_client: Any) -> Callable[[], str]:
    """Names a fresh prefix in a versioned bucket. Cheaper than a bucket of one's own."""
    return lambda: f"s3://{SHARED_BUCKET}/{secrets.token_hex(8)}"


@pytest.fixture
def s3_url(new_s3_url: Callable[[], str]) -> str:
    """A fresh prefix in a versioned bucket."""
    return new_s3_url()


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


@pytest.fixture(scope="session")
def new_postgres(services: Endpoints) -> Callable[[], AbstractContextManager[str]]:
    """Makes a fresh, empty database for a block, whose address it gives; it is dropped afterwards."""

    @contextmanager
    def made() -> Iterator[str]:
        name = f"test_{os.getpid()}_{secrets.token_hex(6)}"
        _on_server(services.postgres_url, sql.SQL("create database {}").format(sql.Identifier(name)))
        yield urlunsplit(urlsplit(services.postgres_url)._replace(path=f"/{name}"))
        _on_server(services.postgres_url, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    return made


@pytest.fixture
def postgres_url(new_postgres: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of a fresh, empty database, dropped afterwards."""
    with new_postgres() as url:
        yield url


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


def _on_server(url: str, statement: sql.Composable) -> None:
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
    return ports.free_port()
