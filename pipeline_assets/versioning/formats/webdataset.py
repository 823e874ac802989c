"""WebDataset: tar shards of samples: `KEY.jpg` (or another extension), `KEY.json` and an array a list of numbers.

KEY is the row's number in nine digits. The JSON holds all columns but lists of numbers, which are `KEY.COLUMN.npy`. A null
is `null` in the JSON, and a list that is null has no array. Tar files are USTAR without times, owners or modes of their own,
so that the same rows give the same bytes.
"""

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.formats import incoming, webdataset_reading
from pipeline_assets.versioning.formats.column_types import check_lists, check_types
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.json_cells import to_json
from pipeline_assets.versioning.formats.records import BYTES, PATH, Asked
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards

KIND = "WebDataset"
_COLUMN = re.compile(r"[A-Za-z0-9_]{1,60}")
_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}")


class Numbering:
    """Opens tar shards whose keys go on from one to the next."""

    def __init__(self) -> None:
        self.next = 0

    def open(self, path: Path, schema: pl.Schema) -> "WebdatasetShard":
        """The next shard."""
        return WebdatasetShard(path, schema, self)


class WebdatasetShard:
    """A tar file, a sample a row."""

    def __init__(self, path: Path, schema: pl.Schema, numbering: Numbering) -> None:
        check_types(schema, KIND)
        self._arrays = [name for name, dtype in schema.items() if _is_array(dtype)]
        odd = [name for name in self._arrays if not _COLUMN.fullmatch(name)]
        blobs = [name for name, dtype in schema.items() if dtype == pl.Binary and name != BYTES]
        if odd or blobs:
            raise ExportRefused(f"{KIND} has no place for the column {(odd + blobs)[0]}: leave it out (--columns).")
        self._numbering = numbering
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  closed by `close`

    def write(self, rows: pl.DataFrame) -> None:
        """Add a sample for each row."""
        check_lists(rows, KIND)
        told = rows.drop([*self._arrays, BYTES], strict=False)
        arrays = {name: rows[name] for name in self._arrays}
        data = rows[BYTES] if BYTES in rows.columns else None
        for at, row in enumerate(told.iter_rows(named=True)):
            key = f"{self._numbering.next:09}"
            self._numbering.next += 1
            if data is not None and data[at] is not None:
                self._add(f"{key}{_extension(row.get(PATH))}", data[at])
            self._add(f"{key}.json", to_json(row).encode())
            for name, column in arrays.items():
                if column[at] is not None:
                    self._add(f"{key}.{name}.npy", _npy(column[at].to_numpy()))

    def close(self) -> None:
        """Write the tar file's end."""
        self._tar.close()

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # else every member that was written stays in memory


def export(pinned: Pinned, target: Target, asked: Asked, tell: Tell) -> Exported:
    """Write NAME-000000.tar and so on."""
    return export_shards(pinned, target, asked, tell, kind="webdataset", name="{:06}.tar", open_shard=Numbering().open)


def batches(source: Path, asked: Reading) -> Iterator[Batch | Rejected]:
    """The samples of a tar file, or of all that a folder has; those of an export of ours with their columns."""
    types = incoming.described_types(source)
    for path in incoming.shards(source, (".tar",)):
        yield from webdataset_reading.batches(path, types)


def _is_array(dtype: Any) -> bool:
    return isinstance(dtype, pl.List) and dtype.inner != pl.String


def _extension(path: Any) -> str:
    """A file's own extension; `.bin` where it has none, or one that would be taken for a row's other parts."""
    found = PurePosixPath(path or "").suffix.lower()
    return found if _EXTENSION.fullmatch(found) and found not in (".json", ".npy") else ".bin"


def _npy(values: Any) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.ascontiguousarray(values), allow_pickle=False)
    return sink.getvalue()
