"""Drift of what was asked: each feature of a day's asks beside the rows that their model was trained on."""

from datetime import date

import polars as pl

from pipeline_assets.exploration.profiles import columns, drift, profile
from pipeline_assets.serving.log.schemas import ServedDrift
from pipeline_assets.training.model.feature_matrix import COLUMNS
from pipeline_assets.training.schemas import TrainingTable

TABLE = "serving_log"
_COLUMNS = [column for column in columns.of_table("training_table", TrainingTable) if column.name in COLUMNS]


def drift_of(day: date, pin: str, asks: pl.DataFrame, trained_on: pl.LazyFrame) -> pl.DataFrame:
    """Rows of `ServedDrift` of a day and a pin, by the measures and tests of the tables' drift.

    asks: of `ServingLog`, predictions of this day by models of this pin. trained_on: of `TrainingTable`; without rows
    nothing is compared, and `reason` says so.
    """
    moments = {"posted_hour": pl.col("as_of").dt.hour(), "posted_weekday": pl.col("as_of").dt.weekday()}
    asked = asks.with_columns(**moments).select("day", *(column.name for column in _COLUMNS))
    before = trained_on.filter(pl.col("day") < day)
    days = before.select(pl.col("day").unique()).collect()["day"].to_list()
    profiles = [
        profile.profiles(rows, TABLE, _COLUMNS, dict.fromkeys(of, ""))
        for rows, of in ((before, days), (asked.lazy(), [day]))
    ]
    window_days = (day - min(days, default=day)).days
    compared = drift.drift(pl.concat(profiles), [day], window_days)
    return compared.with_columns(pin_identity=pl.lit(pin)).select(ServedDrift.column_names())
