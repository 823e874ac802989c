"""Another user of this machine who is first at a port, or at the name of a socket, hears no secret and none of the data."""

import errno
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import deltalake
import polars as pl
import psycopg2
import pytest
import sqlalchemy
from served_ui import until
from strangers import PASSWORD_PLEASE, REFUSAL, bind, listen, needs_root, ports_of, stranger, take, take_first

from pipeline_assets.commands.session import services
from resources.database.postgres import Postgres
from resources.errors import ResourceError, ServiceFailed, StoreUnavailable
from resources.lake.lake import Lake
from resources.objects import s3
from resources.objects.backends import boto3_client
from resources.objects.store import ObjectStore
from resources.servers import weed
from resources.servers.certificates import make_identity
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints
from resources.servers.processes import GRPC_OFFSET, ProcessId, is_free, listening, started_s
from resources.settings import CONNECTION, Settings, plain

pytestmark = pytest.mark.slow

BYTES = b"the bytes of a photo" * 5_000
PASSWORD = "a-password-of-yours"  # noqa: S105


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    Services(tmp_path / "home").stop()


def keys(endpoints: Endpoints) -> dict[str, str]:
    return {"endpoint": endpoints.s3_endpoint, "access_key": endpoints.access_key, "secret_key": endpoints.secret_key}


def client(endpoints: Endpoints) -> Any:
    return boto3_client(endpoints.s3_endpoint, endpoints.access_key, endpoints.secret_key, endpoints.region)


def is_harmless(told: object) -> bool:
    """Whether bytes that were heard hold no request: a TLS greeting is all that a server sees before it proves itself."""
    return not isinstance(told, bytes) or (b"AWS4-HMAC" not in told and b"HTTP/1" not in told and BYTES[:20] not in told)


def use(endpoints: Endpoints) -> None:
    """A bucket, an object, a database."""
    s3.ensure_bucket(client(endpoints), "photos")
    store = ObjectStore.open("s3://photos", **keys(endpoints))
    store.put("a.jpg", BYTES)
    assert store.get("a.jpg") == BYTES
    assert Postgres(url=endpoints.postgres_url).rows("select 1") == [(1,)]


# PostgreSQL


@needs_root
def test_a_password_is_not_told_to_another_user_who_listens_where_postgresql_is_about_to(home: Path) -> None:
    with stranger(take_first, r" port=(\d+)", str(home), PASSWORD_PLEASE, 1) as other:
        with Services(home) as endpoints:
            use(endpoints)
        heard = other.heard()
    secret = psycopg2.extensions.parse_dsn(endpoints.postgres_url)["password"]
    assert [told for told in heard if isinstance(told, bytes) and secret.encode() in told] == []
    assert [told for told in heard if isinstance(told, bytes)] == []  # nobody called: the number is part of a file's name


@needs_root
def test_postgresql_is_behind_a_folder_that_another_user_can_not_enter(home: Path) -> None:
    def try_to_enter(tell: Any, folder: str) -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            tell(probe.connect_ex(f"{folder}/.s.PGSQL.5432"))

    with Services(home) as endpoints:
        folder = psycopg2.extensions.parse_dsn(endpoints.postgres_url)["host"]
        with stranger(try_to_enter, folder) as other:
            assert other.told() == 13  # permission denied
        assert not {place for place in listening(server_of(home, "postgres")) if isinstance(place, int)}


@needs_root
def test_a_socket_that_another_user_put_in_the_place_of_ours_is_not_talked_to(tmp_path: Path) -> None:
    """Where the home's path is too long, the socket lies below the system's temporary folder, which something may clean."""
    long = tmp_path / ("long-" * 30)
    with Services(long) as endpoints:
        url = endpoints.postgres_url
        folder = Path(psycopg2.extensions.parse_dsn(url)["host"])
        assert not folder.is_relative_to(tmp_path)
        assert folder.stat().st_mode & 0o077 == 0
    with Services(long) as endpoints:
        assert endpoints.postgres_url == url
    folder.rmdir()

    def take_over(tell: Any) -> None:
        folder.mkdir()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/.s.PGSQL.5432")
        folder.chmod(0o777)
        Path(f"{folder}/.s.PGSQL.5432").chmod(0o777)
        listener.listen()
        tell("took")
        listen(tell, listener, PASSWORD_PLEASE)

    with stranger(take_over) as other:
        assert other.told() == "took"
        with pytest.raises(psycopg2.OperationalError, match=r"requirepeer|local user with ID 54321"):
            psycopg2.connect(url)
        with pytest.raises(StoreUnavailable):
            Postgres(url=url).read("select 1")
        assert other.heard() == []
    with Services(long) as endpoints:
        assert Path(psycopg2.extensions.parse_dsn(endpoints.postgres_url)["host"]) != folder


