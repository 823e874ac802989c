"""The asset of the map in real runs."""

import hashlib
import inspect
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from map_world import FIRST, SCHEMA, MapWorld, after

from pipeline_assets.exploration.map import assets, rows
from pipeline_assets.exploration.map.reference import Photos
from pipeline_assets.framework.declaration import DECLARATIONS
from resources.objects.results import Results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]
PLACES = ["key", "x", "y", "cluster", "map_version"]


def photos(first: int, count: int, model_id: str = "m", width: int = 12) -> pl.DataFrame:
    """Photos in three clusters, each decided by its number."""
    rows = []
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        vector = 0.3 * random.standard_normal(width) + np.eye(3, width)[number % 3]
        phash = f"{int(random.integers(2**63)):016x}"
        rows.append((hashlib.sha256(b"%d" % number).hexdigest(), vector.astype(np.float32).tolist(), model_id, phash))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_a_night_after_others_is_the_night_computed_alone_and_moves_no_photo(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    step_by_step, at_once = MapWorld(tmp_path / "a"), MapWorld(tmp_path / "b")
    for day in range(3):
        for world in (step_by_step, at_once):
            world.bring(after(day), photos(40 * day, 40))
        rows = step_by_step.night(after(day + 1))
    assert rows.height == 120
    assert at_once.night(after(3)).equals(rows)
    earlier = step_by_step.rows(after(2))
    assert rows.join(earlier.select("key"), on="key").select(PLACES).equals(earlier.select(PLACES))
    assert rows["neighbours"].list.len().unique().to_list() == [10]
    assert rows["photo_id"].null_count() == 0


def test_what_was_lost_or_erased_on_the_disk_is_made_again_and_an_erased_photo_is_nobodys_neighbour(tmp_path: Path) -> None:
    world = MapWorld(tmp_path)
    world.bring(FIRST, photos(0, 30))
    world.night(after(1))
    for path in (tmp_path / "map" / "m").glob("vectors-*"):
        path.write_bytes(b"damaged")
    erased = photos(0, 1)["sha256"][0]
    world.bring(FIRST, photos(1, 29))
    rows = world.night(after(2))
    assert rows.height == 29
    assert erased not in rows["neighbours"].explode().to_list()
    assert rows["neighbours"].list.len().unique().to_list() == [10]
    names = b"".join(path.read_bytes() for path in (tmp_path / "map" / "m").glob("names-*"))
    assert bytes.fromhex(erased) not in names


def test_bad_input_is_set_aside_and_models_are_never_compared(tmp_path: Path) -> None:
    world = MapWorld(tmp_path)
    bad = photos(100, 3).with_columns(
        embedding=pl.Series([[0.0] * 12, [float("nan")] * 12, [1.0] * 5], dtype=pl.List(pl.Float32))
    )
    same = photos(200, 4).with_columns(pl.col("embedding", "phash").first())
    world.bring(FIRST, pl.concat([photos(0, 8), bad, same]))
    world.bring(after(1), photos(300, 5, "other", 7))
    rows = world.night(after(2))
    assert rows.height == 8 + 4 + 5
    assert sorted(world.rejected()["source"]) == [f"uploads/{FIRST}/1/{number}.jpg" for number in (10, 8, 9)]
    assert set(world.rejected()["reason"]) == {"bad_embedding"}
    of_other = rows.filter(model_id="other")
    others = set(of_other["sha256"])
    assert all(set(names) <= others for names in of_other["neighbours"])
    assert of_other["neighbours"].list.len().unique().to_list() == [4]
    assert rows.filter(pl.col("sha256").is_in(same["sha256"].implode()))["duplicate_group"].unique().to_list() == [
        same["sha256"].min()
    ]


def test_the_same_bytes_of_two_days_are_a_group_and_no_night_needs_a_photo(tmp_path: Path) -> None:
    world = MapWorld(tmp_path)
    world.bring(FIRST, photos(0, 0))
    assert world.night(FIRST).is_empty()
    world.bring(FIRST, photos(0, 1))
    assert world.night(after(1)).select("neighbours", "duplicate_group").rows() == [([], None)]
    world.bring(after(1), photos(0, 2))
    rows = world.night(after(2))
    assert rows["duplicate_group"].to_list() == [photos(0, 1)["sha256"][0]] * 2 + [None]
    assert rows["upload_day"].to_list() == [FIRST, after(1), after(1)]


def test_the_code_version_has_all_code_that_decides_a_row() -> None:
    declared = set(DECLARATIONS["embedding_map"].parts["code"])
    modules, reached = [assets], {f"function {assets.embedding_map.op.name}"}
    for module in modules:
        for name, value in vars(module).items():
            home = inspect.getmodule(value) if not isinstance(value, types.ModuleType) else value
            if home is None or not home.__name__.startswith(("pipeline_assets.exploration", "pipeline_assets.ingestion")):
                continue
            if home is assets and isinstance(value, types.FunctionType | type) and name not in ("embedding_of", "_say"):
                reached.add(f"function {name}")
            elif home is not assets and not home.__name__.endswith("schemas"):
                reached.add(f"module {home.__name__.removeprefix('pipeline_assets.')}")
                modules += [home] if home not in modules else []
    assert "module ingestion.duplicates" in reached
    assert reached <= declared


def test_of_two_machines_that_lay_out_a_reference_at_once_both_have_what_is_kept(tmp_path: Path) -> None:
    world = MapWorld(tmp_path)
    vectors = np.eye(3, dtype=np.float32)

    class AnotherIsFirst:
        """Vectors during whose reading another machine lays out the same reference."""

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            laid_out.append(keeper.laid_out(Photos("m", names, numbers, days, vectors), "v", numbers, 1))
            return vectors[rows]

    laid_out: list[rows.Landmarks] = []
    names, numbers, days = photos(0, 3)["sha256"].sort().to_list(), np.arange(3), np.arange(3)
    keeper = assets._Keeper(Results(world.database, world.objects.store))
    mine = keeper.laid_out(Photos("m", names, numbers, days, AnotherIsFirst()), "v", numbers, 2)
    assert mine.until == laid_out[0].until == 1
    assert mine.rows.equals(laid_out[0].rows)
