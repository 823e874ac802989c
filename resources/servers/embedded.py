"""The embedded servers, PostgreSQL and S3, under one folder: started together, and shared by several processes.

`pgserver` and `weed` run each of them. The servers run while a process uses them: the one that started them may end first,
and the last user stops them (`users`), or `keeper` if that one is killed. The folder contains `credentials.json` (created
once), `services.json` (ports, and the processes while they run), `postgres/`, `s3/`, `sockets/`, `users/`, `logs/`; only its
owner may enter.
"""

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from resources.errors import PortTaken, ServiceFailed
from resources.home import CA_BUNDLE
from resources.servers import label_studio, pgserver, weed
from resources.servers.certificates import trust
from resources.servers.endpoints import Endpoints, Status
from resources.servers.limits import set_limits
from resources.servers.processes import Ending, ProcessId, free_ports, launch, rotate, stop
from resources.servers.server_state import (
    alive_servers,
    as_json,
    credentials_of,
    living_process,
    read_state,
    save_state,
    socket_folder,
)
from resources.servers.users import Membership, User, Users

SERVERS = ("s3", "postgres")
START_TRIES = 3
"""Attempts of a start while other programs take its ports; each uses other ports."""
ENDINGS = {"s3": weed.ENDING, "postgres": pgserver.ENDING, label_studio.NAME: label_studio.ENDING}
KEEPER = Path(__file__).with_name("keeper.py")
KEEPERS_ENDING = Ending(signal.SIGTERM, signal.SIGKILL, patience_s=3.0)


