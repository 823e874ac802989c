"""A pinned table in another tool's repository: its files, large or small, and its rows as one Parquet file."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.versioning.formats import landing
from pipeline_assets.versioning.formats.dvc import dvc
from pipeline_assets.versioning.formats.git_lfs import git_lfs
from pipeline_assets.versioning.pin.pins import NO_FILES
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore
from tests.versioning.data_sets import TABLE, pinned_table, rows
from tests.versioning.formats.pinned_folders import committed, opened, read


@pytest.mark.parametrize("in_memory_below", [0, landing.IN_MEMORY_BELOW])
@pytest.mark.parametrize("kind", ["git-lfs", "dvc"])
def test_rows_come_along_as_parquet(
    tmp_path: Path,
    object_store: Callable[[str], ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    in_memory_below: int,
) -> None:
    monkeypatch.setattr(landing, "IN_MEMORY_BELOW", in_memory_below)
    store, tree = object_store("s3"), tmp_path / "tree"
    pinned = pinned_table(store, Lake(url=(tmp_path / "lake").as_uri()))
    if kind == "dvc":
        assert dvc.export(pinned, tree, str(tmp_path / "remote")) == 6
        found = dvc.import_(tree, store, NO_FILES, tmp_path / "md5.parquet", folder="set")
    else:
        assert git_lfs.export(pinned, tree) == 6
        found = git_lfs.import_(committed(tree), store, NO_FILES, folder="set")
    contents = read(opened(found, store))
    table = contents.pop(f"{TABLE}.parquet")
    assert contents == read(pinned)
    assert isinstance(table, bytes)
    assert_frame_equal(pl.read_parquet(table), rows(), check_row_order=False, check_column_order=False)
