"""Drift of what was asked from the training set, against figures computed by hand; and what is shown of it."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline_assets.serving.log.drift import drift_of
from pipeline_assets.serving.log.lately import lately
from pipeline_assets.serving.log.schemas import ServedDrift, ServingLog
from pipeline_assets.training.model.feature_matrix import COLUMNS
from pipeline_assets.training.schemas import TrainingTable
from resources.lake.lake import Lake

ASKED = date(2026, 2, 10)
PIN, MODEL = "b" * 64, "a" * 64
DAYS, ROWS, ASKS = 10, 60, 180


def columns_of(number: int) -> dict[str, Any]:
    """The model's columns of one row: each takes every third number the same value, so that all days are alike."""
    third = number % 3
    counts = {name: third for name in COLUMNS if not name.startswith("posted_")}
    return counts | {"has_location": bool(third), "mean_popularity_30d": None if third else 1.5, "logins_1d": number % 2}


def trained_on() -> pl.DataFrame:
    """Rows of ten days, posted at 0, 1 and 2 o'clock of a Tuesday by their columns."""
    names, schema = TrainingTable.column_names(), TrainingTable.create_empty().schema
    rows = [
        dict.fromkeys(names)
        | columns_of(number)
        | {"day": ASKED - timedelta(days=20 - back), "posted_hour": number % 3, "posted_weekday": 2}
        for back in range(DAYS)
        for number in range(ROWS)
    ]
    return pl.DataFrame(rows, schema=schema)


def asks(**changes: Any) -> pl.DataFrame:
    """Predictions that were asked on a Tuesday at 0, 1 and 2 o'clock, for postings like those of the training set."""
    names, schema = ServingLog.column_names(), ServingLog.create_empty().schema
    midnight = datetime(ASKED.year, ASKED.month, ASKED.day, tzinfo=UTC)
    moments = [midnight + timedelta(hours=number % 3, minutes=number) for number in range(ASKS)]
    moments = [moment.replace(hour=number % 3) for number, moment in enumerate(moments)]
    rows = [
        dict.fromkeys(names)
        | {"day": ASKED, "ask_id": f"{number:016x}", "request_id": "r", "route": "predict", "user_id": 7, "generation": 1}
        | dict.fromkeys(("asked_at", "as_of", "t0", "known_through"), moments[number])
        | {name: value for name, value in columns_of(number).items() if name in names}
        | {"pin_identity": PIN, "model_sha256": MODEL, "popularity": 1.0, "outcome": "equal"}
        | changes
        for number in range(ASKS)
    ]
    return pl.DataFrame(rows, schema=schema)


def test_asks_like_the_training_set_have_not_drifted() -> None:
    found = ServedDrift.validate(drift_of(ASKED, PIN, asks(), trained_on().lazy()))
    assert set(found["column"]) == set(COLUMNS)
    assert not found["is_alarm"].any()
    assert found["reference_days"].max() == DAYS
    compared = found.filter(pl.col("psi").is_not_null())
    assert compared.height >= len(COLUMNS) - 1 and (compared["psi"] < 0.01).all()


def test_one_feature_that_shifted_is_an_alarm_with_the_figures_of_a_hand_computation() -> None:
    found = drift_of(ASKED, PIN, asks(logins_1d=1), trained_on().lazy())
    (alarm,) = found.filter("is_alarm").iter_rows(named=True)
    # Training has 0 and 1 in half of 600 rows each, and all 180 asks have 1; half a row is added to each cell.
    now, before = (0.5 / 181, 180.5 / 181), (0.5, 0.5)
    psi = sum((n - b) * math.log(n / b) for n, b in zip(now, before, strict=True))
    assert (alarm["column"], alarm["ks"], alarm["rows"], alarm["reference_rows"]) == ("logins_1d", 0.5, 180, 600)
    assert alarm["psi"] == pytest.approx(psi)
    tested = found["p_value"].count()
    assert alarm["p_adjusted"] == pytest.approx(min(1, alarm["p_value"] * tested)) and alarm["p_adjusted"] < 1e-4


def test_nulls_that_came_up_are_an_alarm() -> None:
    found = drift_of(ASKED, PIN, asks(followers_at_post=None), trained_on().lazy())
    (alarm,) = found.filter("is_alarm").iter_rows(named=True)
    assert (alarm["column"], alarm["change"]) == ("followers_at_post", "nulls 100.0%, were 0.0%")


@pytest.mark.parametrize("rows", [0, 29], ids=["none", "few"])
def test_too_few_asks_or_no_training_rows_are_not_compared(rows: int) -> None:
    few = drift_of(ASKED, PIN, asks().head(rows), trained_on().lazy())
    assert few["reason"].unique().to_list() == ["fewer than 30 rows"] and few["p_value"].null_count() == few.height
    none = drift_of(ASKED, PIN, asks(), TrainingTable.create_empty().lazy())
    assert none["p_value"].null_count() == none.height and not none["is_alarm"].any()


def test_rows_of_the_day_itself_are_no_reference() -> None:
    same_day = pl.concat([trained_on(), trained_on().filter(day=pl.col("day").min()).with_columns(day=pl.lit(ASKED))])
    found = drift_of(ASKED, PIN, asks(), same_day.lazy())
    assert found["reference_days"].max() == DAYS


def test_the_newest_day_is_shown_with_what_differs_most_and_without_users(tmp_path: Any) -> None:
    lake = Lake(url=(tmp_path / "lake").as_uri())
    assert lately(lake) is None
    logged = asks(logins_1d=1).with_columns(
        outcome=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("different")).otherwise(pl.lit("equal"))
    )
    lake.replace("serving_log", [ASKED], logged)
    lake.replace("served_drift", [ASKED], drift_of(ASKED, PIN, logged, trained_on().lazy()))
    shown = lately(lake)
    assert shown is not None
    assert (shown["day"], shown["asks"]) == (str(ASKED), ASKS)
    assert shown["skew"] == {"equal": ASKS - 2, "behind": 0, "different": 2}
    assert (shown["drift"]["alarms"], shown["drift"]["features"][0]["column"]) == (1, "logins_1d")
    assert "user" not in str(shown)