class Services:
    """PostgreSQL and S3, or one of them, with their state under `home`.

    As a context manager it uses the servers from entry to exit, and stops them then if nobody else uses them. For Linux and
    macOS.
    """

    def __init__(self, home: Path, servers: Sequence[str] = SERVERS) -> None:
        self.home = home.expanduser().resolve()
        self.servers = servers
        self._users = Users(self.home / "users")
        self._membership: Membership | None = None

    def start(self, *, detach: bool = False) -> Endpoints:
        """Start the servers that do not run, and return when all answer. A second start attaches to them.

        detach: they run until `stop`. Otherwise they run while a process that has called this uses them: until each has
        called `leave` or has ended, even by a kill. Data, ports and credentials are those of the last start. Raises
        ServiceFailed with the end of the server's log.
        """
        set_limits()
        with self._locked():
            credentials, state = credentials_of(self.home), read_state(self.home)
            state["detach"] = detach or (bool(state.get("detach")) and bool(alive_servers(state)))
            if not detach:
                self._join()
            try:
                return self._ensure(state, credentials)
            except BaseException:
                self._drop_membership()
                raise

    def attach(self) -> bool:
        """Use the servers, as `start` does, if all of them run; nothing is started. Returns whether they run."""
        if not self.home.exists():
            return False
        with self._locked():
            state = read_state(self.home)
            if state.get("stopping") or not set(self.servers) <= set(alive_servers(state)) or "sockets" not in state:
                return False
            self._join()
            save_state(self.home, {**state, "keeper": self._keeper(state)})
            self._endpoints(state, credentials_of(self.home))
            return True

    def leave(self) -> bool:
        """End this use. The last user stops the servers, unless they are detached. Returns whether they were stopped."""
        if self._membership is None:
            return False
        with self._locked():
            self._drop_membership()
            state = read_state(self.home)
            return not self._users.present() and not state.get("detach") and self._stop(state)

    def stop(self) -> bool:
        """Stop the servers, also while they are in use; they finish their writes. Returns whether any ran. Data stay."""
        if not self.home.exists():
            return False
        with self._locked():
            self._drop_membership()
            return self._stop(read_state(self.home))

    def add(self, name: str, start: Callable[[], ProcessId]) -> ProcessId:
        """Start a further server that stops with these, unless it runs. Returns the running one. It may not be ready yet."""
        with self._locked():
            state = read_state(self.home)
            alive = alive_servers(state)
            if name not in alive:
                alive[name] = start()
                save_state(self.home, {**state, "servers": as_json(alive)})
            return alive[name]

    def remove(self, name: str) -> None:
        """Stop one server, if it runs."""
        with self._locked():
            state = read_state(self.home)
            alive = alive_servers(state)
            _stop({name: alive.pop(name)} if name in alive else {})
            save_state(self.home, {**state, "servers": as_json(alive)})

    def has(self, name: str) -> bool:
        """Whether this server runs, without waiting for a start or stop in progress."""
        return name in alive_servers(read_state(self.home))

    def delete_sockets(self) -> None:
        """Delete the folder of sockets, which may be outside of the home. The servers must be stopped."""
        with self._locked():
            state = read_state(self.home)
            if folder := state.pop("sockets", None):
                with suppress(OSError):  # missing, or not empty and therefore not ours
                    Path(folder).rmdir()
            save_state(self.home, state)

    def stop_unused(self) -> bool:
        """Stop the servers if they have no users and are not detached. Returns whether there are no users to wait for."""
        if not self.home.exists():
            return True
        with self._locked():
            if self._users.present():
                return False
            state = read_state(self.home)
            if not state.get("detach"):
                self._stop(state)
            return True

    def users(self) -> list[User]:
        """The present users of the servers."""
        if not self.home.exists():
            return []
        with self._locked():
            return self._users.present()

    def condition(self) -> Literal["running", "died", "stopped"]:
        """Whether all servers run, one has ended by itself, or they were stopped or never started."""
        state = read_state(self.home)
        if not state["servers"] or state.get("stopping"):
            return "stopped"
        return "running" if set(self.servers) <= set(alive_servers(state)) else "died"

    def endpoints(self) -> Endpoints:
        """The addresses of the servers, or those of their last run."""
        with self._locked():
            return self._endpoints(read_state(self.home), credentials_of(self.home))

    def restart(self) -> Endpoints:
        """Restart servers that have died."""
        with self._locked():
            return self._ensure(read_state(self.home), credentials_of(self.home))

    def status(self) -> Status:
        """The running servers and their ports, without waiting for a start or stop in progress."""
        state = read_state(self.home)
        # Servers without a folder of sockets are from an older version: the next start ends them.
        alive = alive_servers(state) if "sockets" in state else {}
        return Status({name: alive[name].pid if name in alive else None for name in self.servers}, state["ports"])

    def __enter__(self) -> Endpoints:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _join(self) -> None:
        self._membership = self._membership or self._users.join()

    def _drop_membership(self) -> None:
        if self._membership is not None:
            self._membership.leave()
            self._membership = None

    def _ensure(self, state: dict[str, Any], credentials: dict[str, str]) -> Endpoints:
        """Start the servers that do not run. state: updated and saved."""
        alive = alive_servers(state)
        if alive and "sockets" not in state:  # from an older version, on addresses that other users could take
            _stop(alive)
            alive = {}
        state |= {"stopping": False, "keeper": self._keeper(state)}
        save_state(self.home, state)
        if missing := [name for name in self.servers if name not in alive]:
            self._start_safely(missing, alive, state, credentials)
        return self._endpoints(state, credentials)

    def _stop(self, state: dict[str, Any]) -> bool:
        alive = alive_servers(state)
        # Saved first, so that no process takes them for dead and restarts them.
        save_state(self.home, {**state, "stopping": True})
        _stop(alive)
        keeper = living_process(state.get("keeper"))
        if keeper is not None and keeper.pid != os.getpid():
            stop([(keeper, KEEPERS_ENDING)])
        weed.remove_sockets(state["ports"])
        if "sockets" in state:  # the folder stays: other processes have its path
            for path in Path(state["sockets"]).glob("*"):
                path.unlink()
        save_state(self.home, {**state, "servers": {}, "detach": False, "keeper": None})
        return bool(alive)

    def _keeper(self, state: dict[str, Any]) -> dict[str, float] | None:
        """The process that stops the servers after a kill of the last user; started unless it runs or they are detached."""
        keeper = living_process(state.get("keeper"))
        if keeper is None and not state.get("detach"):
            command = [sys.executable, "-I", "-S", str(KEEPER), str(self.home)]
            env = {"PATH": os.defpath, "PYTHONPATH": str(KEEPER.parents[2])}
            keeper = launch(command, cwd=self.home, log=self.home / "logs" / "keeper.log", env=env)
        return None if keeper is None else {"pid": keeper.pid, "started": keeper.started}

    def _start_safely(
        self, names: list[str], alive: dict[str, ProcessId], state: dict[str, Any], credentials: dict[str, str]
    ) -> None:
        """Start these servers; if another program takes a port, try again on other ports."""
        for tries_left in reversed(range(START_TRIES)):
            try:
                self._start(names, alive, state, credentials)
                return
            except PortTaken as taken:
                if not tries_left:
                    raise ServiceFailed(
                        f"{taken} That happened {START_TRIES} times, each time on other ports, so somebody on this machine "
                        "does it on purpose. Nothing was sent there. Find out who: `ss -ltnp` as root."
                    ) from None

    def _start(
        self, names: list[str], alive: dict[str, ProcessId], state: dict[str, Any], credentials: dict[str, str]
    ) -> None:
        logs = {name: self.home / "logs" / f"{name}.log" for name in names}
        state["sockets"] = str(socket_folder(self.home, state))
        if "s3" in names:
            state["ports"] = _usable_ports(state["ports"], self.home / "s3", Path(state["sockets"]))
        started: dict[str, ProcessId] = {}
        try:
            for name in names:
                rotate(logs[name])
                started[name] = self._launch(name, logs[name], state, credentials)
                # Saved one by one: a kill in between leaves no unrecorded server.
                save_state(self.home, {**state, "servers": as_json({**alive, **started})})
            if "postgres" in started:
                sockets, password = Path(state["sockets"]), credentials["postgres_password"]
                pgserver.wait_ready(started["postgres"], logs["postgres"], sockets, password)
            if "s3" in started:
                weed.wait_ready(started["s3"], logs["s3"], state["ports"], self.home / "s3")
        except BaseException:
            _stop(started)
            if "s3" in started:  # other ports next time: one of these may be the cause
                state["ports"] = {}
            save_state(self.home, {**state, "servers": as_json(alive)})
            raise

    def _launch(self, name: str, log: Path, state: dict[str, Any], credentials: dict[str, str]) -> ProcessId:
        data, sockets = self.home / name, Path(state["sockets"])
        if name == "postgres":
            return pgserver.start(data, log, sockets, credentials["postgres_password"])
        data.mkdir(mode=0o700, exist_ok=True)
        weed.remove_sockets(state["ports"])
        return weed.start(data, log, state["ports"], sockets, credentials)

    def _endpoints(self, state: dict[str, Any], credentials: dict[str, str]) -> Endpoints:
        """The addresses of these servers. From now on this process trusts the S3 server's certificate."""
        sockets, password = Path(state["sockets"]), credentials["postgres_password"]
        has_postgres, has_s3 = ("postgres" in self.servers, "s3" in self.servers)
        bundle = self.home / CA_BUNDLE
        if has_s3 and weed.HAS_TLS:
            trust(weed.authority(self.home / "s3"), bundle)
        return Endpoints(
            postgres_url=pgserver.url(sockets, password, "darkroom") if has_postgres else "",
            dagster_postgres_url=pgserver.url(sockets, password, "dagster") if has_postgres else "",
            s3_endpoint=f"{weed.SCHEME}://127.0.0.1:{state['ports']['s3']}" if has_s3 else "",
            access_key=credentials["access_key"],
            secret_key=credentials["secret_key"],
            ca_bundle=str(bundle) if has_s3 and weed.HAS_TLS else "",
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A lock for one start or stop at a time in all processes; the kernel releases it when its process ends."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "logs").mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.home / "services.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _usable_ports(stored: dict[str, int], data: Path, sockets: Path) -> dict[str, int]:
    """The stored ports of the S3 server; those that another program has taken are replaced by free ones."""
    is_usable = partial(weed.is_usable, data=data, sockets=sockets)
    kept = {name: stored[name] for name in weed.PORT_NAMES if name in stored and is_usable(stored[name])}
    missing = [name for name in weed.PORT_NAMES if name not in kept]
    return {**kept, **dict(zip(missing, free_ports(len(missing), is_usable), strict=True))}


def _stop(servers: dict[str, ProcessId]) -> None:
    stop([(server, ENDINGS[name]) for name, server in servers.items()])
