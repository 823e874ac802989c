"""The servers that come along: found again, alone on this machine, closed to strangers, and never left behind."""

import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import listening
import psutil
import psycopg2
import pytest

from resources.errors import ServiceFailed
from resources.objects import s3
from resources.objects.backends import boto3_client
from resources.objects.store import ObjectStore
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints
from resources.servers.processes import GRPC_OFFSET

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    Services(folder).stop()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose servers were started and stopped once."""
    folder = tmp_path_factory.mktemp("template") / "home"
    with Services(folder):
        return folder


@pytest.fixture
def used_home(template: Path, home: Path) -> Path:
    """A copy of it: quicker than making a database anew."""
    shutil.copytree(template, home)
    return home


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoints]]:
    """Servers of this module's own, for the tests that only look."""
    folder = tmp_path_factory.mktemp("live")
    with Services(folder) as endpoints:
        listening.until_all_ports_are_open(folder)
        yield folder, endpoints


def store_of(endpoints: Endpoints, bucket: str) -> ObjectStore:
    keys = {"access_key": endpoints.access_key, "secret_key": endpoints.secret_key, "region": endpoints.region}
    return ObjectStore.open(f"s3://{bucket}", endpoint=endpoints.s3_endpoint, **keys)


def make_bucket(endpoints: Endpoints, name: str) -> None:
    client = boto3_client(endpoints.s3_endpoint, endpoints.access_key, endpoints.secret_key, endpoints.region)
    s3.ensure_bucket(client, name)
    client.close()


def query(url: str, *statements: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def secret_values(home: Path) -> dict[str, str]:
    return json.loads((home / "credentials.json").read_text())


def eventually(holds: Callable[[], bool], timeout_s: float = 30) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_a_second_start_finds_data_ports_and_credentials_of_the_first(home: Path) -> None:
    services = Services(home)
    first = services.start()
    make_bucket(first, "photos")
    store_of(first, "photos").put("a.jpg", b"bytes")
    query(first.postgres_url, "create table t as select 42 as answer")
    assert services.stop()
    assert not services.status().running

    second = services.start()
    assert second == first
    assert store_of(second, "photos").get("a.jpg") == b"bytes"
    assert query(second.postgres_url, "select answer from t") == [(42,)]
    assert query(second.dagster_postgres_url, "select current_database()") == [("dagster",)]


def test_a_start_beside_a_live_one_attaches_to_it_and_leaves_it_running(used_home: Path) -> None:
    services = Services(used_home)
    with ThreadPoolExecutor(1) as main:
        endpoints = services.start(detach=True)
        pids = services.status().pids
        assert main.submit(Services(used_home).start).result() == endpoints
        with Services(used_home) as attached:
            assert attached == endpoints
        assert services.status().pids == pids


def test_one_server_starts_alone_and_the_other_joins_it_when_it_is_wanted(used_home: Path) -> None:
    with Services(used_home, ["s3"]) as alone:
        assert alone.s3_endpoint
        assert (alone.postgres_url, alone.dagster_postgres_url) == ("", "")
        assert Services(used_home, ["s3"]).status().running
        assert Services(used_home, ["s3"]).condition() == "running"
        assert Services(used_home).status().pids["postgres"] is None
        with Services(used_home) as both:
            assert both.s3_endpoint == alone.s3_endpoint
            assert both.postgres_url
            assert Services(used_home).status().running
    assert not any(Services(used_home).status().pids.values())


def test_starts_at_the_same_time_start_one_set_of_servers(used_home: Path) -> None:
    barrier = threading.Barrier(4)

    def start(_: int) -> Endpoints:
        barrier.wait(timeout=30)
        return Services(used_home).start(detach=True)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(start, range(4)))) == 1
    ours = [p for p in psutil.process_iter(["cmdline"]) if f"-dir={used_home}/s3" in (p.info["cmdline"] or ())]
    assert len(ours) == 1