@needs_root
def test_the_password_of_a_database_of_your_own_is_not_sent_in_clear_text(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port}/app"
    found = Settings(database_url=address, dagster_postgres_url=f"{address}?application_name=x")
    with stranger(take, free_port, PASSWORD_PLEASE) as other:
        assert other.told() == ("took", free_port)
        with pytest.raises(StoreUnavailable, match="clear"):
            Postgres(url=plain(found.database_url)).rows("select 1")
        with pytest.raises(StoreUnavailable):
            Postgres(url=plain(found.database_url)).read("select 1")
        with pytest.raises(sqlalchemy.exc.OperationalError):
            sqlalchemy.create_engine(plain(found.dagster_postgres_url)).connect()
        heard = other.heard()
    assert len(heard) >= 3
    assert not [told for told in heard if PASSWORD.encode() in told]


# S3


@needs_root
@pytest.mark.parametrize("name", ["s3", "master", "volume"])
def test_a_start_whose_port_another_user_takes_goes_to_other_ports(home: Path, name: str) -> None:
    with stranger(take_first, rf"-{name}\.port=(\d+)", f"{home}/s3", REFUSAL, 1) as other:
        with Services(home) as endpoints:
            use(endpoints)
            assert set(Services(home).status().ports.values()) <= listening(server_of(home, "s3"))
        heard = other.heard()
    assert heard[0][0] == "took"
    assert all(map(is_harmless, heard[1:]))


@needs_root
def test_a_start_whose_ports_another_user_takes_each_time_is_given_up_and_says_so(home: Path) -> None:
    with stranger(take_first, r"-s3\.port=(\d+)", f"{home}/s3", REFUSAL, 99) as other:
        with pytest.raises(ServiceFailed, match=r"(?s)on other ports, so somebody on this machine does it on purpose"):
            Services(home).start()
        heard = other.heard()
    assert sum(isinstance(told, tuple) for told in heard) == 3
    assert all(map(is_harmless, heard))
    assert not any(Services(home).status().pids.values())


@needs_root
@pytest.mark.parametrize("speaks_tls", [False, True])
def test_who_has_the_port_after_the_server_died_hears_neither_signatures_nor_bytes(home: Path, speaks_tls: bool) -> None:
    """A command, a run or a sensor that knows the address from before: it may not know that the server died."""
    services = Services(home)
    endpoints = services.start()
    use(endpoints)
    lake = Lake(url="s3://photos/lake", **keys(endpoints), timeout_s=0.5)
    rows = pl.DataFrame({"photo": ["the bytes of a photo"]})
    deltalake.write_deltalake(lake.uri("t"), rows.to_arrow(), storage_options=lake.storage_options)
    context = a_server_of_the_stranger(home.parent) if speaks_tls else None
    port = services.status().ports["s3"]
    os.kill(services.status().pids["s3"], signal.SIGKILL)
    with stranger(take, port, REFUSAL, context) as other:
        assert other.told() == ("took", port)
        with pytest.raises(ResourceError):
            ObjectStore.open("s3://photos", **keys(endpoints), timeout_s=0.5).put("b.jpg", BYTES)
        with pytest.raises(botocore.exceptions.BotoCoreError):
            client(endpoints).put_object(Bucket="photos", Key="b.jpg", Body=BYTES)
        with pytest.raises(OSError):
            deltalake.write_deltalake(lake.uri("u"), rows.to_arrow(), storage_options=lake.delta_options)
        with pytest.raises((OSError, pl.exceptions.PolarsError)):
            pl.scan_parquet("s3://photos/lake/x.parquet", storage_options=lake.polars_options).collect()
        heard = other.heard()
        assert all(map(is_harmless, heard)), heard
        again = services.restart()
        assert again.s3_endpoint != endpoints.s3_endpoint
        assert ObjectStore.open("s3://photos", **keys(again)).get("a.jpg") == BYTES


