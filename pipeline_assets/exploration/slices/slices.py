"""Finds slices on one half of the users, and tests them on the other half. Pure functions of frames.

A search of thousands of conditions always finds some that look bad. So it sees half of the users, by a hash of the user, and
the p values come from the others, who had no say in what is tested: correcting for the few slices found is enough.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.exploration.several_tests import holm
from pipeline_assets.exploration.slices.differences import Difference, Mask, Users, difference
from pipeline_assets.exploration.slices.predicates import COLUMNS, OF_OTHER_TABLES, Predicates, conjunction, predicates
from pipeline_assets.exploration.slices.schemas import Slices
from pipeline_assets.exploration.slices.search import MIN_ROWS, MIN_USERS, all_hold, search
from pipeline_assets.training.split import splitmix64

ALPHA = 0.01
"""The chance that a night without any weakness shows one."""
FOUND = {name: dtype for name, dtype in Slices.create_empty().schema.items() if name not in ("day", "weights_sha256")}
"""Columns of `Slices` that the rows alone tell."""


def slices(rows: pl.DataFrame, columns: Sequence[str] = (*COLUMNS, *OF_OTHER_TABLES)) -> pl.DataFrame:
    """The slices found, in the order of FOUND's `found_as`. The order of rows does not matter.

    rows: photos on which the model was not trained: user_id, sha256, popularity, prediction, and `columns`, of which
    conditions are made.
    """
    rows = rows.sort("user_id", "sha256", "popularity", "prediction", *columns)
    if rows.height < 2 * MIN_ROWS:
        return pl.DataFrame(schema=FOUND)
    users = rows["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    signed = (rows["prediction"].cast(pl.Float64) - rows["popularity"].cast(pl.Float64)).to_numpy()
    offered = predicates(rows, columns, min_rows=2 * MIN_ROWS)
    searched, tested = _halves(rows)
    half = Predicates(offered.texts, offered.columns, offered.holds[searched])
    found = list(search(half, np.abs(signed[searched]), users[searched]))
    facts = list(_tested(offered, found, signed, users, tested))
    corrected = holm([fact["p"] for fact in facts]).tolist()
    judged = [
        {**fact, "found_as": number, "p_corrected": p, "is_weak": p <= ALPHA}
        for number, (fact, p) in enumerate(zip(facts, corrected, strict=True), 1)
    ]
    return pl.DataFrame(judged, schema=FOUND)


def _halves(rows: pl.DataFrame) -> tuple[Mask, Mask]:
    """Which rows are searched, and which are tested: of other users, and without copies of photos that are searched."""
    halves = rows.select("sha256", is_tested=splitmix64(pl.col("user_id")) % 2 == 1)
    copied = halves.filter(~pl.col("is_tested"))["sha256"].unique()
    tested = halves.select(pl.col("is_tested") & ~pl.col("sha256").is_in(copied.implode()))
    return ~halves["is_tested"].to_numpy(), tested.to_series().to_numpy()


def _tested(
    offered: Predicates, found: Sequence[tuple[int, ...]], signed: npt.NDArray[np.float64], users: Users, tested: Mask
) -> Iterator[dict[str, Any]]:
    """What all rows, and those of the users who test it, say of each slice. signed: prediction minus truth."""
    left = tested.copy()
    for one in found:
        inside = all_hold(offered.holds, one)
        inside_left = inside[left]
        rows_in, users_in = int(inside_left.sum()), len(np.unique(users[left][inside_left]))
        measured: Difference | None = None
        if rows_in >= MIN_ROWS and users_in >= MIN_USERS:
            measured = difference(np.abs(signed[left]), users[left], inside_left)
        yield {
            "slice": conjunction([offered.texts[at] for at in one]),
            "is_of_training_table": not any(offered.columns[at] in OF_OTHER_TABLES for at in one),
            "predicates": len(one),
            "rows": int(inside.sum()),
            "share": float(inside.mean()),
            "users": len(np.unique(users[inside])),
            "tested_rows": rows_in,
            "tested_users": users_in,
            "error_inside": measured and measured.inside,
            "error_outside": measured and measured.outside,
            "bias_inside": float(signed[left][inside_left].mean()) if measured else None,
            "effect": measured and measured.effect,
            "effect_low": measured and measured.low,
            "effect_high": measured and measured.high,
            "p": measured.p if measured else 1.0,
        }
        left &= ~inside
