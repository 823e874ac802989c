"""Expensive results by content, computed once: chunks of rows in the object store, an index of them in the database.

A chunk is written before its rows are indexed, so that a kill between the two loses nothing but the chunk's work; two
writers of one key leave one row. `kind` names what was computed, by which code and model.
"""

import io
import json
from collections.abc import Iterator, Sequence

import polars as pl

from resources.database import Database, Twin
from resources.errors import CorruptObject, NotFound
from resources.object_store import ObjectStore, content_key

KEY = "result_key"
"""The column of a chunk that names its rows."""
_INDEX = Twin(
    postgres="select r.key, r.chunk, r.position from results r "
    "join (select json_array_elements_text($1::json) as key) k on k.key = r.key where r.kind = $2",
    sqlite="select r.key, r.chunk, r.position from json_each($1) k join results r on r.key = k.value where r.kind = $2",
)


class Results:
    """Rows by (kind, key). Reading costs a look-up; writing is at most one chunk behind the work."""

    def __init__(self, postgres: Database, store: ObjectStore) -> None:
        self.postgres = postgres
        self.store = store

    def index(self, kind: str, keys: Sequence[str]) -> pl.DataFrame:
        """Where the known ones of `keys` lie: key, chunk (sha256), position."""
        return self.postgres.read(_INDEX, (json.dumps(list(dict.fromkeys(keys))), kind))

    def missing(self, kind: str, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that have no result yet, in order, each once."""
        known = set(self.index(kind, keys)["key"])
        return [key for key in dict.fromkeys(keys) if key not in known]

    def put(self, kind: str, rows: pl.DataFrame) -> None:
        """Keep rows, named by their `result_key` column; a key that is known already keeps its first result."""
        if rows.is_empty():
            return
        buffer = io.BytesIO()
        rows.write_ipc(buffer, compression="zstd")
        chunk = self.store.put_if_absent(buffer.getvalue()).sha256
        self.postgres.insert(
            "insert into results (kind, key, chunk, position) values %s on conflict do nothing",
            [(kind, key, chunk, position) for position, key in enumerate(rows[KEY])],
        )

    def parts(self, kind: str, keys: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of `keys` that are known, with their `result_key`, a chunk at a time. Verified on read.

        Raises CorruptObject if a chunk is damaged or gone; its rows are unknown from then on, to be computed again.
        """
        for (chunk,), part in self.index(kind, keys).group_by("chunk", maintain_order=True):
            rows = pl.read_ipc(io.BytesIO(self._chunk(str(chunk))))
            yield rows[part["position"].to_list()]

    def _chunk(self, sha256: str) -> bytes:
        try:
            return self.store.get_content(sha256)
        except (CorruptObject, NotFound) as error:
            # Out of the way, so that the same rows can be kept again; a versioned bucket still has it.
            self.store.delete(content_key(sha256))
            rows = self.postgres.execute("delete from results where chunk = %s", (sha256,))
            raise CorruptObject(
                error.key, f"A chunk of {rows} kept results is damaged or gone; run again: they are computed anew. {error}"
            ) from None
