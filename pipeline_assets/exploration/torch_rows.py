"""Rows of a table as batches of tensors."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch.utils.data import IterableDataset, get_worker_info

from pipeline_assets.errors import BadSelection

if TYPE_CHECKING:
    from pipeline_assets.exploration.frames import Rows

Batch = dict[str, torch.Tensor]


class TorchRows(IterableDataset[Batch]):
    """Batches of at most `batch_rows` rows of one day; days are shared among the workers of a `DataLoader(batch_size=None)`.

    Workers need `multiprocessing_context="forkserver"` (or "spawn"): a forked process has none of the threads of Polars, and
    would wait for them for ever. It raises BadSelection.

    A batch has a tensor for each column of numbers or truths, (B,), and of lists of numbers of one length, (B, N). Texts and
    times are left out. A null is NaN in a column of fractions. Elsewhere it raises BadSelection: choose rows without.
    """

    def __init__(self, rows: "Rows", batch_rows: int) -> None:
        self._rows, self._batch_rows = rows, batch_rows
        self._process = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in another process, which is not forked from this one."""
        vars(self).update(state, _process=os.getpid())

    def __iter__(self) -> Iterator[Batch]:
        """All batches, or this worker's."""
        if self._process != os.getpid():
            raise BadSelection("a forked process can't read tables: DataLoader(..., multiprocessing_context='forkserver').")
        worker = get_worker_info()
        days = self._rows.days if worker is None else self._rows.days[worker.id :: worker.num_workers]
        for day in days:
            frame = self._rows.of([day]).polars().collect(engine="streaming")
            for batch in frame.iter_slices(self._batch_rows):
                yield {name: tensor for name in batch.columns if (tensor := _tensor(batch[name])) is not None}


def _tensor(column: pl.Series) -> torch.Tensor | None:
    dtype = column.dtype
    if isinstance(dtype, (pl.List, pl.Array)) and dtype.inner is not None and _is_number(dtype.inner):  # type: ignore[arg-type]
        lengths = column.list.len() if isinstance(dtype, pl.List) else column.arr.len()
        if column.has_nulls() or lengths.n_unique() > 1 or column.explode(empty_as_null=False).has_nulls():
            raise BadSelection(
                f"{column.name} has nulls or lists of several lengths: select rows without, or other columns."
            )
        values = column.explode(empty_as_null=False).to_numpy().reshape(len(column), -1)
        return torch.from_numpy(np.ascontiguousarray(values).copy())
    if not _is_number(dtype):
        return None
    if column.has_nulls() and not dtype.is_float():
        raise BadSelection(f"{column.name} has nulls: select rows with {column.name} is not null, or other columns.")
    return torch.from_numpy(column.to_numpy().copy())


def _is_number(dtype: pl.DataType) -> bool:
    return (dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean) and dtype != pl.UInt64
