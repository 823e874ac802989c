"""The checks of what was served: no skew between the online and the offline features, no drift from the training."""

from datetime import date

import polars as pl

from pipeline_assets.exploration.profiles.checks import LIKE_BEFORE
from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict
from pipeline_assets.serving.log.schemas import OUTCOMES


def _no_skew(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    """Every logged ask has the features of the offline function."""
    if rows.is_empty():
        return Verdict(True, "nothing was asked")
    counts = dict(rows["outcome"].value_counts().iter_rows())
    facts = {name: counts.get(name, 0) for name in OUTCOMES}
    unknown = counts.get(None, 0)
    detail = f"of {rows.height} asks {facts['equal']} equal, {facts['behind']} behind events that had just arrived, "
    return Verdict(
        not facts["different"],
        f"{detail}{facts['different']} different, {unknown} without a known user",
        {"asks": rows.height, **facts, "not_replayed": unknown},
    )


SERVING_SKEW = DayCheck(
    "serving_skew", _no_skew, "the features that were answered are those of the offline function, to the bit"
)
LIKE_TRAINING = DayCheck(
    "like_training",
    LIKE_BEFORE.judge,
    "no feature of what was asked differs from the training set, beyond how much its days differ among themselves",
)
