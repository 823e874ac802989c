"""The check of what was served: no skew between the online and the offline features."""

from datetime import date

import polars as pl

from pipeline_assets.features import users
from pipeline_assets.features.assets import USERS_SQL
from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict
from pipeline_assets.serving.log.replay import replayed


def _no_skew(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
    """Every logged ask has the features of the offline function."""
    if rows.is_empty():
        return Verdict(True, "nothing was asked")
    known, _ = run.once("users", lambda: users.judge(run.resources["database"].read(USERS_SQL), run.days))
    outcomes = replayed(rows, known, run.inputs["event_log"], run.inputs["photo_metadata"])
    counts = dict(outcomes.group_by("outcome").len().iter_rows())
    facts = {name: counts.get(name, 0) for name in ("equal", "behind", "different")}
    unknown = rows.height - outcomes.height
    detail = f"of {rows.height} asks {facts['equal']} equal, {facts['behind']} behind events that had just arrived, "
    return Verdict(
        not facts["different"],
        f"{detail}{facts['different']} different, {unknown} without a known user",
        {"asks": rows.height, **facts, "not_replayed": unknown},
    )


SERVING_SKEW = DayCheck(
    "serving_skew", _no_skew, "the features that were answered are those of the offline function, to the bit"
)
