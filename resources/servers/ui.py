"""`darkroom ui`: keeps the servers, the code server, the webserver and the daemon running until Ctrl-C.

The code server loads the definitions once for the webserver and the daemon, which would otherwise load their own copies
repeatedly. Runs are its children. It listens on a Unix socket that only its owner can reach.
"""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from sqlalchemy.exc import SQLAlchemyError

from resources.dagster_private import DagsterUserCodeUnreachableError
from resources.errors import ServiceFailed
from resources.servers import users
from resources.servers.dagster_home import POOLS
from resources.servers.embedded import Services
from resources.servers.run_processes import queue_lost_runs
from resources.servers.supervision import Part, Program, end, supervise
from resources.settings import Settings, plain

DEFINITIONS = "pipeline_assets.definitions"
LOCATION = "darkroom"


class _Stopped(Exception):
    """Somebody else has stopped the servers on purpose."""


class _Servers:
    """The embedded servers as a supervised part. They run when it is created."""

    name = "PostgreSQL or S3"

    def __init__(self, home: Path, servers: Sequence[str]) -> None:
        self._services = Services(home, servers)
        self._endpoints = self._services.endpoints()
        self._has_failed = False

    def alive(self) -> bool:
        """Whether the servers run. Raises _Stopped after `darkroom down`."""
        condition = self._services.condition()
        if condition == "stopped" and not self._has_failed:
            raise _Stopped
        return condition == "running"

    def start(self) -> None:
        """Restart servers that died, on the same ports, with the same data."""
        self._has_failed = True
        if self._services.restart() != self._endpoints:
            # The other parts use the old addresses.
            raise ServiceFailed("Another program took a port of the embedded servers. Start `darkroom ui` again.")
        self._has_failed = False

    def ending(self) -> str:
        """How they ended; details are in their logs."""
        return "ended"


class _Daemon(Program):
    """Dagster's daemon. Before each start, runs that an earlier one dequeued and never launched are queued again."""

    def __init__(self, command: Sequence[str], cwd: Path, env: dict[str, str], code_socket: Path) -> None:
        super().__init__("The daemon", command, cwd, env)
        self._code_socket = code_socket

    def start(self) -> None:
        """Start the daemon. Raises ServiceFailed if the code server or Dagster's database does not answer."""
        try:
            with dg.DagsterInstance.get() as instance:
                queue_lost_runs(instance, self._code_socket)
        except (DagsterUserCodeUnreachableError, SQLAlchemyError) as error:
            raise ServiceFailed(f"The daemon waits for what knows of runs: {type(error).__name__}.") from error
        super().start()


def serve_ui(settings: Settings, root: Path, tell: Callable[[str], None]) -> None:
    """Serve the UI on loopback until Ctrl-C, SIGTERM or `darkroom down`. This process must already use the services.

    root: the project folder, from which code is imported. tell: called with a line when a part ends or runs again.
    Raises ServiceFailed if the port is taken or a part does not stay up.
    """
    with bound(settings.ui_port) as port:
        _serve(settings, root, tell, port)


def _serve(settings: Settings, root: Path, tell: Callable[[str], None], port: socket.socket) -> None:
    with dg.DagsterInstance.get() as instance:
        for pool, limit in POOLS.items():
            instance.event_log_storage.set_concurrency_slots(pool, limit)
    with _socket_folder() as folder:
        programs = _programs(settings, root, folder / "code.sock", port.fileno())
        parts: list[Part] = [_Servers(settings.home, settings.embedded_servers)] if settings.wants_embedded else []
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            supervise([*parts, *programs], tell)
        except KeyboardInterrupt:
            return
        except _Stopped:
            tell("The servers were stopped from elsewhere: ending.")
        finally:
            end(programs)
            signal.signal(signal.SIGTERM, before)


def bound(port: int) -> socket.socket:
    """The listening socket of the UI, which belongs to this process also while the webserver starts or restarts."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen(2048)
    except OSError:
        bound.close()
        raise ServiceFailed(f"Port {port} is taken, perhaps by another `darkroom ui`: set DARKROOM_UI_PORT.") from None
    return bound


def _programs(settings: Settings, root: Path, code_socket: Path, port: int) -> list[Program]:
    """The programs of the UI. port: the descriptor of its listening socket."""
    environment = os.environ | {
        # Compute logs go to S3 through boto3, which reads these.
        "AWS_ACCESS_KEY_ID": plain(settings.s3_access_key),
        "AWS_SECRET_ACCESS_KEY": plain(settings.s3_secret_key),
        "PYTHONWARNINGS": "ignore",
        users.MARK: users.mark(),
    }
    env = {name: value for name, value in environment.items() if value}
    workspace = settings.dagster_home / "workspace.yaml"
    server = {"grpc_server": {"socket": str(code_socket), "location_name": LOCATION}}
    workspace.write_text("# Written by `darkroom ui`.\n" + yaml.safe_dump({"load_from": [server]}))
    dagster = Path(sys.executable).parent
    code = [str(dagster / "dagster"), "api", "grpc", "-s", str(code_socket), "-m", DEFINITIONS, "--location-name", LOCATION]
    # The code is imported from the working directory by name, as `dagster dev` would.
    code += ["-d", str(root), "--log-level", "warning"]
    web = [sys.executable, "-m", "resources.servers.webserver", str(port), str(workspace), *settings.ui_host_names]
    daemon = [str(dagster / "dagster-daemon"), "run", "-w", str(workspace)]
    return [
        Program("The code server", code, root, env, ready=lambda: _listens(code_socket)),
        Program("The webserver", web, root, env, descriptors=[port]),
        _Daemon(daemon, root, env, code_socket),
    ]


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """A folder of mode 0700 in TMPDIR. Paths of sockets are limited to 107 bytes, which DARKROOM_HOME may exceed."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
