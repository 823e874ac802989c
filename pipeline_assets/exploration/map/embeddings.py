"""Unit vectors of all photos of one model, in files on the local disk that are mapped into memory.

A cache of `photo_classes`: it is appended to, verified when it is opened, and made again if it is lost or damaged. A vector
is named by its photo's sha256 and never changes. Next to each lie its codes (`codes.py`), with which `nearest.py` skips
most vectors.
"""

import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.exploration.map.codes import LENGTHS, Codes, coded, main_basis, widths
from pipeline_assets.exploration.map.neighbours import Floats, unit_vectors, usable
from resources.files import write

BASIS_FROM = 2_000
"""Vectors that the basis is made from."""
NAME_BYTES = 32
STATE = "state.json"
Read = Callable[[Sequence[str]], Iterator[pl.DataFrame]]
"""Reads the embeddings of contents: frames of sha256, embedding."""


@dataclass(frozen=True)
class View:
    """The files as they were when opened. sha256: hex, in the order of rows; vectors: (n, d), zero where it is unusable."""

    sha256: pl.Series
    vectors: Floats
    codes: Codes
    basis: Floats

    def rows_of(self, sha256: pl.Series) -> npt.NDArray[np.int64]:
        """The rows of these contents. Raises KeyError if one is missing."""
        rows = pl.DataFrame({"sha256": self.sha256}).with_row_index("row")
        numbers = sha256.to_frame("sha256").join(rows, on="sha256", how="left", maintain_order="left")["row"]
        if numbers.null_count():
            raise KeyError(f"{numbers.null_count():,} contents have no vector")
        return numbers.cast(pl.Int64).to_numpy()

    def is_usable(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these rows have a direction."""
        return self.codes.is_usable(rows)


def synced(folder: Path, wanted: pl.Series, read: Read, existing: Callable[[], pl.Series]) -> View:
    """The vectors of all `wanted` contents, of which those that are missing are read.

    wanted: distinct sha256. existing: those of the newest table, called if others than the wanted lie here. What is neither
    wanted nor existing is removed, so that nothing of an erased photo stays.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        state = _state(folder)
        _only(folder, state)
        names = _names(folder, state)
        if state and not names.is_in(wanted.implode()).all():
            stays = names.is_in(pl.concat([wanted, existing()]).implode())
            if not stays.all():
                state = _without(folder, state, stays.to_numpy())
                names = _names(folder, state)
        missing = wanted.filter(~wanted.is_in(names.implode())).sort() if len(names) else wanted.sort()
        for part in read(missing.to_list()) if len(missing) else ():
            state = _append(folder, state, part)
        return _view(folder, state)


def _view(folder: Path, state: dict[str, Any]) -> View:
    if not state:
        none = np.zeros((0, 1), np.float32)
        return View(pl.Series([], dtype=pl.String), none, coded(none, np.eye(1, dtype=np.float32)), none)
    files, shapes = _files(folder, state), _shapes(state)
    arrays = {
        name: np.memmap(files[name], kind, "r", shape=(state["rows"], columns))
        for name, (columns, kind) in shapes.items()
        if name != "names"
    }
    codes = Codes(arrays["heads"], arrays["rests"], arrays["lengths"])
    return View(_names(folder, state), arrays["vectors"], codes, _basis(files["basis"], state["width"]))


def _append(folder: Path, state: dict[str, Any], part: pl.DataFrame) -> dict[str, Any]:
    """Write a frame's vectors behind the others. Those that are not usable are zero."""
    if part.is_empty():
        return state
    lengths = part["embedding"].list.len().fill_null(0)
    width = state["width"] if state else max(lengths.filter(lengths > 0).mode().to_list(), default=1)
    vectors = np.zeros((part.height, width), np.float32)
    fits = (lengths == width).to_numpy()
    values = part["embedding"].filter(pl.Series(fits)).explode().cast(pl.Float32).to_numpy().reshape(-1, width)
    good = np.flatnonzero(fits)[usable(values)]
    vectors[good] = unit_vectors(values[usable(values)])
    if not state:
        data = main_basis(vectors[good][:: max(1, len(good) // BASIS_FROM)], width).tobytes()
        state = {"generation": 0, "rows": 0, "width": width, "basis": zlib.crc32(data), "checks": {}}
        write(_files(folder, state)["basis"], data, mode=0o600)
    basis = _basis(_files(folder, state)["basis"], width)
    names = np.frombuffer(bytes.fromhex("".join(part["sha256"])), np.uint8)
    codes = coded(vectors, basis)
    parts = {"names": names, "vectors": vectors, "heads": codes.heads, "rests": codes.rests, "lengths": codes.lengths}
    return _saved(folder, _written(folder, state, parts, part.height))


def _basis(path: Path, width: int) -> Floats:
    return np.fromfile(path, np.float32).reshape(width, -1)


def _written(folder: Path, state: dict[str, Any], parts: dict[str, npt.NDArray[Any]], rows: int) -> dict[str, Any]:
    """The state after these parts were appended to the files. Until it is saved, the former state holds."""
    files = _files(folder, state)
    checks = dict(state["checks"])
    for name, part in parts.items():
        size = _sizes(state)[name]
        with files[name].open("r+b" if files[name].exists() else "w+b") as file:
            file.truncate(size)
            file.seek(size)
            part.tofile(file)
        status = files[name].stat()
        crc = zlib.crc32(np.ascontiguousarray(part).tobytes(), checks.get(name, {}).get("crc", 0))
        checks[name] = {"crc": crc, "mtime_ns": status.st_mtime_ns}
    return {**state, "rows": state["rows"] + rows, "checks": checks}


def _without(folder: Path, state: dict[str, Any], keep: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Copy the rows to keep into new files, and delete the old ones. Readers of these keep what they have mapped."""
    old = _files(folder, state)
    new = {**state, "generation": state["generation"] + 1, "rows": 0, "checks": {}}
    shutil.copy(old["basis"], _files(folder, new)["basis"])
    kept = np.flatnonzero(keep)
    arrays = {name: np.memmap(old[name], kind, "r").reshape(-1, columns) for name, (columns, kind) in _shapes(state).items()}
    for start in range(0, len(kept), BASIS_FROM):
        some = kept[start : start + BASIS_FROM]
        new = _written(folder, new, {name: array[some].reshape(-1) for name, array in arrays.items()}, len(some))
    if len(kept):
        _saved(folder, new)
    else:
        (folder / STATE).unlink()
        new = {}
    _only(folder, new)
    return new


def _state(folder: Path) -> dict[str, Any]:
    """What was written last, after a look at the files: empty if they are not there, or not as they were written."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text())
        files = _files(folder, state)
        for name, check in state["checks"].items():
            status = files[name].stat()
            size = _sizes(state)[name]
            is_as_written = status.st_mtime_ns == check["mtime_ns"] and status.st_size == size
            if not is_as_written and (status.st_size < size or _crc(files[name], size) != check["crc"]):
                return {}
        if zlib.crc32(files["basis"].read_bytes()) != state["basis"]:
            return {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return state


def _only(folder: Path, state: dict[str, Any]) -> None:
    """Remove the files of other generations, and what killed writers left: an erased photo's vector may be in them."""
    files = _files(folder, state) if state else {}
    for path in folder.glob("*-*"):
        if path not in files.values():
            path.unlink()
    for name, size in _sizes(state).items() if state else ():
        if files[name].stat().st_size > size:
            os.truncate(files[name], size)


def _crc(path: Path, size: int) -> int:
    crc = 0
    with path.open("rb") as file:
        while size and (data := file.read(min(size, 2**24))):
            crc, size = zlib.crc32(data, crc), size - len(data)
    return crc


def _names(folder: Path, state: dict[str, Any]) -> pl.Series:
    if not state or not state["rows"]:
        return pl.Series("sha256", [], dtype=pl.String)
    data = _files(folder, state)["names"].read_bytes()[: state["rows"] * NAME_BYTES]
    names = [data[start : start + NAME_BYTES] for start in range(0, len(data), NAME_BYTES)]
    return pl.Series("sha256", names, dtype=pl.Binary).bin.encode("hex")


def _saved(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    write(folder / STATE, json.dumps(state), mode=0o600)
    return state


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, type[np.generic]]]:
    """Columns and type of each file with a row a vector."""
    head, rest = widths(state["width"])
    return {
        "names": (NAME_BYTES, np.uint8),
        "vectors": (state["width"], np.float32),
        "heads": (head, np.int8),
        "rests": (rest, np.int8),
        "lengths": (LENGTHS, np.float32),
    }


def _sizes(state: dict[str, Any]) -> dict[str, int]:
    return {name: state["rows"] * columns * np.dtype(kind).itemsize for name, (columns, kind) in _shapes(state).items()}


def _files(folder: Path, state: dict[str, Any]) -> dict[str, Path]:
    return {name: folder / f"{name}-{state['generation']}.bin" for name in (*_shapes(state), "basis")}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
