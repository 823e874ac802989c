"""Staged shards as torch data: memory-mapped, read in batches, shuffled by seed.

Nothing is preloaded: a batch copies its rows from the mapped files, so that stagings larger than memory work.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline_assets.errors import StagingCorrupt
from pipeline_assets.training.model.feature_matrix import NAMES
from pipeline_assets.training.shards.staging import read_manifest


class Batch(TypedDict):
    """Rows of one split."""

    embedding: torch.Tensor  # (B, E) float32
    features: torch.Tensor  # (B, F) float32, raw, columns as in feature_matrix.FEATURES
    label: torch.Tensor  # (B,) float32, popularity
    photo_id: torch.Tensor  # (B,) int64


class _Columns(NamedTuple):
    """One shard's columns as views of the mapped file."""

    embedding: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    label: npt.NDArray[np.float32]
    photo_id: npt.NDArray[np.int64]


class StagedRows(Dataset[Batch]):
    """One split of a finished staging; row i is the i-th by day and photo.

    Pickles as its paths, so that each DataLoader worker maps the files itself.
    Raises StagingCorrupt if the staging is incomplete, or was staged with other features than this code's.
    """

    def __init__(self, staging: Path, split: str) -> None:
        manifest = read_manifest(staging)
        if manifest["features"] != list(NAMES):
            raise StagingCorrupt(f"{staging} holds other features than this code: materialize staged_training_set again")
        shards = [shard for shard in manifest["shards"] if shard["split"] == split]
        self.split = split
        self.embedding_dim: int = manifest["embedding_dim"]
        self.model_id: str = manifest["model_id"]
        self._paths = [staging / shard["shard"] for shard in shards]
        self.offsets = np.cumsum([0, *(shard["rows"] for shard in shards)])
        """Row number of each shard's first row, and the number of rows."""
        self._mapped: dict[int, _Columns] = {}

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, index: int) -> Batch:
        """Row `index` as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Rows in the order of `indices`, copied; raises IndexError if one is outside [0, len)."""
        rows = np.asarray(indices, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"{self.split} has rows 0 to {len(self) - 1}")
        batch = _Columns(
            np.empty((rows.size, self.embedding_dim), np.float32),
            np.empty((rows.size, len(NAMES)), np.float32),
            np.empty(rows.size, np.float32),
            np.empty(rows.size, np.int64),
        )
        shards = np.searchsorted(self.offsets, rows, side="right") - 1
        for shard in np.unique(shards):
            positions = np.flatnonzero(shards == shard)
            inside = rows[positions] - self.offsets[shard]
            mapped = self._map(int(shard))
            for column in _Columns._fields:
                getattr(batch, column)[positions] = getattr(mapped, column)[inside]
        return {
            "embedding": torch.from_numpy(batch.embedding),
            "features": torch.from_numpy(batch.features),
            "label": torch.from_numpy(batch.label),
            "photo_id": torch.from_numpy(batch.photo_id),
        }

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_mapped": {}}

    def _map(self, shard: int) -> _Columns:
        if shard not in self._mapped:
            self._mapped[shard] = _map_columns(self._paths[shard])
        return self._mapped[shard]


class ShuffledBatches(Sampler[list[int]]):
    """Row numbers of one epoch in batches, every row once, in an order that depends only on (seed, epoch).

    Shards are dealt at random into windows of `window_shards`, and rows shuffled within a window, so that reading
    a large staging moves through the disk in large pieces. Up to `window_shards` shards, that is a full shuffle.
    """

    def __init__(self, offsets: npt.NDArray[np.int64], batch_rows: int, *, seed: int, window_shards: int = 16) -> None:
        self.offsets, self.batch_rows, self.window_shards = offsets, batch_rows, window_shards
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-int(self.offsets[-1]) // self.batch_rows)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        shards = random.permutation(len(self.offsets) - 1)
        waiting = np.empty(0, np.int64)
        for start in range(0, shards.size, self.window_shards):
            window = [np.arange(self.offsets[s], self.offsets[s + 1]) for s in shards[start : start + self.window_shards]]
            waiting = np.concatenate([waiting, random.permutation(np.concatenate(window))])
            complete = waiting.size // self.batch_rows * self.batch_rows
            yield from waiting[:complete].reshape(-1, self.batch_rows).tolist()
            waiting = waiting[complete:]
        if waiting.size:
            yield waiting.tolist()


def shuffled_loader(
    rows: StagedRows, batch_rows: int, *, seed: int, workers: int = 0, pin_memory: bool = False
) -> DataLoader[Batch]:
    """Loader of shuffled batches; the same for any number of workers. Set `loader.batch_sampler.epoch` every epoch."""
    return DataLoader(
        rows,
        batch_sampler=ShuffledBatches(rows.offsets, batch_rows, seed=seed),
        collate_fn=_as_is,
        num_workers=workers,
        # A forked worker could inherit a lock that one of polars' or arrow's threads holds.
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),
    )


def ordered_batches(rows: StagedRows, batch_rows: int = 8192) -> Iterator[Batch]:
    """All rows in order, in batches of at most `batch_rows`."""
    for start in range(0, len(rows), batch_rows):
        yield rows.__getitems__(range(start, min(start + batch_rows, len(rows))))


def _as_is(batch: Any) -> Any:
    return batch


def _map_columns(path: Path) -> _Columns:
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise StagingCorrupt(f"{path} can't be read ({error}): materialize staged_training_set again") from error
    return _Columns(
        _matrix(batch["embedding"]),
        _matrix(batch["features"]),
        batch["popularity"].to_numpy(zero_copy_only=True),
        batch["photo_id"].to_numpy(zero_copy_only=True),
    )


def _matrix(lists: pa.FixedSizeListArray) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = lists.values.to_numpy(zero_copy_only=True)
    return values.reshape(len(lists), -1)
