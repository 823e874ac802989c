"""`darkroom ui`: the servers, the code server, the webserver and the daemon, kept up until Ctrl-C.

The code server holds the definitions loaded for the webserver and the daemon, which would else each load their own
copy again and again. Runs are its children. It listens on a Unix socket that only its owner can reach.
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
from dagster._core.errors import DagsterUserCodeUnreachableError
from sqlalchemy.exc import SQLAlchemyError

from resources.dagster_home import POOLS
from resources.embedded import Services
from resources.errors import ServiceFailed
from resources.processes import is_free
from resources.run_processes import queue_lost_runs
from resources.settings import Settings, plain
from resources.supervision import Part, Program, end, supervise

DEFINITIONS = "pipeline_assets.definitions"
LOCATION = "darkroom"


class _Stopped(Exception):
    """The servers were stopped by someone else, on purpose."""


class _Servers:
    """The embedded servers as a part. They run when this is made."""

    name = "PostgreSQL or S3"

    def __init__(self, home: Path, servers: Sequence[str]) -> None:
        self._services = Services(home, servers)
        self._endpoints = self._services.start()
        self._has_failed = False

    def alive(self) -> bool:
        """Whether they run. Raises _Stopped after `darkroom down`."""
        condition = self._services.condition()
        if condition == "stopped" and not self._has_failed:
            raise _Stopped
        return condition == "running"

    def start(self) -> None:
        """Start again what died, on the same ports, with the same data."""
        self._has_failed = True
        if self._services.restart() != self._endpoints:
            # What runs already was told the old ones.
            raise ServiceFailed("Another program took a port of the embedded servers. Start `darkroom ui` again.")
        self._has_failed = False

    def ending(self) -> str:
        """Their logs know more."""
        return "ended"


class _Daemon(Program):
    """Dagster's daemon. Before each start, runs that the one before took from the queue and never launched go back to it."""

    def __init__(self, command: Sequence[str], cwd: Path, env: dict[str, str], code_socket: Path) -> None:
        super().__init__("The daemon", command, cwd, env)
        self._code_socket = code_socket

    def start(self) -> None:
        """Start it. Raises ServiceFailed if what knows of runs does not answer: the code server, Dagster's database."""
        try:
            with dg.DagsterInstance.get() as instance:
                queue_lost_runs(instance, self._code_socket)
        except (DagsterUserCodeUnreachableError, SQLAlchemyError) as error:
            raise ServiceFailed(f"The daemon waits for what knows of runs: {type(error).__name__}.") from error
        super().start()


def serve_ui(settings: Settings, root: Path, tell: Callable[[str], None]) -> None:
    """Keep the UI up on loopback until Ctrl-C, SIGTERM or `darkroom down`. The services must run.

    root: the project, from which its code is imported. tell: gets a line for each part that ended and runs again.
    Raises ServiceFailed if the port is taken or a part does not stay up.
    """
    if not is_free(settings.ui_port):
        raise ServiceFailed(f"Port {settings.ui_port} is taken, perhaps by another `darkroom ui`: set DARKROOM_UI_PORT.")
    with dg.DagsterInstance.get() as instance:
        for pool, limit in POOLS.items():
            instance.event_log_storage.set_concurrency_slots(pool, limit)
    with _socket_folder() as folder:
        programs = _programs(settings, root, folder / "code.sock")
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


def _programs(settings: Settings, root: Path, code_socket: Path) -> list[Program]:
    environment = os.environ | {
        # Compute logs go to S3 through boto3, which reads these.
        "AWS_ACCESS_KEY_ID": plain(settings.s3_access_key),
        "AWS_SECRET_ACCESS_KEY": plain(settings.s3_secret_key),
        "PYTHONWARNINGS": "ignore",
    }
    env = {name: value for name, value in environment.items() if value}
    workspace = settings.dagster_home / "workspace.yaml"
    server = {"grpc_server": {"socket": str(code_socket), "location_name": LOCATION}}
    workspace.write_text("# Written by `darkroom ui`.\n" + yaml.safe_dump({"load_from": [server]}))
    dagster = Path(sys.executable).parent
    code = [str(dagster / "dagster"), "api", "grpc", "-s", str(code_socket), "-m", DEFINITIONS, "--location-name", LOCATION]
    # The code is imported from the working directory by name, as `dagster dev` would.
    code += ["-d", str(root), "--log-level", "warning"]
    web = [sys.executable, "-m", "resources.webserver", str(settings.ui_port), str(workspace), *settings.ui_host_names]
    daemon = [str(dagster / "dagster-daemon"), "run", "-w", str(workspace)]
    return [
        Program("The code server", code, root, env, ready=lambda: _listens(code_socket)),
        Program("The webserver", web, root, env),
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
    """A folder of mode 0700. Not in DARKROOM_HOME: the path of a socket may have 107 bytes, a project's often has more."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
