"""PostgreSQL stopped and started under a run, gone in the middle of a statement, or without a free connection."""

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import psycopg2
import pytest
from fault_proxy import Fault, FaultProxy, HoldBack
from polars.testing import assert_frame_equal
from psycopg2 import sql
from world import TIMEOUT_S, World, database, name_of

from resources.database.postgres import Postgres
from resources.errors import StoreUnavailable
from resources.servers import pgserver
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints
from resources.servers.run_processes import UNFINISHED, end_dead_runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]

FIRST_LOG = "/events/.*gz"
SLEEPING = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"


class Server:
    """A PostgreSQL of this module's own, to stop and start."""

    def __init__(self, home: Path) -> None:
        self.services = Services(home, ["postgres"])

    def start(self) -> None:
        self.url = self.services.start().postgres_url

    def stop(self) -> None:
        self.services.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def moved(world: World, server: Server) -> World:
    """A copy of the computed world whose two databases are on the server that is stopped, its log days to be computed."""
    settings = dict(world.settings)
    for name in ("DARKROOM_DATABASE_URL", "DARKROOM_DAGSTER_POSTGRES_URL"):
        here = database(server.url)
        dump = [str(pgserver.programs() / "pg_dump"), "--no-owner", settings[name]]
        load = [str(pgserver.programs() / "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", here]
        piped(dump, load)
        settings[name] = here
    moved = World(world.home, settings, world.direct)
    moved.uncompute("event_log")
    return moved


def piped(dump: list[str], load: list[str]) -> None:
    """Runs one program into another."""
    with subprocess.Popen(dump, stdout=subprocess.PIPE) as source:
        subprocess.run(load, stdin=source.stdout, check=True, stdout=subprocess.DEVNULL)
    assert source.returncode == 0


def test_a_run_goes_on_after_postgresql_was_stopped_and_started_while_it_worked(
    moved: World, computed: World, server: Server, proxy: FaultProxy
) -> None:
    with moved.started() as process:
        with proxy.faulty(Fault(HoldBack(), FIRST_LOG, "GET")) as held:
            while not any(held()):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.05)
            server.stop()
            server.start()
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert_frame_equal(moved.rows("event_log"), computed.rows("event_log"))
    assert moved.current() == computed.current()


def test_a_run_whose_postgresql_stays_away_says_so_and_the_next_one_completes(
    moved: World, computed: World, server: Server, proxy: FaultProxy
) -> None:
    with moved.started() as process:
        with proxy.faulty(Fault(HoldBack(), FIRST_LOG, "GET")) as held:
            while not any(held()):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.05)
            server.stop()
        output, _ = process.communicate(timeout=TIMEOUT_S)
    server.start()
    assert process.returncode == 1, output
    assert output.splitlines()[-1].startswith("Error: StoreUnavailable: Dagster's database"), output
    assert_frame_equal(moved.rows("event_log"), computed.rows("event_log"))
    said = moved.run()
    assert said.status == 0, said.output
    assert moved.current() == computed.current()
    with moved.instance() as instance:
        assert not instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
        assert not end_dead_runs(instance)


@pytest.mark.parametrize(
    "ask",
    [lambda postgres: postgres.execute("select pg_sleep(30)"), lambda postgres: postgres.read("select pg_sleep(30)::text")],
    ids=["psycopg2", "adbc"],
)
def test_a_statement_whose_server_goes_away_is_a_store_that_is_unavailable(
    server: Server, ask: Callable[[Postgres], object]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, Postgres(url=server.url))
        while not Postgres(url=server.url).read(SLEEPING).item():
            assert not asked.done()
        server.stop()
        try:
            with pytest.raises(StoreUnavailable, match="nothing is committed"):
                asked.result(timeout=30)
        finally:
            server.start()


@pytest.fixture
def crowded(world: World, services: Endpoints) -> Iterator[tuple[World, str]]:
    """A copy of the computed world, as a database user who may have so few connections; and the user's name."""
    name = f"few_{secrets.token_hex(4)}"
    with closing(psycopg2.connect(services.postgres_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        make = "create role {} login password 'few' in role darkroom connection limit 1"
        cursor.execute(sql.SQL(make).format(sql.Identifier(name)))
        settings = dict(world.settings)
        for setting in ("DARKROOM_DATABASE_URL", "DARKROOM_DAGSTER_POSTGRES_URL"):
            address = urlsplit(settings[setting])
            host = address.netloc.rpartition("@")[2]
            settings[setting] = urlunsplit(address._replace(netloc=f"{name}:few@{host}"))
        yield World(world.home, settings, world.direct), name
        for setting in ("DARKROOM_DATABASE_URL", "DARKROOM_DAGSTER_POSTGRES_URL"):
            drop = sql.SQL("drop database {} with (force)")
            cursor.execute(drop.format(sql.Identifier(name_of(settings[setting]))))
        cursor.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_server_without_a_free_connection_is_told_plainly_and_the_run_completes_once_there_are_some(
    crowded: tuple[World, str], services: Endpoints, computed: World
) -> None:
    world, name = crowded
    with closing(psycopg2.connect(world.settings["DARKROOM_DATABASE_URL"])):
        for ask in (lambda: world.postgres.execute("select 1"), lambda: world.postgres.read("select 1")):
            with pytest.raises(StoreUnavailable, match=r"has no free connection.*max_connections"):
                ask()
        said = world.run()
        assert said.status == 1
        assert "StoreUnavailable: PostgreSQL has no free connection" in said.output
        assert "Traceback" not in said.output
    widen = sql.SQL("alter role {} connection limit 20").format(sql.Identifier(name))
    with closing(psycopg2.connect(services.postgres_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(widen)
    world.uncompute("photo_metadata")
    assert world.execute("photo_metadata") == {}
    assert_frame_equal(world.rows("photo_metadata"), computed.rows("photo_metadata"))
