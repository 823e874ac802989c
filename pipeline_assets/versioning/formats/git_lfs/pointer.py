"""The pointer: the small text that git stores in place of an LFS object."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import ImportRefused

MAX_BYTES = 1024
"""Size limit of a pointer in the specification (git-lfs, docs/spec.md)."""
EMPTY_OID = hashlib.sha256(b"").hexdigest()

_VERSIONS = (b"version https://git-lfs.github.com/spec/v1\n", b"version https://hawser.github.com/spec/v1\n")
_BODY = re.compile(rb"oid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,17})\n")


@dataclass(frozen=True)
class Pointer:
    """An object's sha256 in hex, and its size. The pointer of an empty file is an empty file."""

    oid: str
    size_bytes: int

    def dumps(self) -> bytes:
        """The text of the pointer."""
        if self.size_bytes == 0:
            return b""
        return _VERSIONS[0] + f"oid sha256:{self.oid}\nsize {self.size_bytes}\n".encode()

    @classmethod
    def loads(cls, data: bytes, source: str) -> "Pointer | None":
        """Parse a blob; None if it is no pointer. Raises ImportRefused for a broken pointer."""
        if not data:
            return cls(EMPTY_OID, 0)
        version = next((version for version in _VERSIONS if data.startswith(version)), None)
        if version is None:
            return None
        body = _BODY.fullmatch(data[len(version) :])
        if not body:
            raise ImportRefused(
                f"{source} begins as a git-lfs pointer, but is invalid (extensions are not supported): check it with "
                "`git lfs fsck --pointers`."
            )
        return cls(body[1].decode(), int(body[2]))

    @classmethod
    def is_in(cls, path: Path) -> bool:
        """Whether a file is a pointer."""
        if path.is_symlink() or not path.is_file() or path.stat().st_size >= MAX_BYTES:
            return False
        try:
            return cls.loads(path.read_bytes(), str(path)) is not None
        except ImportRefused:
            return False
