"""DARKROOM_HOME as a private folder of this user: which of its files are trusted, and who may read it.

Darkroom reads addresses, keys, certificates and programs from there. A pull request, an archive or another user of the
machine could have put one there, to redirect bytes and credentials.
"""

import io
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from dotenv import dotenv_values

from resources.errors import HomeNotOurs, NoSpace, is_full
from resources.tracked import tracked_by_git, tracked_link

OTHERS = 0o077
PASSED_THROUGH = 0o711
"""When started by root, PostgreSQL may run as its own user, who needs to traverse HOME to its data (`pgserver.run_as`)."""
MAX_ENV_BYTES = 64 * 1024
CA_BUNDLE = "ca-bundle.pem"
"""File in HOME: the authorities of the embedded S3's certificate."""
WRITTEN = (
    "EMBEDDED",
    "S3_ENDPOINT",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "S3_CA_BUNDLE",
    "POSTGRES_URL",
    "DAGSTER_POSTGRES_URL",
)
"""The settings that `darkroom up` writes to HOME/env, without their prefix."""
_HERE = re.compile(r"https?://127\.0\.0\.1(:\d{1,5})?/?")
_NETLOC = re.compile(r"[\w.~%-]+:[\w.~%-]+@(127\.0\.0\.1(:\d{1,5})?)?")
_SOCKET = re.compile(r"/[^,\0]*")
_QUERY = frozenset(
    {"host", "port", "require_auth", "requirepeer", "sslmode", "channel_binding", "gssencmode", "connect_timeout"}
)


def check_home(home: Path, named: Path) -> None:
    """Raise HomeNotOurs if files in HOME may come from somebody else. named: the path in the setting, links unresolved."""
    link = tracked_link(named)
    if link:
        raise HomeNotOurs(f"{link} is a link that git tracks, and leads to {home}: set DARKROOM_HOME to the folder itself.")
    try:
        status = home.stat()
    except FileNotFoundError:
        return
    if status.st_uid != os.geteuid():
        raise HomeNotOurs(
            f"{home} belongs to user {status.st_uid}, and you are {os.geteuid()}: Darkroom would use the servers, keys and "
            "programs of another. Set DARKROOM_HOME to a folder that is not there yet, or make this one yours: "
            f"chown -R {os.geteuid()} {home}"
        )
    if tracked := tracked_by_git(home):
        raise HomeNotOurs(
            f"git tracks {tracked} in {home}: a pull request may have put it there, and Darkroom would use its addresses, "
            f"keys and programs. Look at it, take it out of git (git rm -r --cached {home}), and delete it."
        )


def make_home(home: Path, *urls: str) -> None:
    """Create HOME if it is missing, closed to other users and ignored by git. Raises NoSpace.

    urls: of uploads and lake. Folders among them are created for their owner alone; an existing one keeps its mode, which
    may be meant for a group.
    """
    folders = [Path(unquote(parts.path)) for url in urls if (parts := urlsplit(url)).scheme == "file"]
    try:
        for folder in (home, *folders):
            make_private(folder)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        if not is_full(error):
            raise
        raise NoSpace(f"The disk of {home} is full ({error.strerror}): make room, then run again.") from error
    mode = stat.S_IMODE(home.stat().st_mode)
    if os.geteuid() == 0 and mode == PASSED_THROUGH:
        for path in home.iterdir():
            with suppress(FileNotFoundError):  # other processes work here, too
                _close(path)
    elif mode & OTHERS:
        home.chmod(0o700)


def open_to_all(url: str) -> bool:
    """Whether every user of this machine may read a folder of the data."""
    parts = urlsplit(url)
    return parts.scheme == "file" and bool(Path(unquote(parts.path)).stat().st_mode & stat.S_IROTH)


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents for their owner alone. Existing folders keep their mode."""
    for path in reversed((folder, *folder.parents)):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def env_values(file: Path) -> Mapping[str, str]:
    """The values that `darkroom up` wrote to HOME/env. Raises HomeNotOurs if others could have written or may read the file.

    Also if it names servers of another machine, or settings that `darkroom up` does not write.
    """
    advice = "Delete it: `darkroom up` writes a new one."
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise HomeNotOurs(f"{file} is a link, or can't be read ({error.strerror}). {advice}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & OTHERS:
            description = f"belongs to user {status.st_uid} and has mode {stat.S_IMODE(status.st_mode):04o}"
            raise HomeNotOurs(f"{file} {description}, and should be yours with mode 0600, as it holds secrets. {advice}")
        text = os.read(descriptor, MAX_ENV_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
    values = {name: value or "" for name, value in dotenv_values(stream=io.StringIO(text)).items()}
    for name, value in values.items():
        if fault := _fault(name.removeprefix("DARKROOM_"), value):
            raise HomeNotOurs(f"{file} has {name}, {fault}. Set it in your environment if it is yours. {advice}")
    if values.get("DARKROOM_S3_CA_BUNDLE"):
        values["DARKROOM_S3_CA_BUNDLE"] = str(file.parent / CA_BUNDLE)  # HOME may have been moved since
    return values


def _fault(name: str, value: str) -> str | None:
    """Why `darkroom up` can't have written a line of HOME/env; None if it can."""
    if name not in WRITTEN:
        return "which `darkroom up` does not write"
    is_here = True
    if name == "S3_ENDPOINT":
        is_here = not value or bool(_HERE.fullmatch(value))
    elif name.endswith("POSTGRES_URL"):
        is_here = not value or _is_postgres_here(value)
    return None if is_here else "and no server that Darkroom starts has this address"


def _is_postgres_here(url: str) -> bool:
    """Whether libpq connects to 127.0.0.1 or a Unix socket with this URL."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    socket = dict(query).get("host")
    netloc = _NETLOC.fullmatch(parts.netloc)
    if netloc is None or parts.scheme != "postgresql" or len(dict(query)) < len(query) or not dict(query).keys() <= _QUERY:
        return False
    return bool(netloc[1]) if socket is None else not netloc[1] and bool(_SOCKET.fullmatch(socket))


def _close(path: Path) -> None:
    status = path.lstat()
    is_ours = status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)
    if is_ours and status.st_mode & OTHERS:
        path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