def test_stop_is_idempotent_and_leaves_nothing_behind(used_home: Path) -> None:
    services = Services(used_home)
    services.start()
    ports = services.status().ports
    assert services.stop()
    assert not services.stop()
    assert services.status().pids == {"s3": None, "postgres": None}
    sockets = [path.name for path in Path("/tmp").glob("seaweedfs-*.sock")]  # noqa: S108
    assert not [
        name for name in sockets if any(f"-{port}." in name or f"-{port + GRPC_OFFSET}." in name for port in ports.values())
    ]
    assert not Services(used_home / "never-started").stop()
    assert not (used_home / "never-started").exists()


def test_servers_killed_in_the_middle_of_writing_come_back_with_all_that_was_acknowledged(used_home: Path) -> None:
    services = Services(used_home)
    first = services.start()
    make_bucket(first, "photos")
    query(first.postgres_url, "create table t (i int)")
    acknowledged = []
    writes = store_of(first, "photos").put_many(((f"{i:04d}", b"%d" % i * 1000) for i in range(10_000)), concurrency=8)
    for key, error in writes:
        assert error is None
        query(first.postgres_url, f"insert into t select {int(key)}")
        acknowledged.append(key)
        if len(acknowledged) == 100:
            break
    for pid in services.status().pids.values():
        os.kill(pid, signal.SIGKILL)
    writes.close()
    assert eventually(lambda: not any(services.status().pids.values()))

    second = services.start()
    assert second == first
    assert dict(store_of(second, "photos").get_many(acknowledged, key=str)) == {
        key: b"%d" % int(key) * 1000 for key in acknowledged
    }
    assert query(second.postgres_url, "select count(*), sum(i) from t") == [(100, sum(map(int, acknowledged)))]


def test_when_one_server_dies_the_next_start_starts_it_alone(used_home: Path) -> None:
    services = Services(used_home)
    first = services.start()
    before = services.status().pids
    os.kill(before["s3"], signal.SIGKILL)
    assert eventually(lambda: services.status().pids["s3"] is None)
    assert services.start() == first
    after = services.status().pids
    assert after["postgres"] == before["postgres"]
    assert after["s3"] not in (None, before["s3"])


def test_servers_that_died_are_told_from_servers_that_were_stopped(used_home: Path) -> None:
    services = Services(used_home)
    assert services.condition() == "stopped"
    first = services.start()
    assert services.condition() == "running"
    for pid in services.status().pids.values():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: set(services.status().pids.values()) == {None})
    assert services.condition() == "died"
    assert services.restart() == first
    assert services.condition() == "running"
    seen = set()
    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(lambda: eventually(lambda: seen.add(services.condition()) or "stopped" in seen))
        services.stop()
        assert watching.result()
    assert "died" not in seen
    assert services.condition() == "stopped"


def test_a_pid_that_now_belongs_to_another_program_is_left_alone(used_home: Path) -> None:
    services = Services(used_home)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        state = json.loads((used_home / "services.json").read_text())
        state["servers"] = {name: {"pid": stranger.pid, "started": 1.0} for name in ("s3", "postgres")}
        (used_home / "services.json").write_text(json.dumps(state))
        assert not services.status().running
        assert not services.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_servers_of_an_older_darkroom_are_ended_and_started_anew(used_home: Path) -> None:
    """They listen where others could come first; `services.json` does not name a folder of sockets."""
    services = Services(used_home)
    services.start()
    older = services.status().pids
    state = json.loads((used_home / "services.json").read_text())
    del state["sockets"]
    (used_home / "services.json").write_text(json.dumps(state))
    assert not services.attach()
    assert not services.status().running
    services.start()
    assert services.status().running
    assert not set(older.values()) & set(services.status().pids.values())


def test_a_home_that_was_moved_is_the_same_home(used_home: Path, tmp_path: Path) -> None:
    """A project folder is renamed, while its servers run or not."""
    Services(used_home).start(detach=True)
    first = Services(used_home).status().pids
    for name in ("while up", "while down"):
        used_home = used_home.rename(tmp_path / name)
        moved = Services(used_home)
        try:
            assert not moved.attach(), "SeaweedFS knows its folders by name"
            endpoints = moved.start(detach=True)
            assert not set(first.values()) & set(moved.status().pids.values())
            assert query(endpoints.postgres_url, "select 1") == [(1,)]
            make_bucket(endpoints, "photos")
        finally:
            assert moved.stop()


