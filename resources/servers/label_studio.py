"""The embedded labeling tool, Label Studio: its account and command line, and the checks that it is ready and ours.

It listens on 127.0.0.1 only, and on no port but its own. Nobody can sign up; the one account has a generated password and
token, which are in its environment and in a file of mode 0600, not in its command line. Its data are in one folder
(SQLite). It calls nobody: no analytics, no look for new versions, no crash reports.
"""

import http.client
import json
import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from resources.errors import PortTaken, ServiceFailed
from resources.files import write_secret
from resources.servers.processes import Ending, ProcessId, free_ports, is_free, launch, listening, rotate, wait_until

NAME = "label-studio"
"""Of its lock, its folder in HOME, and its entry among the servers."""
ROOM_BYTES = 2_500_000_000
"""Free space for its environment (1 GB) while packages are fetched."""
READY_TIMEOUT_S = 900.0
"""The first start creates its database: 3 minutes on two busy cores."""
ENDING = Ending(signal.SIGTERM, signal.SIGKILL, patience_s=10.0)
USERNAME = "darkroom@localhost.localdomain"
TELL_EVERY_S = 15.0
OFFLINE = {
    "LATEST_VERSION_CHECK": "false",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "FEATURE_FLAGS_OFFLINE": "true",
}
CLOSED = {
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "CORS_ALLOW_ALL_ORIGINS": "false",
    # Its guard against addresses of this machine would also keep it from the embedded S3.
    "SSRF_PROTECTION_ENABLED": "false",
}


@dataclass(frozen=True)
class Account:
    """Where Label Studio answers, and the account that Darkroom uses. Its `repr` shows no secrets.

    instance: names this Label Studio in our tables, also after it has moved to another port.
    """

    url: str
    instance: str
    token: str = field(repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


def account_of(home: Path) -> Account:
    """The account and address, created once. Raises ServiceFailed if the file is missing, but data exist."""
    path = _file(home)
    if not path.exists():
        if (home / NAME / "label_studio.sqlite3").exists():
            raise ServiceFailed(
                f"{path} is missing, and without it Label Studio's data can't be used. Restore it, or move {home / NAME} "
                "away to start with an empty one: answers that were pulled are in Darkroom's database."
            )
        (home / NAME).mkdir(mode=0o700, parents=True, exist_ok=True)
        _save(home, free_ports(1)[0], secrets.token_hex(4), secrets.token_urlsafe(18), secrets.token_hex(20))
    stored = json.loads(path.read_text())
    url = f"http://127.0.0.1:{stored['port']}"
    return Account(url, stored["instance"], stored["token"], USERNAME, stored["password"])


def has_account(home: Path) -> bool:
    """Whether Label Studio was started here before."""
    return _file(home).exists()


def start(home: Path, python: Path, ca_bundle: Path | None, files: Path | None) -> ProcessId:
    """Start the server on the port of its last start, or on a new one if another program has that.

    python: of its environment. ca_bundle: the authorities that it trusts, for the embedded S3. files: a folder whose
    photos it may show, where uploads are in a folder. Its data stay in `HOME/label-studio`.
    """
    account = account_of(home)
    if not is_free(port_of(account)):
        _save(home, free_ports(1)[0], account.instance, account.password, account.token)
        account = account_of(home)
    data = home / NAME
    log = home / "logs" / f"{NAME}.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    rotate(log)
    env = {
        **OFFLINE,
        **CLOSED,
        "PATH": os.defpath,
        "HOME": str(data),
        "LANG": "C.UTF-8",
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": account.username,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    }
    if ca_bundle is not None:
        env["AWS_CA_BUNDLE"] = str(ca_bundle)
    if files is not None:
        env |= {"LOCAL_FILES_SERVING_ENABLED": "true", "LOCAL_FILES_DOCUMENT_ROOT": str(files)}
    command = [str(python), "-m", "label_studio.server", "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port_of(account)), "--enable-legacy-api-token"]
    return launch(command, cwd=data, log=log, env=env)


def wait_ready(server: ProcessId, home: Path, tell: Callable[[str], object]) -> Account:
    """Return once it answers at its port and takes our token. The token is not sent before the port is its own.

    tell: called with a line every few seconds. Raises PortTaken if it chose another port because ours was taken, and
    ServiceFailed.
    """
    account, log = account_of(home), home / "logs" / f"{NAME}.log"
    port, began = port_of(account), time.monotonic()
    told_at = began

    def is_ready() -> bool:
        nonlocal told_at
        ports = listening(server)
        if ports and port not in ports:
            raise PortTaken(f"Another program took port {port} before Label Studio could: run `darkroom label up` again.")
        if port in ports and _status(port, "/health") == http.client.OK:
            return True
        if (now := time.monotonic()) - told_at > TELL_EVERY_S:
            told_at = now
            tell(f"Label Studio starts: {now - began:.0f} s (the first time it makes its database, which takes minutes)")
        time.sleep(0.2)
        return False

    wait_until(is_ready, server, "Label Studio", log, READY_TIMEOUT_S)
    status = _status(port, "/api/current-user/whoami", {"Authorization": f"Token {account.token}"})
    if status != http.client.OK:
        raise ServiceFailed(
            f"Label Studio refuses our token (HTTP {status}): {_file(home)} does not belong to its data. Restore that file, "
            f"or move {home / NAME} away to start with an empty one. Its log is {log}."
        )
    return account


def _status(port: int, path: str, headers: dict[str, str] | None = None) -> int | None:
    """HTTP status of a request; None while nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _file(home: Path) -> Path:
    return home / NAME / "account.json"


def _save(home: Path, port: int, instance: str, password: str, token: str) -> None:
    fields = {"port": port, "instance": instance, "password": password, "token": token}
    write_secret(_file(home), json.dumps(fields, indent=1))


def port_of(account: Account) -> int:
    """The port of the embedded one."""
    return int(account.url.rpartition(":")[2])
