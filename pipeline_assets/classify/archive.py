"""Read a user's `torch.export` archive without running code from it.

`torch.export.load` is made for trusted files: it unpickles sample inputs, pickled weights and custom objects, evaluates
shape expressions as Python, resolves any name under `torch`, and pastes the file's names into source that it compiles. It
is not called here. Only the graph's JSON and the plain tensors are read, each within limits, and the network is rebuilt
from them (`graph.py`). Tested with torch 2.13.
"""

import io
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import fx

from pipeline_assets.classify.graph import Refused, of_archive, rebuild
from pipeline_assets.errors import ModelUnusable
from pipeline_assets.runtime import strict_json

MAX_ARCHIVE_BYTES = 4 << 30
MAX_JSON_BYTES = 32 << 20
"""Of one JSON member. The largest of 100 usual networks has 3 MB."""
MAX_MEMBERS = 20_000
MAX_SHARING = 16
"""How often weights may be counted that layers share, on average."""
_EXPORT_ANEW = "save the network anew with torch.export.save(torch.export.export(net.eval(), ...), 'model.pt2')"

_READ = re.compile(
    r"archive_format|archive_version|byteorder|models/model\.json"
    r"|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
)
_UNREAD = re.compile(
    r"\.data/(version|serialization_id)|data/sample_inputs/model\.pt|\.format_version|\.storage_alignment|extra/.*"
)
"""Sample inputs are a pickle, and not needed."""

_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
"""By number of `ScalarType` in torch/_export/serde/schema.py."""


def load_archive(path: Path) -> fx.GraphModule:
    """Build the network of a `.pt2`: (B, 3, H, W) float32 -> a tuple of its outputs.

    Raises ModelUnusable if the file is not such an archive, is too large, or has compressed members, pickled objects,
    operators that are not on the list (`operators.py`), or anything else that a plain network does not need.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            weights = _tensors(archive, members, "weights") | _tensors(archive, members, "constants")
            return rebuild(_json(archive, members, "models/model.json"), weights, _DTYPES)
    except Refused as refusal:
        raise ModelUnusable(f"{path} {refusal}. {_EXPORT_ANEW}") from refusal
    except (
        zipfile.BadZipFile, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, RecursionError,
        NotImplementedError, OverflowError,
    ) as error:  # fmt: skip
        raise ModelUnusable(f"{path} is not a torch.export archive ({error!s:.200}): {_EXPORT_ANEW}") from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The archive's parts by name without the root folder; refuses unknown parts, and parts larger than the file."""
    members_in_file = archive.infolist()
    weight, size = sum(info.file_size for info in members_in_file), path.stat().st_size
    if size > MAX_ARCHIVE_BYTES:
        raise Refused(f"has more than {MAX_ARCHIVE_BYTES >> 30} GiB")
    if len(members_in_file) > MAX_MEMBERS:
        raise Refused(f"has {len(members_in_file):,} members, more than {MAX_MEMBERS:,}")
    if weight > size or any(info.compress_type != zipfile.ZIP_STORED for info in members_in_file):
        raise Refused("holds compressed or overlapping members, which torch.export.save never writes")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in members_in_file:
        name = info.filename.partition("/")[2]
        if name in members:
            raise Refused(f"holds {name!r:.100} twice")
        if _READ.fullmatch(name):
            members[name] = info
        elif not _UNREAD.fullmatch(name):
            raise Refused(f"holds {name!r:.100}, which is refused unread")
    if "models/model.json" not in members or archive.read(members["archive_format"]) != b"pt2":
        raise ValueError("it has no graph")
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise Refused("was written by a big-endian machine")
    return members


def _json(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> dict[str, Any]:
    if members[name].file_size > MAX_JSON_BYTES:
        raise Refused(f"has {members[name].file_size >> 20} MiB in {name}, more than {MAX_JSON_BYTES >> 20}")
    return of_archive(strict_json.loads(archive.read(members[name])), dict)


def _tensors(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], kind: str) -> dict[str, torch.Tensor]:
    """Tensors by their name in the graph; tensors of one member share memory. Reads only the bytes that they cover."""
    config = of_archive(_json(archive, members, f"data/{kind}/model_{kind}_config.json")["config"], dict)
    if any(payload["use_pickle"] for payload in config.values()):
        raise Refused("pickles a weight; only plain tensors are read")
    shapes = {name: _Strided(payload["tensor_meta"]) for name, payload in config.items()}
    files: dict[str, int] = {}
    for name, shape in shapes.items():
        file = config[name]["path_name"]
        files[file] = max(files.get(file, 0), shape.reach * shape.dtype.itemsize)
    if sum(shape.count * shape.dtype.itemsize for shape in shapes.values()) > MAX_SHARING * sum(files.values()):
        raise Refused(f"has tensors of more than {MAX_SHARING} times its bytes: copy weights that are views of one another")
    storages = {file: _storage(archive, members[f"data/{kind}/{file}"], size) for file, size in files.items()}
    return {name: shape.view(storages[config[name]["path_name"]]) for name, shape in shapes.items()}


def _storage(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> torch.Tensor:
    """The first `size` bytes of a member, as (size,) uint8."""
    if size > member.file_size:
        raise Refused(f"has {member.file_size} bytes in {member.filename!r:.100} for tensors of {size}")
    storage = torch.empty(size, dtype=torch.uint8)
    with archive.open(member) as stream:
        if cast(io.BufferedIOBase, stream).readinto(memoryview(cast(Any, storage.numpy()))) != size:
            raise EOFError(f"{member.filename} ends early")
    return storage


class _Strided:
    """A tensor's layout in the archive. count: of its elements; reach: of elements from its storage's start to its end."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self.dtype = _DTYPES[meta["dtype"]]
        self.sizes, self.strides = ([_number(n) for n in of_archive(meta[key], list)] for key in ("sizes", "strides"))
        self.offset, self.count = _number(meta["storage_offset"]), math.prod(self.sizes)
        if len(self.sizes) != len(self.strides) or len(self.sizes) > 8:
            raise Refused("has a tensor with more than 8 dimensions, or with other strides than dimensions")
        steps = sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True))
        self.reach = self.offset + steps + 1 if self.count else 0

    def view(self, storage: torch.Tensor) -> torch.Tensor:
        """The tensor. storage: (n,) uint8, n at least reach x the dtype's size."""
        if not self.count:
            return torch.empty(self.sizes, dtype=self.dtype)
        whole = storage[: storage.numel() // self.dtype.itemsize * self.dtype.itemsize]
        # Booleans of other bytes than 0 and 1 are undefined behaviour.
        elements = whole != 0 if self.dtype == torch.bool else whole.view(self.dtype)
        return elements.as_strided(self.sizes, self.strides, self.offset)


def _number(size: Mapping[str, Any]) -> int:
    """A size, stride or offset: a non-negative number, not a symbol."""
    number = size["as_int"]
    if type(number) is not int or not 0 <= number < 2**40:
        raise Refused("has a tensor of impossible size")
    return number
