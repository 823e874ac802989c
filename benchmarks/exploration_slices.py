"""Whether planted weak slices are found among thousands of conditions, and how often there is one where nothing is weak.

    python -m benchmarks.exploration_slices [--seeds 20] [--shuffles 100]

Held-out photos of users who differ in how much they post and in how hard their photos are to predict, with 23 columns.
Errors have a deviation of 0.6, and 2.2 times as much in four slices: a class, a pair of style and metadata, a pair of a
user's feature and time, a cluster of the map. A planted slice is found if a confirmed slice has at least two
fifths of their joint rows in common with it; a confirmed slice is false if fewer than half of its rows are in a planted one.
Shuffled tables have the same errors in random rows. The rival tests what it finds on the
rows that it searched, corrected for all conditions of one or two, each photo for itself: a search that knows neither fresh
users nor that errors of one user depend on each other.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtr

from benchmarks.figures import Figure, add_options, at_least, at_most, finish
from pipeline_assets.exploration.slices.predicates import COLUMNS, OF_OTHER_TABLES, predicates
from pipeline_assets.exploration.slices.search import MIN_ROWS, search
from pipeline_assets.exploration.slices.slices import slices
from pipeline_assets.labeling.consensus.quality import wilson

ALL_COLUMNS = (*COLUMNS, *OF_OTHER_TABLES)
SEEDS, SHUFFLES = 20, 100
ROWS, USERS = 12_000, 800
DEVIATION, FACTOR = 0.6, 2.2
LEAST_COMMON, LEAST_INSIDE = 0.4, 0.5
PLANTED = (
    "top_class = 'class 2'",
    "has_location = true and brightness <= 0.25",
    "posted_hour >= 18 and logins_30d > 107",
    '"cluster" = 7',
)
ALPHA = 0.01


def photos(seed: int, weak: Sequence[str] = PLANTED, *, is_shuffled: bool = False) -> pl.DataFrame:
    """Photos with predictions whose errors are larger in the weak slices."""
    random = np.random.default_rng(seed)
    activity = random.gamma(1, 1, USERS)
    user = random.choice(USERS, ROWS, p=activity / activity.sum())
    frequency = 1 / np.arange(1, 41)
    columns: dict[str, object] = {
        "user_id": user + USERS * seed,
        "sha256": [f"{number:064x}" for number in range(ROWS)],
        "top_class": random.choice([f"class {number}" for number in range(40)], ROWS, p=frequency / frequency.sum()),
        "posted_hour": random.integers(0, 24, ROWS),
        "posted_weekday": random.integers(1, 8, ROWS),
        "title_length": random.integers(0, 80, ROWS),
        "has_location": random.random(ROWS) < 0.4,
    }
    for name in ("top_probability", "brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect"):
        columns[name] = random.random(ROWS).astype(np.float32)
    for name in COLUMNS[COLUMNS.index("followers_at_post") : -1]:
        columns[name] = np.exp(random.normal(4, 1, USERS)).astype(np.int64)[user]
    columns["mean_popularity_30d"] = np.where(random.random(ROWS) < 0.3, np.nan, random.normal(5, 1, ROWS))
    columns["look"] = random.choice([f"look {number}" for number in range(11)], ROWS)
    columns["cluster"] = random.integers(-1, 30, ROWS).astype(np.int32)
    rows = pl.DataFrame(columns).with_columns(pl.col("mean_popularity_30d").fill_nan(None))
    scale = DEVIATION * np.exp(0.2 * random.normal(size=USERS))[user]
    for condition in weak:
        scale = np.where(held(rows, condition), scale * FACTOR, scale)
    errors = (0.3 * random.normal(size=USERS)[user] + random.normal(size=ROWS)) * scale
    if is_shuffled:
        errors = random.permutation(errors)
    truth = random.normal(4, 1, ROWS)
    return rows.with_columns(popularity=pl.Series(truth), prediction=pl.Series(truth + errors))


def held(rows: pl.DataFrame, condition: str) -> npt.NDArray[np.bool_]:
    """The rows for which a condition holds."""
    found: npt.NDArray[np.bool_] = rows.select(pl.sql_expr(condition).fill_null(False)).to_series().to_numpy()
    return found


def judged(rows: pl.DataFrame, confirmed: Sequence[str]) -> tuple[int, int]:
    """How many planted slices are found, and how many confirmed ones are false."""
    planted = [held(rows, condition) for condition in PLANTED]
    found, false = set(), 0
    for inside in (held(rows, condition) for condition in confirmed):
        found |= {at for at, truth in enumerate(planted) if (inside & truth).sum() >= LEAST_COMMON * (inside | truth).sum()}
        false += int((inside & np.logical_or.reduce(planted)).sum() < LEAST_INSIDE * inside.sum())
    return len(found), false


def same_rows_confirm(rows: pl.DataFrame) -> bool:
    """Whether the rival confirms any slice: on the rows it searched, each photo for itself."""
    offered = predicates(rows, ALL_COLUMNS, min_rows=2 * MIN_ROWS)
    errors = (rows["prediction"] - rows["popularity"]).abs().to_numpy()
    conditions = len(offered.texts) * (len(offered.texts) + 1) // 2
    for found in search(offered, errors, np.arange(len(errors))):
        inside = offered.holds[:, list(found)].all(axis=1)
        one, other = errors[inside], errors[~inside]
        deviation = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
        if stdtr(len(one) - 1, -(one.mean() - other.mean()) / deviation) * conditions <= ALPHA:
            return True
    return False


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seeds", type=int, help=f"tables with planted slices ({SEEDS}; with --quick 1)")
    parser.add_argument("--shuffles", type=int, help=f"shuffled tables ({SHUFFLES}; with --quick 2)")
    options = parser.parse_args()
    seeds, shuffles = (
        options.seeds or (1 if options.quick else SEEDS),
        options.shuffles or (2 if options.quick else SHUFFLES),
    )
    offered = len(predicates(photos(0), ALL_COLUMNS, min_rows=2 * MIN_ROWS).texts)
    found = false = confirmed = 0
    began_s = time.process_time()
    for seed in range(seeds):
        rows = photos(seed)
        weak = slices(rows).filter("is_weak")["slice"].to_list()
        of_seed = judged(rows, weak)
        found, false, confirmed = found + of_seed[0], false + of_seed[1], confirmed + len(weak)
    cpu_s = (time.process_time() - began_s) / seeds
    any_by_level = {0.01: 0, 0.05: 0}
    rival = 0
    for seed in range(shuffles):
        rows = photos(1_000 + seed, is_shuffled=True)
        lowest = slices(rows)["p_corrected"].min()
        for level in any_by_level:
            any_by_level[level] += int(lowest is not None and lowest <= level)  # type: ignore[operator]
    clustered = 0
    for seed in range(shuffles // 5 or 1):
        rows = photos(2_000 + seed, weak=())
        clustered += int(slices(rows)["is_weak"].any())
        rival += int(same_rows_confirm(rows))
    fresh = shuffles // 5 or 1
    pairs = offered * (offered + 1) // 2
    figures = [
        Figure(
            "planted weak slices found",
            found / (len(PLANTED) * seeds),
            "",
            at_least(0.95),
            f"{found} of {len(PLANTED) * seeds}; {pairs:,} conditions of one or two",
        ),
        Figure("false ones among confirmed slices", false / max(confirmed, 1), "", at_most(0.05), f"{false} of {confirmed}"),
        Figure(
            "shuffled tables with a confirmed slice",
            any_by_level[0.01] / shuffles,
            "",
            at_most(0.05),
            note_of(any_by_level[0.01], shuffles),
        ),
        Figure("the same at a level of 0.05", any_by_level[0.05] / shuffles, "", note=note_of(any_by_level[0.05], shuffles)),
        Figure(
            "tables of unlike users, nothing weak, with a confirmed slice",
            clustered / fresh,
            "",
            at_most(0.05),
            note_of(clustered, fresh),
        ),
        Figure("the same by the rival: tested on the rows searched", rival / fresh, "", note=note_of(rival, fresh)),
        Figure("a table searched and tested", cpu_s, "CPU s", note=f"{ROWS:,} photos of {USERS} users"),
    ]
    finish(options, "exploration_slices", figures, {"seeds": seeds, "shuffles": shuffles, "predicates": offered})


def note_of(count: int, of: int) -> str:
    """A count with Wilson's interval."""
    bounds = wilson(count, of)
    return f"{count} of {of}; 95 %: {bounds.low:.3f} to {bounds.high:.3f}"


if __name__ == "__main__":
    main()
