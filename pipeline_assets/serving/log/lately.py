"""What is known of the newest day that was served: its skew and its drift, without a person. Pure but for its tables."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

import polars as pl

from pipeline_assets.serving.log.schemas import OUTCOMES

SHOWN = 8
"""Features of the drift, those that differ most."""


class Tables(Protocol):
    """What is read of `resources.lake.lake.Lake`."""

    def exists(self, name: str) -> bool: ...  # noqa: D102
    def scan(self, name: str, days: Sequence[date] | None = None) -> pl.LazyFrame: ...  # noqa: D102
    def newest(self, name: str, where: pl.Expr, count: int, by: Sequence[str]) -> pl.DataFrame: ...  # noqa: D102


def lately(tables: Tables) -> dict[str, Any] | None:
    """The newest day of the log of asks; None if nothing is logged yet.

    skew: asks by the outcome of their replay. drift: features of the newest day that was compared, alarms first.
    """
    if not tables.exists("serving_log"):
        return None
    newest = tables.newest("serving_log", pl.lit(value=True), 1, ["asked_at"])
    if newest.is_empty():
        return None
    day = newest["day"][0]
    if "outcome" not in newest.columns:  # of a former version, which did not keep it
        return None
    outcomes = tables.scan("serving_log", [day]).select("outcome").collect()["outcome"].value_counts()
    counts = dict(outcomes.iter_rows())
    skew = {name: counts.get(name, 0) for name in OUTCOMES}
    return {"day": str(day), "asks": sum(counts.values()), "skew": skew, "drift": _drift(tables)}


def _drift(tables: Tables) -> dict[str, Any] | None:
    if not tables.exists("served_drift"):
        return None
    compared = tables.newest("served_drift", pl.col("p_value").is_not_null(), 1, ["column"])
    if compared.is_empty():
        return None
    day = compared["day"][0]
    rows = tables.scan("served_drift", [day]).filter(pl.col("p_value").is_not_null()).collect()
    first = rows.sort(["is_alarm", "p_value", "column", "pin_identity"], descending=[True, False, False, False]).head(SHOWN)
    features = first.select("column", "psi", "ks", "p_adjusted", "change", "is_alarm", pin=pl.col("pin_identity"))
    return {
        "day": str(day),
        "compared": rows.height,
        "alarms": int(rows["is_alarm"].sum()),
        "features": features.to_dicts(),
    }
