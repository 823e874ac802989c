"""Each port that Darkroom opens, as a stranger on the same machine meets it: on loopback alone, and shut.

HTTP ports, PostgreSQL and secret files are in `tests/resources/servers/test_embedded.py`; what web pages may ask of the UI in
`tests/resources/servers/test_guard.py`.
"""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import listening
import psutil
import pytest
from cryptography import x509

from resources.servers.certificates import Identity, make_identity
from resources.servers.embedded import Services
from resources.servers.processes import GRPC_OFFSET
from resources.servers.weed import PORT_NAMES

GRPC_PORTS = tuple(PORT_NAMES)
READS_AND_WRITES = {
    "master": ("/master_pb.Seaweed/VolumeList", "/master_pb.Seaweed/Assign", "/master_pb.Seaweed/CollectionDelete"),
    "volume": ("/volume_server_pb.VolumeServer/VolumeServerStatus", "/volume_server_pb.VolumeServer/DeleteCollection"),
    "filer": (
        "/filer_pb.SeaweedFiler/LookupDirectoryEntry",
        "/filer_pb.SeaweedFiler/CreateEntry",
        "/filer_pb.SeaweedFiler/DeleteEntry",
    ),
    "s3": ("/s3_pb.SeaweedS3/Configure",),
    "admin": ("/worker_pb.WorkerService/GetTaskLog",),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ports")
    with Services(folder):
        listening.until_all_ports_are_open(folder)
        yield folder


def identity_of(home: Path) -> Identity:
    """The server's own, from its files of mode 0600."""
    return Identity(*((home / "s3" / f"grpc-{name}.pem").read_text() for name in ("authority", "certificate", "key")))


def channel(port: int, identity: Identity | None, authority: str) -> grpc.Channel:
    """identity: the certificate that the client shows, if any."""
    key, chain = (identity.key.encode(), identity.certificate.encode()) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.encode(), key, chain)
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def answer(channel: grpc.Channel, method: str) -> grpc.StatusCode:
    """The status of one call with an empty message; OK where it is answered."""
    try:
        channel.unary_unary(method)(b"", timeout=10)
    except grpc.RpcError as error:
        return error.code()
    finally:
        channel.close()
    return grpc.StatusCode.OK


@pytest.mark.slow
@pytest.mark.parametrize("server", GRPC_PORTS)
def test_strangers_call_nothing_over_grpc(home: Path, server: str) -> None:
    port = Services(home).status().ports[server] + GRPC_OFFSET
    own = identity_of(home)
    for method in READS_AND_WRITES[server]:
        strangers = {
            "without TLS": grpc.insecure_channel(f"127.0.0.1:{port}"),
            "without a certificate": channel(port, None, own.authority),
            "with a certificate of their own": channel(port, make_identity("stranger"), own.authority),
        }
        answers = {who: answer(stranger, method) for who, stranger in strangers.items()}
        assert set(answers.values()) == {grpc.StatusCode.UNAVAILABLE}, (method, answers)
    # The same calls are heard where the certificate is the server's own: the port is not merely deaf.
    assert answer(channel(port, own, own.authority), READS_AND_WRITES[server][0]) != grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_the_certificate_is_new_at_each_start_and_its_key_is_the_owners_alone(tmp_path: Path) -> None:
    services = Services(tmp_path / "home")
    with services:
        first = identity_of(services.home)
        keys = [path for path in services.home.rglob("*.pem") if "PRIVATE KEY" in path.read_text()]
        assert {path.name for path in keys} == {"grpc-key.pem", "https-key.pem"}
        assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    with services:
        assert identity_of(services.home).key != first.key


def test_a_certificate_is_valid_from_yesterday_for_ten_years() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    certificate = x509.load_pem_x509_certificate(make_identity("server", now).certificate.encode())
    assert certificate.not_valid_before_utc < now
    assert certificate.not_valid_after_utc > now + timedelta(days=3640)
    assert "PRIVATE" not in repr(make_identity("server", now))


@pytest.mark.slow
def test_unix_sockets_are_the_owners_alone(home: Path) -> None:
    """SeaweedFS makes some under /tmp; on them it asks for no certificate."""
    server = psutil.Process(Services(home).status().pids["s3"])
    paths = [Path(connection.laddr) for connection in server.net_connections("unix") if connection.laddr]
    assert len(paths) >= len(GRPC_PORTS)
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}
    assert {path.stat().st_uid for path in paths} == {os.getuid()}
