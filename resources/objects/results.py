"""Results of expensive computations by content: chunks of rows in the object store, indexed in the database.

A chunk is written before its rows are indexed, so that a kill between the two loses only the work of that chunk; two writers
of one key leave one row. `kind` identifies the computation with its code and model.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence

import polars as pl

from resources.database.contract import Database, Twin
from resources.errors import CorruptObject, NotFound
from resources.objects.store import ObjectStore, content_key

KEY = "result_key"
"""The column of a chunk with the keys of its rows."""
_INDEX = Twin(
    postgres="select r.key, r.chunk, r.position from results r "
    "join (select json_array_elements_text($1::json) as key) k on k.key = r.key where r.kind = $2",
    sqlite="select r.key, r.chunk, r.position from json_each($1) k join results r on r.key = k.value where r.kind = $2",
)


class Results:
    """Stored rows by (kind, key)."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self.database = database
        self.store = store

    def index(self, kind: str, keys: Sequence[str]) -> pl.DataFrame:
        """The places of stored results: key, chunk (sha256), position."""
        return self.database.read(_INDEX, (json.dumps(list(dict.fromkeys(keys))), kind))

    def missing(self, kind: str, keys: Sequence[str]) -> list[str]:
        """The distinct keys without a result, in order."""
        computed = set(self.index(kind, keys)["key"])
        return [key for key in dict.fromkeys(keys) if key not in computed]

    def put(self, kind: str, rows: pl.DataFrame) -> None:
        """Store rows under their `result_key` column; an existing key keeps its first result."""
        if rows.is_empty():
            return
        buffer = io.BytesIO()
        rows.write_ipc(buffer, compression="zstd")
        chunk = self.store.put_if_absent(buffer.getvalue()).sha256
        self.database.insert(
            "insert into results (kind, key, chunk, position) values %s on conflict do nothing",
            [(kind, key, chunk, position) for position, key in enumerate(rows[KEY])],
        )

    def parts(self, kind: str, keys: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the stored rows of these keys with their `result_key`, one frame per chunk. Chunks are verified.

        Raises CorruptObject if a chunk is damaged or gone. All rows of damaged chunks of these keys are then deleted from
        the index, so that the next run computes them again: after a restored backup there may be many.
        """
        chunks = list(self.index(kind, keys).group_by("chunk", maintain_order=True))
        for number, ((chunk,), part) in enumerate(chunks):
            try:
                rows = pl.read_ipc(io.BytesIO(self._chunk(str(chunk))))
            except CorruptObject:
                for (later_chunk,), _ in chunks[number + 1 :]:
                    with contextlib.suppress(CorruptObject):
                        self._chunk(str(later_chunk))
                raise
            yield rows[part["position"].to_list()]

    def _chunk(self, sha256: str) -> bytes:
        try:
            return self.store.get_content(sha256)
        except (CorruptObject, NotFound) as error:
            # Deleted, so that the same rows can be stored again; a versioned bucket still has it.
            self.store.delete(content_key(sha256))
            rows = self.database.execute("delete from results where chunk = %s", (sha256,))
            raise CorruptObject(
                error.key, f"A chunk of {rows} stored results is damaged or gone: run again to compute them. {error}"
            ) from None