@pytest.fixture
def far_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One whose path is too long for a Unix socket and that lies outside /tmp, which SeaweedFS has another of."""
    top = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder = top / ("long" * 15) / ("name" * 15)
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    Services(folder / "home").stop()
    shutil.rmtree(top)


def test_a_home_with_a_path_that_is_too_long_for_a_socket_has_servers_and_leaves_nothing_behind(far_folder: Path) -> None:
    services = Services(far_folder / "home")
    endpoints = services.start(detach=True)
    assert query(endpoints.postgres_url, "select 1") == [(1,)]
    make_bucket(endpoints, "photos")
    sockets = Path(parse_qsl(urlsplit(endpoints.postgres_url).query)[0][1])
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    services.stop()
    assert services.start(detach=True) == endpoints
    services.stop()
    services.delete_sockets()
    assert not sockets.exists()


def test_a_copy_of_a_home_leaves_the_servers_of_the_original_alone(used_home: Path, tmp_path: Path) -> None:
    """A project folder is copied, while its servers run or not, and `darkroom down` is called in the copy."""
    services = Services(used_home)
    services.start(detach=True)
    services.stop()
    for name in ("while down", "while up"):
        copied = Services(
            shutil.copytree(
                used_home, tmp_path / name, ignore=lambda _, names: [n for n in names if ".sock" in n or n.startswith(".s.")]
            )
        )
        endpoints = services.start(detach=True)
        assert not copied.stop()
        assert services.status().running
        assert query(endpoints.postgres_url, "select 1") == [(1,)]
        make_bucket(endpoints, "photos")


def test_a_port_taken_meanwhile_is_replaced_and_the_data_are_the_same(used_home: Path) -> None:
    services = Services(used_home)
    first = services.start()
    make_bucket(first, "photos")
    store_of(first, "photos").put("a", b"1")
    services.stop()
    ports = services.status().ports
    with socket.socket() as other, socket.socket() as another:
        for taken in (other, another):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", ports["s3"]))
        other.listen()
        another.bind(("127.0.0.1", ports["master"] + GRPC_OFFSET))
        another.listen()
        second = services.start()
        assert second.s3_endpoint != first.s3_endpoint
        assert second.postgres_url == first.postgres_url
        assert store_of(second, "photos").get("a") == b"1"
        store_of(second, "photos").put("b", b"2")
        assert store_of(second, "photos").get("b") == b"2"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_servers_end_with_the_command_that_started_them_even_if_it_is_killed(
    used_home: Path, number: signal.Signals
) -> None:
    code = "import sys, time; from pathlib import Path; from resources.servers.embedded import Services\n"
    code += "Services(Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(used_home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "up\n"
        pids = [pid for pid in Services(used_home).status().pids.values() if pid]
        assert len(pids) == 2
        command.send_signal(number)
    assert eventually(lambda: not any(pid in Services(used_home).status().pids.values() for pid in pids))


def test_detached_servers_outlive_the_command_that_started_them(used_home: Path) -> None:
    code = "import sys; from pathlib import Path; from resources.servers.embedded import Services\n"
    code += "Services(Path(sys.argv[1])).start(detach=True)"
    subprocess.run([sys.executable, "-c", code, str(used_home)], cwd=ROOT, check=True)
    assert Services(used_home).status().running


def test_a_server_that_does_not_start_says_why_and_leaves_nothing_running(used_home: Path) -> None:
    services = Services(used_home)
    (used_home / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceFailed, match=r"(?s)PostgreSQL ended while starting.*postgres\.log.*FATAL"):
        services.start()
    assert services.status().pids == {"s3": None, "postgres": None}


def test_data_without_their_credentials_are_not_given_new_ones(used_home: Path) -> None:
    services = Services(used_home)
    (used_home / "credentials.json").rename(used_home / "elsewhere.json")
    with pytest.raises(ServiceFailed, match="Restore it"):
        services.start()


# What strangers see.


def test_everything_listens_on_the_loopback_address_alone(live: tuple[Path, Endpoints]) -> None:
    home, _ = live
    addresses = listening.of_servers(home)
    assert {address.port for address in addresses} >= set(Services(home).status().ports.values())
    assert {address.ip for address in addresses} == {"127.0.0.1"}


def test_secrets_lie_in_files_of_their_owner_and_nowhere_else(live: tuple[Path, Endpoints]) -> None:
    home, endpoints = live
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("credentials.json", "s3/s3.json", "s3/security.toml"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    logs = "".join(path.read_text() for path in (home / "logs").iterdir())
    commands = "\n".join(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    state = (home / "services.json").read_text()
    assert str(home) in commands
    assert logs
    values = secret_values(home)
    assert len(set(values.values())) == 7
    for value in values.values():
        assert len(value) >= 16
        assert value not in logs + commands + state + repr(endpoints)


def test_postgres_lets_nobody_in_without_the_password(live: tuple[Path, Endpoints]) -> None:
    _, endpoints = live
    parts = urlsplit(endpoints.postgres_url)
    sockets = dict(parse_qsl(parts.query))["host"]
    for user, password in ((parts.username, "wrong"), (parts.username, ""), ("postgres", ""), ("root", "")):
        with pytest.raises(psycopg2.OperationalError, match=r"authentication failed|no password supplied"):
            psycopg2.connect(host=sockets, user=user, password=password, dbname="darkroom", passfile=os.devnull)
    assert query(endpoints.postgres_url, "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'") == [
        (0,)
    ]
    stored = query(
        endpoints.postgres_url, "select rolname, split_part(rolpassword, ':', 1) from pg_authid where rolcanlogin"
    )
    assert stored == [("darkroom", "SCRAM-SHA-256$1")]  # one iteration: the password is random, see pgserver.py


def request(port: int, method: str, path: str, body: bytes | None = None, *, tls: bool = False) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = kind("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


REFUSED = (401, 403, 404, 405)


def test_strangers_read_and_write_nothing_over_http(live: tuple[Path, Endpoints]) -> None:
    home, endpoints = live
    make_bucket(endpoints, "private")
    store_of(endpoints, "private").put("photo.jpg", b"secret pixels" * 1000)
    ports = Services(home).status().ports
    attempts = [("s3", "GET", path) for path in ("/", "/private", "/private/photo.jpg")]
    attempts += [("s3", method, "/private/new") for method in ("PUT", "DELETE", "POST")] + [("s3", "PUT", "/newbucket")]
    attempts += [("filer", "GET", path) for path in ("/", "/buckets/", "/buckets/private/photo.jpg", "/etc/")]
    attempts += [("filer", method, "/buckets/private/new") for method in ("PUT", "POST", "DELETE")]
    attempts += [("master", "GET", path) for path in ("/dir/assign", "/dir/lookup?volumeId=1", "/dir/status", "/vol/status")]
    attempts += [
        ("master", method, path) for method in ("GET", "POST") for path in ("/vol/grow?count=1", "/submit", "/col/delete")
    ]
    attempts += [
        ("volume", method, f"/{volume},01637037d6") for volume in range(1, 9) for method in ("GET", "PUT", "DELETE")
    ]
    attempts += [("volume", "GET", path) for path in ("/ui/index.html", "/stats/disk", "/debug/pprof/")]
    attempts += [("admin", "GET", path) for path in ("/", "/api/config", "/login", "/object-store/buckets")]
    answers = {
        attempt: request(
            ports[attempt[0]], attempt[1], attempt[2], b"x" if attempt[1] != "GET" else None, tls=attempt[0] == "s3"
        )
        for attempt in attempts
    }
    assert {attempt: status for attempt, (status, _) in answers.items() if status not in REFUSED} == {}
    assert not any(b"secret pixels" in body for _, body in answers.values())
    assert [info.key for info in store_of(endpoints, "private").list()] == ["photo.jpg"]


def test_a_hundred_megabytes_in_several_buckets_find_volumes(live: tuple[Path, Endpoints]) -> None:
    _, endpoints = live
    block = os.urandom(8 * 1024**2)
    for name in ("one", "two", "three", "four", "five"):
        make_bucket(endpoints, f"bucket-{name}")
        store = store_of(endpoints, f"bucket-{name}")
        errors = [error for _, error in store.put_many(((f"{i}", block) for i in range(3)), concurrency=2) if error]
        assert errors == []
        assert store.get("2") == block
