"""WebDataset: tar shards of samples: `KEY.jpg` (or another extension), `KEY.json`, and one array per list of numbers.

Readers decode a member by its extension, and some of these run code (`pkl`, `pth`). So only extensions of pictures, sound
and video are kept, and other files are `KEY.bin`; the JSON's `path` has the file's own name.

KEY is the row's number in nine digits. The JSON has all columns except lists of numbers, which are `KEY.COLUMN.npy`. A null
is `null` in the JSON, and a null list has no array. Tar files are USTAR without times, owners or modes, so that the same
rows give the same bytes.
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
from pipeline_assets.versioning.formats import bounds, incoming
from pipeline_assets.versioning.formats.column_types import check_lists, check_types
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.json_cells import cells, to_json
from pipeline_assets.versioning.formats.records import BYTES, PATH, ExportOptions
from pipeline_assets.versioning.formats.shards import Exported, Target, Tell, export_shards
from pipeline_assets.versioning.formats.webdataset import reading
from pipeline_assets.versioning.pin.contents import Pinned

KIND = "WebDataset"
_COLUMN = re.compile(r"[A-Za-z0-9_]{1,60}")
_INTEGER = re.compile(rb"\s*[+-]?[0-9]{1,18}\s*")
_PICTURES = "jpg jpeg jpe jfif png apng gif webp bmp dib tif tiff avif heic heif jp2 j2k jpx ppm pgm pbm pnm"
_SOUND = "wav flac mp3 ogg oga opus m4a aac aif aiff"
_VIDEO = "mp4 m4v mov webm mkv avi mpg mpeg"
MEDIA = frozenset(f".{name}" for name in f"{_PICTURES} {_SOUND} {_VIDEO}".split())
"""Extensions that no reader executes. PostScript is not among them: Pillow runs it."""


class Numbering:
    """Opens tar shards with consecutive keys across shards."""

    def __init__(self) -> None:
        self.next = 0

    def open(self, path: Path, schema: pl.Schema) -> "WebdatasetShard":
        """The next shard."""
        return WebdatasetShard(path, schema, self)


class WebdatasetShard:
    """A tar file, one sample per row."""

    def __init__(self, path: Path, schema: pl.Schema, numbering: Numbering) -> None:
        check_types(schema, KIND)
        self._arrays = [name for name, dtype in schema.items() if _is_array(dtype)]
        bad_names = [name for name in self._arrays if not _COLUMN.fullmatch(name)]
        blobs = [name for name, dtype in schema.items() if dtype == pl.Binary and name != BYTES]
        if bad_names or blobs:
            raise ExportRefused(f"{KIND} has no place for the column {(bad_names + blobs)[0]}: leave it out (--columns).")
        self._numbering = numbering
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  closed by `close`

    def write(self, rows: pl.DataFrame) -> None:
        """Add a sample for each row."""
        check_lists(rows, KIND)
        json_columns = rows.drop([*self._arrays, BYTES], strict=False)
        arrays = {name: rows[name] for name in self._arrays}
        data = rows[BYTES] if BYTES in rows.columns else None
        for at, row in enumerate(cells(json_columns)):
            key = f"{self._numbering.next:09}"
            self._numbering.next += 1
            if data is not None and data[at] is not None:
                self._add(f"{key}{_extension(row.get(PATH), data[at])}", data[at])
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
        self._tar.members.clear()  # type: ignore[attr-defined]  # else all written members stay in memory


def export(pinned: Pinned, target: Target, options: ExportOptions, tell: Tell) -> Exported:
    """Write NAME-000000.tar and so on."""
    return export_shards(pinned, target, options, tell, kind="webdataset", name="{:06}.tar", open_shard=Numbering().open)


@incoming.with_empty_batch
def batches(source: Path, options: Reading) -> Iterator[Batch | Rejected]:
    """The samples of a tar file, or of all in a folder; those of our own exports with their columns."""
    types = incoming.described_types(source)
    for path in incoming.shards(source, (".tar",)):
        yield from bounds.within_bounds(path, reading.batches(path, types))


def _is_array(dtype: Any) -> bool:
    return isinstance(dtype, pl.List) and dtype.inner != pl.String


def _extension(path: Any, data: bytes) -> str:
    """The file's extension if it is one of MEDIA, or `.cls` for a class number; else `.bin`."""
    suffix = PurePosixPath(path or "").suffix.lower()
    return suffix if suffix in MEDIA or (suffix == ".cls" and _INTEGER.fullmatch(data)) else ".bin"


def _npy(values: Any) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.ascontiguousarray(values), allow_pickle=False)
    return sink.getvalue()
