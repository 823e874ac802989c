"""Lines that were not taken, with the reason: a bounded list on the disk, of which the oldest part goes first."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline_assets.ingestion.logs.events import MAX_RAW_CHARACTERS
from pipeline_assets.serving.stream.intake import DeadLetter

MAX_BYTES = 16 * 2**20
"""Of each of the two files."""


class DeadLetters:
    """The dead letters of one stream, which alone writes them. They hold personal data: mode 0600, and no log has them."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._newer, self._older = folder / "dead.jsonl", folder / "dead-older.jsonl"
        self._max_bytes = max_bytes

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Write letters; they are on the disk when this returns."""
        if not letters:
            return
        data = b"".join(_line(letter) for letter in letters)
        descriptor = os.open(self._newer, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > self._max_bytes:
            self._newer.replace(self._older)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The letters, oldest first, with the fields of `DeadLetter` as texts. A line that was cut by a kill is left out."""
        for path in (self._older, self._newer):
            try:
                text = path.read_text()
            except FileNotFoundError:
                continue
            for line in text.splitlines():
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def _line(letter: DeadLetter) -> bytes:
    """One line, begun by a line feed, so that one that was cut before it spoils no other."""
    fields = {**vars(letter), "arrived_at": letter.arrived_at.isoformat(), "raw": letter.raw[:MAX_RAW_CHARACTERS]}
    return b"\n" + json.dumps(fields, separators=(",", ":")).encode()
