"""PostgreSQL behind a real PgBouncer in transaction mode, where each transaction may be of another session."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import psycopg2
import pytest

from resources.database import seen_objects
from resources.database.postgres import Postgres
from resources.servers import pgserver
from resources.servers.processes import LAUNCHER

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
CONFIG = """
[databases]
{database} = host={host} port={port} dbname={database} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = any
pool_mode = transaction
default_pool_size = 6
server_round_robin = 1
"""


@pytest.fixture
def pooled(postgres_url: str, tmp_path: Path, free_port: int) -> Iterator[Postgres]:
    """A fresh, migrated database behind a pool that gives every transaction the session that was idle for longest."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    Postgres(url=postgres_url).migrate()
    parts = urlsplit(postgres_url)
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            database=parts.path[1:],
            host=dict(parse_qsl(parts.query))["host"],
            port=5432,
            user=parts.username,
            password=parts.password,
            listen=free_port,
        )
    )
    words = [PGBOUNCER, str(config)]
    if os.getuid() == 0:  # it refuses to be root, and nobody else may enter the folder of PostgreSQL's socket
        for folder in (config, *tmp_path.parents[:2], tmp_path):
            folder.chmod(0o755)
        as_server = pgserver.run_as(tmp_path / "data").launcher_options
        words = [sys.executable, "-I", "-S", str(LAUNCHER), "--keep-umask", *as_server, "--", *words]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log)
    url = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{free_port}", query=""))
    try:
        wait_for(url, process, tmp_path / "log")
        yield Postgres(url=url)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            psycopg2.connect(url).close()
            return
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.05)


def spread(pooled: Postgres) -> None:
    """Open the sessions of the pool, so that what comes next goes from one to the other."""
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: pooled.rows("select pg_sleep(0.2)"), range(6)))


def test_a_named_lock_is_held_by_one_and_free_right_after(pooled: Postgres) -> None:
    spread(pooled)
    for _ in range(12):
        with pooled.lock("walk") as first, pooled.lock("walk") as second, pooled.lock("other") as other:
            pooled.rows("select 1")
            assert (first, second, other) == (True, False, True)
    mine = "select count(*) from pg_locks join pg_database d on d.oid = database where locktype = 'advisory' and datname = current_database()"
    assert pooled.rows(mine) == [(0,)]


def test_reads_and_migrations_go_through(pooled: Postgres) -> None:
    spread(pooled)
    at = datetime(2026, 2, 1, tzinfo=UTC)
    assert pooled.migrate() == []
    seen_objects.add_objects(pooled, [seen_objects.SeenObject("b", "k", "v", "e", 1, at, date(2026, 2, 1))])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: pooled.read("select $1::bigint as n, key from objects", (n,)).rows(), range(40)))
    assert found == [[(n, "k")] for n in range(40)]
