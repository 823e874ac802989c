"""Frames that do not fit in memory: as parts that can be iterated repeatedly, and spooled to disk."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from resources.errors import NoSpace, is_full


@dataclass(frozen=True)
class Parts:
    """A frame in parts that fit in memory; every iteration starts over."""

    schema: pl.Schema
    again: Callable[[], Iterator[pl.DataFrame]]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Parts":
        """A frame in memory as the only part."""
        return cls(frame.schema, lambda: iter([frame]))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.again()

    def filter(self, *predicates: pl.Expr) -> "Parts":
        """The rows for which all predicates hold."""
        return Parts(self.schema, lambda: (part.filter(*predicates) for part in self.again()))


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """The frame in Arrow types that every reader supports; buffers are shared, not copied, if the types allow it."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


class Spool:
    """Parts on disk, in order of arrival: an Arrow stream in an unnamed file, so that a kill leaves nothing behind.

    The file is in the folder for temporary files (TMPDIR). Iterate over one `parts()` at a time.
    """

    def __init__(self, schema: pl.Schema) -> None:
        self.schema = schema
        self._file = tempfile.TemporaryFile(prefix="darkroom-")  # noqa: SIM115  it lives as long as this object
        weakref.finalize(self, self._file.close)
        self._writer = pa.ipc.new_stream(self._file, to_arrow(pl.DataFrame(schema=schema)).schema)

    def add(self, part: pl.DataFrame) -> None:
        """Append a part. Raises NoSpace, or pyarrow's ArrowInvalid for another schema."""
        try:
            self._writer.write_table(to_arrow(part))
        except OSError as error:
            if not is_full(error):
                raise
            raise NoSpace(
                f"{tempfile.gettempdir()} is full ({error.strerror}), where rows wait for their commit. Free some, or set "
                "TMPDIR to a folder on a larger disk; then run again."
            ) from None

    def parts(self) -> Parts:
        """All added parts; no part can be added afterwards."""
        self._writer.close()
        return Parts(self.schema, self._read)

    def _read(self) -> Iterator[pl.DataFrame]:
        self._file.seek(0, os.SEEK_SET)
        for batch in pa.ipc.open_stream(self._file):
            yield pl.DataFrame(pl.from_arrow(batch, schema=self.schema))
