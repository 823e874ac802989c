"""The servers that come along: PostgreSQL and S3 under one folder, started together, found again by the next start.

How each is run lies in `pgserver` and `weed`. The folder holds `credentials.json` (made once), `services.json` (ports, and
the processes while they live), `postgres/`, `s3/` and `logs/`; only its owner may enter it.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from resources import pgserver, weed
from resources.errors import ServiceFailed
from resources.processes import GRPC_OFFSET, ProcessId, free_ports, is_free, rotate, stop
from resources.weed import write_secret

SERVERS = ("s3", "postgres")
PORT_NAMES = ("postgres", *weed.PORT_NAMES)
JWT_KEYS = ("jwt_write", "jwt_read", "jwt_filer_write", "jwt_filer_read")


@dataclass(frozen=True)
class Endpoints:
    """Where the servers listen, and how to get in; empty where a server is not wanted. Secrets stay out of its `repr`."""

    postgres_url: str = field(repr=False)
    dagster_postgres_url: str = field(repr=False)
    s3_endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = weed.REGION


@dataclass(frozen=True)
class Status:
    """The servers' pids and ports; a pid is None where no server runs."""

    pids: dict[str, int | None]
    ports: dict[str, int]

    @property
    def running(self) -> bool:
        """Whether all servers run."""
        return all(pid is not None for pid in self.pids.values())


