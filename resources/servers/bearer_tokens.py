"""Bearer tokens of an HTTP service: shown once, kept as SHA-256 in a file of HOME that only its owner can read.

A token has 256 random bits, so a plain hash can't be guessed back. Several are valid at once: to rotate one, add another,
move the clients, revoke the former. A running server sees changes with the next request.
"""

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from resources import files
from resources.errors import HomeNotOurs, NotFound

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
MOST_CHARACTERS = 200


@dataclass(frozen=True)
class Token:
    """A valid token. sha256: of its text."""

    name: str
    sha256: str
    created_at: str


class BearerTokens:
    """The tokens in a file. Raises HomeNotOurs if the file is damaged, or readable by others."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._tokens: list[Token] = []

    def all(self) -> list[Token]:
        """The valid tokens, oldest first; read again if the file has changed."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            self._stamp, self._tokens = None, []
            return []
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            if status.st_mode & 0o077:
                raise HomeNotOurs(f"{self._file} can be read by others: chmod 600 it, and revoke its tokens")
            try:
                self._tokens = [Token(**entry) for entry in json.loads(self._file.read_bytes())]
            except (ValueError, TypeError) as error:
                raise HomeNotOurs(f"{self._file} is damaged ({error!s:.80}): delete it, and add tokens again") from None
            self._stamp = stamp
        return self._tokens

    def name_of(self, text: str) -> str | None:
        """The name of the token with this text; None if it is not valid."""
        digest = hashlib.sha256(text[:MOST_CHARACTERS].encode("utf-8", "replace")).hexdigest()
        return next((token.name for token in self.all() if hmac.compare_digest(token.sha256, digest)), None)

    def add(self, name: str) -> str:
        """Add a token and return its text, which is kept nowhere. Raises ValueError for a name that can't be used."""
        if not NAME.fullmatch(name) or name in {token.name for token in self.all()}:
            raise ValueError(f"{name!r} is taken, or not of letters, digits and . _ - (at most 40)")
        text = f"dk_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._write([*self.all(), Token(name, digest, datetime.now(UTC).isoformat(timespec="seconds"))])
        return text

    def revoke(self, name: str) -> None:
        """Make a token invalid at once. Raises NotFound if none has this name."""
        left = [token for token in self.all() if token.name != name]
        if len(left) == len(self.all()):
            raise NotFound(name, f"no token is named {name}: `darkroom serve token list` shows all")
        self._write(left)

    def _write(self, tokens: list[Token]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(self._file, json.dumps([asdict(token) for token in tokens], indent=1).encode(), mode=0o600)
