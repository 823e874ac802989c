"""A small job through `darkroom ui`, then every place where a secret could have leaked to is searched for each of them."""

import contextlib
import json
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import listening
import psutil
import psycopg2
import pytest
from psycopg2 import sql
from served_ui import Ui, command_line, photo, served, until
from strangers import REFUSAL, needs_root, stranger, take

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PUBLIC = {"access_key"}
"""A name, as AWS logs it too; it lets nobody in."""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    root = tmp_path_factory.mktemp("secrets")
    folder = root / "photos"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(photo(1))
    with served(root, folder, 1) as running:
        until(lambda: _rows(running) == 1, "the sensor had the photo ingested, by a run of the daemon")
        yield running


def _rows(ui: Ui) -> int:
    query = "select coalesce(sum(rows), 0)::bigint as rows from materializations where asset = 'raw_uploads'"
    return ui.postgres.read(query)["rows"][0]


@pytest.fixture(scope="module")
def secrets(ui: Ui) -> dict[str, str]:
    made: dict[str, str] = json.loads(_home(ui).joinpath("credentials.json").read_text())
    keys = {name: (_home(ui) / "s3" / f"{name}.pem").read_text().splitlines()[1] for name in ("grpc-key", "https-key")}
    return {name: value for name, value in made.items() if name not in PUBLIC} | keys


def _home(ui: Ui) -> Path:
    return Path(ui.env["DARKROOM_HOME"])


def _found(secrets: dict[str, str], places: Iterator[tuple[str, bytes]]) -> tuple[int, list[tuple[str, str]]]:
    """How many places there were, and which secret was found where."""
    searched, found = 0, []
    for place, content in places:
        searched += 1
        found += [(place, name) for name, value in secrets.items() if value.encode() in content]
    return searched, found


def _database_rows(url: str) -> Iterator[tuple[str, bytes]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE'")
            tables = [names for names in cursor.fetchall() if names[0] != "pg_catalog"]
            for schema, table in tables:
                cursor.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(schema, table)))
                yield f"table {schema}.{table}", "\n".join(row for (row,) in cursor.fetchall()).encode()
    finally:
        connection.close()


def test_no_secret_is_in_dagsters_tables_or_ours(ui: Ui, secrets: dict[str, str]) -> None:
    """Runs with their configuration and tags, events with metadata and errors, ticks, schedules, ledgers."""
    for name in ("DARKROOM_DAGSTER_POSTGRES_URL", "DARKROOM_DATABASE_URL"):
        searched, found = _found(secrets, _database_rows(ui.env[name]))
        assert found == []
        assert searched > 5


def test_no_secret_is_in_an_object_a_delta_log_or_the_log_of_a_run(ui: Ui, secrets: dict[str, str]) -> None:
    def objects() -> Iterator[tuple[str, bytes]]:
        store = ui.lake_bucket
        for info in store.list():
            yield info.key, store.get(info.key)

    keys = [key for key, _ in objects()]
    assert any("_delta_log" in key for key in keys)
    # Dagster uploads a run's log once the run is over.
    until(lambda: next(ui.lake_bucket.list("dagster/logs/"), None) is not None, "the log of a run")
    assert _found(secrets, objects())[1] == []


def test_no_secret_is_in_a_log_or_in_a_file_that_others_can_read(ui: Ui, secrets: dict[str, str]) -> None:
    home = _home(ui)

    def files() -> Iterator[tuple[str, bytes]]:
        yield str(ui.log), ui.log.read_bytes()
        for path in (*(home / "logs").iterdir(), *(home / "dagster").rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()

    searched, found = _found(secrets, files())
    assert found == []
    assert searched > 4
    holders = ("env", "credentials.json", "s3/s3.json", "s3/security.toml", "s3/grpc-key.pem", "s3/https-key.pem")
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in holders} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) in (0o700, 0o711)


def test_no_secret_is_in_what_the_ui_answers(ui: Ui, secrets: dict[str, str]) -> None:
    """The instance's configuration, and the resources with theirs."""
    query = """{ instance { info } workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
        ... on RepositoryLocation { repositories { allTopLevelResourceDetails {
            name configuredValues { key value type } } } } } } } } }"""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{ui.url}/graphql", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        answer = response.read()
    assert b"DARKROOM_S3_SECRET_KEY" in answer  # the name of the variable
    assert _found(secrets, iter([("the UI", answer)]))[1] == []


def test_no_secret_is_in_a_command_line_and_environments_are_for_the_owner_alone(ui: Ui, secrets: dict[str, str]) -> None:
    family = psutil.Process().children(recursive=True)
    processes = psutil.process_iter(["cmdline"])  # of one that ends meanwhile it is None
    commands = [(str(p.pid), "\0".join(p.info["cmdline"] or ()).encode()) for p in processes]
    assert len(family) > 5
    assert _found(secrets, iter(commands))[1] == []
    if Path("/proc").is_dir():
        # Linux shows a process's environment to its owner and to root alone.
        modes = []
        for process in family:
            with contextlib.suppress(FileNotFoundError):  # it has ended
                modes.append((Path("/proc") / str(process.pid) / "environ").stat())
        assert len(modes) > 5
        assert {mode.st_mode & 0o077 for mode in modes} == {0}
        assert {mode.st_uid for mode in modes} == {os.getuid()}


def test_everything_listens_on_the_loopback_address_alone(ui: Ui) -> None:
    """The whole family: servers, code server, webserver, daemon, runs."""
    addresses = listening.addresses(psutil.Process().children(recursive=True))
    ports = {address.port for address in addresses}
    assert {int(ui.url.rsplit(":", 1)[1]), int(ui.env["DARKROOM_S3_ENDPOINT"].rsplit(":", 1)[1])} <= ports
    assert {address.ip for address in addresses} == {"127.0.0.1"}


def test_a_strangers_page_starts_nothing(ui: Ui) -> None:
    """The guard is in place, in the webserver that really runs."""
    query = b'{"query": "{ version }"}'
    statuses = []
    for headers in (
        {"content-type": "application/json"},
        {"content-type": "application/json", "origin": "https://evil.example"},
        {"content-type": "text/plain"},
        {"content-type": "application/json", "host": "evil.example"},
    ):
        request = urllib.request.Request(f"{ui.url}/graphql?query={{version}}", query, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                statuses.append(response.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    assert statuses == [200, 403, 415, 421]


@needs_root
def test_nobody_takes_the_port_of_the_ui_while_its_webserver_is_started_again(ui: Ui) -> None:
    family = psutil.Process().children(recursive=True)
    webserver = next(process for process in family if "resources.servers.webserver" in command_line(process))
    with stranger(take, int(ui.url.rsplit(":", 1)[1]), REFUSAL) as other:
        webserver.kill()
        until(lambda: _answers(ui), "the UI answers again", 120)
        assert other.heard() == []


def _answers(ui: Ui) -> bool:
    try:
        with urllib.request.urlopen(f"{ui.url}/server_info", timeout=10) as response:  # noqa: S310
            return response.status == 200
    except OSError:
        return False
