"""The stored state of the embedded servers: credentials, ports, processes, and the folder of sockets."""

import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import psutil

from resources.errors import ServiceFailed
from resources.files import write_secret
from resources.servers.processes import ProcessId

MAX_SOCKET_FOLDER_BYTES = 80
"""The path of a Unix socket is limited to 103 bytes on macOS, and 107 on Linux."""
JWT_KEYS = ("jwt_write", "jwt_read", "jwt_filer_write", "jwt_filer_read")


def credentials_of(home: Path) -> dict[str, str]:
    """The servers' credentials, created once. Raises ServiceFailed if they are missing, but data exist."""
    path = home / "credentials.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    if (home / "postgres" / "PG_VERSION").exists():
        raise ServiceFailed(f"{path} is missing, and without it the data in {home} can't be opened. Restore it.")
    credentials = {"access_key": f"darkroom{secrets.token_hex(6)}", "secret_key": secrets.token_urlsafe(30)}
    credentials |= {"postgres_password": secrets.token_urlsafe(24)} | {key: secrets.token_urlsafe(32) for key in JWT_KEYS}
    write_secret(path, json.dumps(credentials, indent=1))
    return credentials


def read_state(home: Path) -> dict[str, Any]:
    """Read ports, processes and flags."""
    path = home / "services.json"
    state = dict(json.loads(path.read_text())) if path.exists() else {"ports": {}, "servers": {}}
    return state if state.get("home", str(home)) == str(home) else _moved(home, state)


def _moved(home: Path, state: dict[str, Any]) -> dict[str, Any]:
    """The state of a home whose path has changed. In a copied home, servers and sockets belong to the original."""
    ours = {name: server for name, server in alive_servers(state).items() if works_in(server, home / name)}
    if not ours:
        return {"ports": {}, "servers": {}}
    # Without sockets: SeaweedFS uses the old paths of its folders, so the next start restarts both servers.
    return {**{key: value for key, value in state.items() if key != "sockets"}, "servers": as_json(ours)}


def save_state(home: Path, state: dict[str, Any]) -> None:
    """Write the state atomically."""
    write_secret(home / "services.json", json.dumps({**state, "home": str(home)}, indent=1))


def socket_folder(home: Path, state: dict[str, Any]) -> Path:
    """A folder for Unix sockets that only their owner may enter: in the home, if its path is short enough."""
    folder = home / "sockets"
    if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER_BYTES:
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    stored = Path(state.get("sockets", ""))
    if stored.is_absolute() and not stored.is_symlink() and stored.is_dir():
        status = stored.stat()
        owners = {(home / name).stat().st_uid for name in ("s3", "postgres") if (home / name).exists()}
        if status.st_uid in owners and not status.st_mode & 0o077:
            return stored
    # SeaweedFS may have a private /tmp, and TMPDIR may be long, too.
    usable = [place for place in ("/var/tmp", tempfile.gettempdir()) if os.access(place, os.W_OK | os.X_OK)]  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="darkroom-", dir=usable[0] if usable else None))


def alive_servers(state: dict[str, Any]) -> dict[str, ProcessId]:
    """The running servers of a state, by name."""
    servers = {name: ProcessId(**server) for name, server in state["servers"].items()}
    return {name: server for name, server in servers.items() if server.process() is not None}


def works_in(server: ProcessId, folder: Path) -> bool:
    """Whether this is a server's working folder, which is the folder of its data."""
    process = server.process()
    try:
        return process is not None and Path(process.cwd()).samefile(folder)
    except (OSError, psutil.Error):
        return False


def living_process(named: dict[str, float] | None) -> ProcessId | None:
    """A process of the state, or None if it has ended."""
    process = ProcessId(int(named["pid"]), named["started"]) if named else None
    return process if process is not None and process.process() is not None else None


def as_json(servers: dict[str, ProcessId]) -> dict[str, dict[str, float]]:
    """Processes in the format of the file."""
    return {name: {"pid": server.pid, "started": server.started} for name, server in servers.items()}
