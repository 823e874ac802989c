"""Segments of the journal as files of the lake's log: one object for each, under a name that a repeat gives again.

What lives here: names and bytes of the objects, and which segments the lake has. What does not: when a segment ends
(`receiving.py`), and how days of the log become stale: as by any file that comes late (`ingestion/logs`).
"""

import gzip
from collections.abc import Sequence

from pipeline_assets.errors import JournalDamaged
from pipeline_assets.serving.state.period import moment_of
from pipeline_assets.serving.stream.journal import Block, Journal
from resources import files
from resources.errors import NotFound
from resources.objects.store import ObjectStore

KEEP_BYTES = 256 * 2**20
"""Of segments that nobody needs any more: their ids are remembered after a restart."""
_LEVEL = 6
_PREFIX = "stream-"


class Segments:
    """The ended segments of a journal on their way to the lake. One thread flushes.

    flushed: the lake has all segments up to this one.
    """

    def __init__(self, journal: Journal, lake: ObjectStore) -> None:
        self._journal, self._lake = journal, lake
        self._marker = journal.folder / "flushed"
        self.flushed = int(self._marker.read_text()) if self._marker.exists() else 0

    def waiting(self) -> list[int]:
        """The ended segments that the lake does not have yet."""
        return [number for number in self._journal.segments()[:-1] if number > self.flushed]

    def flush(self) -> list[str]:
        """Write them to the lake, oldest first. Returns their keys. Raises the store's errors and JournalDamaged."""
        keys = []
        for number in self.waiting():
            key, data = log_file(self._journal.lineage, number, list(self._journal.segment(number)))
            if not self._has(key, data):  # in a folder, a repeat would be another file
                self._lake.put(key, data)
            files.write(self._marker, str(number), mode=0o600, is_synced=True)
            self.flushed = number
            keys.append(key)
        return keys

    def clean_up(self, needed_from: int) -> None:
        """Delete the oldest segments that the lake has, below `needed_from`, beyond the newest KEEP_BYTES."""
        kept = 0
        for number in reversed(self._journal.segments()):
            kept += self._journal.size(number)
            if kept > KEEP_BYTES and number <= self.flushed and number < needed_from:
                self._journal.remove(number)

    def _has(self, key: str, data: bytes) -> bool:
        """Whether a killed flush has written these lines. Raises JournalDamaged if there are others."""
        try:
            stored = self._lake.get(key)
        except NotFound:
            return False
        if stored != data and gzip.decompress(stored) != gzip.decompress(data):
            raise JournalDamaged(
                f"The lake has other events under {key} than {self._journal.folder}, as if an older copy of it had been "
                "restored. Move the folder away: the stream begins a new journal."
            )
        return True


def log_file(lineage: str, number: int, blocks: Sequence[Block]) -> tuple[str, bytes]:
    """Key and bytes of a segment in the lake's log; the same for the same segment. All blocks arrived on one day."""
    day = moment_of(blocks[0].arrived_us).date()
    data = gzip.compress(b"".join(block.lines for block in blocks), _LEVEL, mtime=0)
    return f"events/{day}/{_PREFIX}{lineage}-{number:010d}.jsonl.gz", data


def is_of_a_stream(key: str) -> bool:
    """Whether a file of the lake's log is a segment of some journal."""
    return key.rpartition("/")[2].startswith(_PREFIX)
