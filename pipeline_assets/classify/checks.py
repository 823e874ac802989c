"""Checks of the classifier outputs: every valid photo has a row, and rows have valid values."""

from datetime import date
from typing import Any

import polars as pl

from pipeline_assets.classify import looks
from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict
from pipeline_assets.ingestion.schemas import IS_PHOTO

ROUNDING = 1e-3


def most_common_classes(rows: pl.DataFrame) -> dict[str, Any]:
    """The day's five most common classes with their photos."""
    top = rows.select(pl.col("top5_label").list.first().alias("label")).group_by("label").len()
    return {"most_common_classes": dict(top.sort("len", "label", descending=[True, False]).head(5).iter_rows())}


def looks_of_day(rows: pl.DataFrame) -> dict[str, Any]:
    """The day's photos by look, and the model's accuracy for each look on held-out photos."""
    counts = rows.drop_nulls("look").group_by("look").len().sort("len", "look", descending=[True, False])
    accuracy = {name: f"{value:.3f} +- {half:.3f}" for name, (value, half) in looks.load().accuracy.items()}
    return {"looks": dict(counts.iter_rows()), "look_accuracy": accuracy}


def _complete(day: date, rows: pl.DataFrame, rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    photos = (
        run.inputs["raw_uploads"].filter(IS_PHOTO, pl.col("day") == day).select(pl.col("sha256").n_unique()).collect().item()
    )
    missing_rows = photos - rows.height - rejected.height
    return Verdict(
        missing_rows == 0,
        f"{photos} photos are ok, {rows.height} have a row, {rejected.height} are rejected: {missing_rows} are missing",
        {"photos": photos, "rows": rows.height, "rejected": rejected.height},
    )


def _probabilities(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    top = pl.col("top5_probability")
    invalid = rows.filter(
        (top.list.sum() > 1 + ROUNDING)
        | (top.list.min() < 0)
        | (top.list.len() > 5)
        | (top.list.sort(descending=True) != top)
    ).height
    return Verdict(invalid == 0, f"{invalid} rows have probabilities out of [0, 1] or out of order")


EVERY_PHOTO_IS_CLASSIFIED = DayCheck(
    "every_photo_is_classified", _complete, "every ok upload has a row or a reason", blocking=True
)
EVERY_PHOTO_IS_MEASURED = DayCheck(
    "every_photo_is_measured", _complete, "every ok upload has a row or a reason", blocking=True
)
PROBABILITIES = DayCheck(
    "probabilities", _probabilities, "top-5 probabilities are sorted, in [0, 1], and add up to at most 1", blocking=True
)