def test_a_command_asks_the_servers_that_run_not_those_that_a_shell_remembers(
    home: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CONNECTION:
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", "")
    with Services(home) as endpoints:
        monkeypatch.setenv("DARKROOM_HOME", str(home))
        monkeypatch.setenv("DARKROOM_EMBEDDED", "true")
        monkeypatch.setenv("DARKROOM_S3_ENDPOINT", f"http://127.0.0.1:{free_port}")
        monkeypatch.setenv("DARKROOM_DATABASE_URL", f"postgresql://darkroom:x@127.0.0.1:{free_port}/darkroom")
        with services(stores_only=True) as settings:
            assert (settings.s3_endpoint, plain(settings.database_url)) == (endpoints.s3_endpoint, endpoints.postgres_url)
            assert os.environ["DARKROOM_S3_ENDPOINT"] == endpoints.s3_endpoint


def a_server_of_the_stranger(folder: Path) -> ssl.SSLContext:
    """With a certificate for 127.0.0.1, from an authority of its own."""
    identity = make_identity("darkroom-s3-https")
    (folder / "own.pem").write_text(identity.certificate + identity.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem")
    return context


# The Unix sockets of the S3 server's own parts, on which they ask each other for no certificate.


def take_names(tell: Any, paths: list[str]) -> None:
    """Listen on Unix sockets of these names."""
    listeners = [socket.socket(socket.AF_UNIX) for _ in paths]
    for listener, path in zip(listeners, paths, strict=True):
        listener.bind(path)
        listener.listen()
    tell("took")
    signal.pause()


def names(ports: dict[str, int]) -> list[str]:
    return [f"/tmp/seaweedfs-{name}-grpc-{port + GRPC_OFFSET}.sock" for name, port in ports.items()]  # noqa: S108


@needs_root
def test_names_in_tmp_that_another_user_took_neither_stop_a_start_nor_are_used(home: Path) -> None:
    with Services(home):
        before = Services(home).status().ports
    with stranger(take_names, names(before)) as other:
        try:
            assert other.told() == "took"
            with Services(home) as endpoints:
                use(endpoints)
                assert weed._places(Services(home).status().ports) <= listening(server_of(home, "s3"))
        finally:
            for name in names(before):
                Path(name).unlink(missing_ok=True)


@needs_root
def test_a_server_that_may_have_a_tmp_of_its_own_needs_no_other_ports(own_folder: Path) -> None:
    assert any(starts_again_where_it_was(own_folder) for _ in range(4)), "other tests take a port, but not each time"


def starts_again_where_it_was(own_folder: Path) -> bool:
    """Whether a server has its ports again although others took its names in /tmp. It leaves a port only if another has it."""
    with Services(own_folder):
        before = Services(own_folder).status().ports
    with stranger(take_names, names(before)) as other:
        try:
            assert other.told() == "took"
            with Services(own_folder) as endpoints:
                use(endpoints)
                until(lambda: len(list((own_folder / "s3" / "tmp").glob("*.sock"))) == 5, "its sockets are there", 30)
                ports = Services(own_folder).status().ports
                left = [port + offset for name, port in before.items() if ports[name] != port for offset in (0, GRPC_OFFSET)]
                assert not left or not all(map(is_free, left)), "it left ports that nobody took"
                return not left
        finally:
            for name in names(before):
                Path(name).unlink(missing_ok=True)


@pytest.fixture
def own_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A home that does not lie under /tmp."""
    folder = Path("/var/tmp") / f"darkroom-test-{os.getpid()}"  # noqa: S108
    yield folder
    Services(folder).stop()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@needs_root
def test_a_name_in_tmp_is_ours_before_a_server_starts_that_needs_it(home: Path) -> None:
    def take_name(tell: Any) -> None:
        for port in ports_of(r"-volume\.port\.grpc=(\d+)", f"{home}/s3"):
            with socket.socket(socket.AF_UNIX) as listener:
                try:
                    listener.bind(f"/tmp/seaweedfs-volume-grpc-{port}.sock")  # noqa: S108
                    tell("took")
                except OSError as error:
                    tell(errno.errorcode[error.errno])

    with stranger(take_name) as other, Services(home) as endpoints:
        assert other.told() == "EADDRINUSE"
        use(endpoints)
        assert weed._places(Services(home).status().ports) <= listening(server_of(home, "s3"))


def server_of(home: Path, name: str) -> ProcessId:
    pid = Services(home).status().pids[name]
    assert pid is not None
    return ProcessId(pid, started_s(pid))


# The port of the UI


@needs_root
def test_the_port_of_the_ui_is_ours_from_the_first_moment_on(free_port: int) -> None:
    def try_all(tell: Any, port: int) -> None:
        tell(bind(port) is None)
        with socket.socket() as shared:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            tell(shared.connect_ex(("127.0.0.1", port)))

    from resources.servers.ui import bound

    with bound(free_port), stranger(try_all, free_port) as other:
        assert other.told() is True
        assert other.told() == 0  # it can call, and not listen
    with bound(free_port), pytest.raises(ServiceFailed, match="DARKROOM_UI_PORT"):
        bound(free_port)