class Services:
    """PostgreSQL and S3, or the one of them that is named, with their state under `home`.

    As a context manager: started on entry, stopped on exit unless they ran before. Linux and macOS.
    """

    def __init__(self, home: Path, servers: Sequence[str] = SERVERS) -> None:
        self.home = home.expanduser().resolve()
        self.servers = servers
        self._started_here = False

    def start(self, *, detach: bool = False) -> Endpoints:
        """Start what does not run yet, and return when both servers answer. Starting twice attaches to what runs.

        detach: the servers stay when this process ends. Otherwise they stop with it, even if it is killed (on Linux, where
        the calling thread counts: call this from the main thread). Data, ports and credentials are those of the last time.
        Raises ServiceFailed with the end of the server's log.
        """
        with self._locked():
            credentials = self._credentials()
            state = self._state()
            alive = _alive(state)
            missing = [name for name in self.servers if name not in alive]
            if missing:
                self._start(missing, alive, state, credentials, detach)
                self._started_here = not alive
            elif state.get("stopping"):
                self._save({**state, "stopping": False})  # a stop that was killed before it did anything
            return self._endpoints(state["ports"], credentials)

    def stop(self) -> bool:
        """Stop the servers, letting them finish what they write. Returns whether any ran; the data stay."""
        if not self.home.exists():
            return False
        with self._locked():
            state = self._state()
            alive = _alive(state)
            # Said before it is done, so that nobody takes them for dead and starts them again.
            self._save({**state, "stopping": True})
            _stop(alive)
            if state["ports"]:
                weed.remove_sockets(state["ports"])
            self._save({**state, "servers": {}})
            self._started_here = False
            return bool(alive)

    def condition(self) -> Literal["running", "died", "stopped"]:
        """Whether all run; if not, whether one ended by itself or they were stopped (or never started)."""
        state = self._state()
        if not state["servers"] or state.get("stopping"):
            return "stopped"
        return "running" if set(self.servers) <= set(_alive(state)) else "died"

    def restart(self) -> Endpoints:
        """Start again what has died, as it was started last time: to stay, or to end with this process (see `start`)."""
        return self.start(detach=bool(self._state().get("detach")))

    def status(self) -> Status:
        """What runs now, without waiting for a start or stop under way."""
        state = self._state()
        alive = _alive(state)
        return Status({name: alive[name].pid if name in alive else None for name in self.servers}, state["ports"])

    def __enter__(self) -> Endpoints:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._started_here:
            self.stop()

    def _start(
        self, names: list[str], alive: dict[str, ProcessId], state: dict[str, Any], credentials: dict[str, str], detach: bool
    ) -> None:
        logs = {name: self.home / "logs" / f"{name}.log" for name in names}
        state |= {"detach": detach, "stopping": False}
        state["ports"] = _usable_ports(state["ports"], {name for name in PORT_NAMES if _server_of(name) in names})
        started: dict[str, ProcessId] = {}
        try:
            for name in names:
                rotate(logs[name])
                started[name] = self._launch(name, logs[name], state["ports"], credentials, detach)
                # Saved one by one: a kill between the two leaves no server that nobody knows of.
                self._save({**state, "servers": _as_json({**alive, **started})})
            if "postgres" in started:
                port = state["ports"]["postgres"]
                pgserver.wait_ready(started["postgres"], logs["postgres"], port, credentials["postgres_password"])
            if "s3" in started:
                weed.wait_ready(started["s3"], logs["s3"], state["ports"]["s3"])
        except BaseException:
            _stop(started)
            # Other ports next time: one of these may be what failed.
            self._save({**state, "ports": {} if not alive else state["ports"], "servers": _as_json(alive)})
            raise

    def _launch(self, name: str, log: Path, ports: dict[str, int], credentials: dict[str, str], detach: bool) -> ProcessId:
        data = self.home / name
        if name == "postgres":
            return pgserver.start(data, log, ports["postgres"], credentials["postgres_password"], detach=detach)
        data.mkdir(mode=0o700, exist_ok=True)
        weed.remove_sockets(ports)
        return weed.start(data, log, ports, credentials, detach=detach)

    def _endpoints(self, ports: dict[str, int], credentials: dict[str, str]) -> Endpoints:
        password = credentials["postgres_password"]
        has_postgres, has_s3 = ("postgres" in self.servers, "s3" in self.servers)
        return Endpoints(
            postgres_url=pgserver.url(ports["postgres"], password, "darkroom") if has_postgres else "",
            dagster_postgres_url=pgserver.url(ports["postgres"], password, "dagster") if has_postgres else "",
            s3_endpoint=f"http://127.0.0.1:{ports['s3']}" if has_s3 else "",
            access_key=credentials["access_key"],
            secret_key=credentials["secret_key"],
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One start or stop at a time, over all processes; the lock goes with its holder, however that ends."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "logs").mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.home / "services.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _credentials(self) -> dict[str, str]:
        path = self.home / "credentials.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        if (self.home / "postgres" / "PG_VERSION").exists():
            raise ServiceFailed(f"{path} is missing, and without it the data in {self.home} can't be opened. Restore it.")
        made = {"access_key": f"darkroom{secrets.token_hex(6)}", "secret_key": secrets.token_urlsafe(30)}
        made |= {"postgres_password": secrets.token_urlsafe(24)} | {key: secrets.token_urlsafe(32) for key in JWT_KEYS}
        write_secret(path, json.dumps(made, indent=1))
        return made

    def _state(self) -> dict[str, Any]:
        path = self.home / "services.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"ports": {}, "servers": {}}

    def _save(self, state: dict[str, Any]) -> None:
        write_secret(self.home / "services.json", json.dumps(state, indent=1))


def _alive(state: dict[str, Any]) -> dict[str, ProcessId]:
    servers = {name: ProcessId(**server) for name, server in state["servers"].items()}
    return {name: server for name, server in servers.items() if server.process() is not None}


def _as_json(servers: dict[str, ProcessId]) -> dict[str, dict[str, float]]:
    return {name: {"pid": server.pid, "started": server.started} for name, server in servers.items()}


def _server_of(port_name: str) -> str:
    return "postgres" if port_name == "postgres" else "s3"


def _usable_ports(known: dict[str, int], wanted: set[str]) -> dict[str, int]:
    """The remembered ports, each that is needed now and taken by another program replaced by a free one."""
    taken = {name for name in wanted if name not in known or not _both_free(known[name])}
    return {**known, **dict(zip(sorted(taken), free_ports(len(taken)), strict=True))}


def _both_free(port: int) -> bool:
    return is_free(port) and is_free(port + GRPC_OFFSET)


def _stop(servers: dict[str, ProcessId]) -> None:
    stop([(server, pgserver.ENDING if name == "postgres" else weed.ENDING) for name, server in servers.items()])
