"""The asset of slices."""

from pathlib import Path

import polars as pl

from pipeline_assets.exploration import embeddings, several_tests
from pipeline_assets.exploration.slices.schemas import Slices
from pipeline_assets.framework.declaration import RunOfDays
from pipeline_assets.framework.partitions import DECLARED, SAME_DAY, SAME_DAY_IF_ANY, Days
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.training import model, split
from pipeline_assets.training.model import feature_matrix
from resources.objects.resource import Objects

CODE = [
    *(Path(__file__).with_name(f"{name}.py") for name in ("differences", "held_out", "predicates", "search", "slices")),
    *(Path(model.__path__[0]) / f"{name}.py" for name in ("prediction", "popularity_net")),
]
"""Modules that import scipy or torch, given by path so that Dagster loads the definitions quickly."""
WINDOW = Days(1 - DECLARED.training_window_days, 0)
"""The days of the night's model."""


@table_asset(
    schema=Slices,
    group="exploration",
    inputs={
        "popularity_model": SAME_DAY,
        "training_table": WINDOW,
        "photo_styles": WINDOW,
        "embedding_map": SAME_DAY_IF_ANY,
    },
    code=[*CODE, embeddings, several_tests, feature_matrix, split],
    kinds={"numpy", "polars"},
    days_per_run=1,
    lineage={
        "slice": [
            *(("training_table", name) for name in ("top_class", "brightness", "logins_30d")),
            ("photo_styles", "look"),
            ("embedding_map", "cluster"),
        ],
        "error_inside": [("popularity_model", "weights_sha256"), ("training_table", "popularity")],
        "weights_sha256": [("popularity_model", "weights_sha256")],
    },
)
def slices(
    run: RunOfDays,
    popularity_model: pl.LazyFrame,
    training_table: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    embedding_map: pl.LazyFrame,
    objects: Objects,
) -> pl.DataFrame:
    """Where the night's model is worse than elsewhere: conditions on photos of held-out users, found and then confirmed.

    A search over classes, styles, looks, clusters, time and the users' features sees half of the held-out users; the other
    half tests what it found. `is_weak` where they confirm it: the chance that a night without a weakness shows one is 0.01.
    A night without a model, or with too few mature photos, has no rows.
    """
    models = popularity_model.select("day", "weights_sha256").collect()
    found: list[pl.DataFrame] = [Slices.create_empty()]
    for night, weights_sha256 in models.iter_rows():
        from pipeline_assets.exploration.slices import held_out
        from pipeline_assets.exploration.slices.slices import slices as search  # torch and scipy take long to import

        is_of_window = pl.col("day").is_in(pl.Series(list(WINDOW.of(night)), dtype=pl.Date).implode())
        rows = held_out.predicted(
            training_table.filter(is_of_window),
            objects.store.get_content(weights_sha256),
            photo_styles.filter(is_of_window),
            embedding_map.filter(day=night),
        )
        found.append(
            search(rows).with_columns(day=pl.lit(night), weights_sha256=pl.lit(weights_sha256)).select(Slices.column_names())
        )
    return pl.concat(found)
