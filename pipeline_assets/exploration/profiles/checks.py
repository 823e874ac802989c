"""The check of drift: it warns of a day with an alarm."""

from datetime import date

import polars as pl

from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict


def _is_like_before(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    alarms = rows.filter("is_alarm").sort("p_value", "table", "column")
    compared = rows["p_value"].count()
    if alarms.is_empty():
        return Verdict(True, f"{compared} columns are like those of the days before", {"compared": compared})
    named = "; ".join(
        f"{table}.{column} ({change})" for table, column, change in alarms.select("table", "column", "change").head(5).rows()
    )
    return Verdict(False, f"{len(alarms)} of {compared} columns drifted: {named}", {"compared": compared})


LIKE_BEFORE = DayCheck(
    "like_before", _is_like_before, "no column differs from the days before, beyond how much those differ among themselves"
)
