"""What table variants are good for, and how fast they are made.

    python -m benchmarks.variants_tables [--users 5000] [--seeds 10] [--rows 1000000] [--rounds 3]

The table is `user_features` of a simulated service. Cells are deleted in three ways and guessed by three imputers, whose
error the mask's truth tells; intervals are of 95 %, over seeds (Student's t). Then synthetic rows, beside metasyn's: how far
distributions and correlations are off, and how well a linear model that learnt from synthetic rows predicts real ones. Last
the speed of each recipe on a table of many rows, reading and writing included.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.contests import take_turns
from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish, interval
from benchmarks.imputers import IMPUTERS, Floats, bias, error
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.features.user_features import user_features_for_days
from pipeline_assets.sample.simulator import simulate
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.recipes import Recipe, generator, seed_of
from pipeline_assets.variants.tables import KIND, margins
from pipeline_assets.variants.tables.frames import read_table, write_table
from pipeline_assets.variants.tables.report import compared

KEYS = ["day", "user_id", "as_of"]
DELETING = {
    "completely at random": Recipe("delete_mcar", share=0.2),
    "at random given a column": Recipe("delete_mar", share=0.2, by="logins_30d"),
    "not at random": Recipe("delete_mnar", share=0.2),
}
PREDICTED = "mean_popularity_30d"
CELLS_A_SECOND = 5_000_000


def users_of_a_day(users: int, seed: int) -> pl.DataFrame:
    """`user_features` of a service after two months."""
    first, days = date(2026, 3, 1), 60
    photos = users * 2
    uploads = pl.DataFrame({"name": [f"{n}.jpg" for n in range(photos)], "appeal": np.zeros(photos)})
    service = simulate(uploads, first_day=first, days=days, until=first + timedelta(days=days + 10), users=users, seed=seed)
    return user_features_for_days(
        [first + timedelta(days=days - 1)], service.events.lazy(), service.photos.lazy(), service.users.lazy()
    ).collect()


def made(frame: pl.DataFrame, recipe: Recipe, number: int) -> Made:
    """The variant."""
    data = write_table(frame)
    parent = Parent(sha256(data).hexdigest(), data, {"keys": [key for key in KEYS if key in frame.columns]})
    recipe = KIND.complete(recipe)
    task = Task("", (parent.sha256,), recipe, seed_of((parent.sha256,), recipe, 0, number))
    ((_, outcome),) = KIND.make([(task, (parent,))])
    if not isinstance(outcome, Made):
        raise outcome
    if faults := KIND.problems(outcome):
        raise AssertionError("; ".join(faults))
    return outcome


def numbers(frame: pl.DataFrame) -> Floats:
    """(rows, columns without keys), NaN for null."""
    return frame.drop(KEYS).cast(pl.Float64).fill_null(float("nan")).to_numpy()


def imputation(frame: pl.DataFrame, seeds: int) -> tuple[list[Figure], dict[str, list[float]]]:
    """Each imputer's error under each way of deleting, and how far deleted cells differ from the others."""
    errors: dict[str, list[float]] = {}
    for seed in range(seeds):
        for way, recipe in DELETING.items():
            outcome = made(frame, recipe, seed)
            truth, variant = numbers(frame), numbers(read_table(outcome.data))
            deleted = read_table(outcome.also["mask_sha256"]).to_numpy()
            errors.setdefault(f"deleted {way}: values above the others'", []).append(bias(truth, deleted))
            for name, impute in IMPUTERS.items():
                errors.setdefault(f"deleted {way}: error of {name}", []).append(error(truth, impute(variant), deleted))
    return [Figure(name, statistics.mean(of), "sd", note=span(of)) for name, of in errors.items()], errors


def synthesis(frame: pl.DataFrame, seeds: int) -> tuple[list[Figure], dict[str, list[dict[str, float]]]]:
    """Ours beside metasyn: the reports on both, and what a model learns from either."""
    real = frame.drop(KEYS)
    learn, test = real[: real.height * 2 // 3], real[real.height * 2 // 3 :]
    columns = [margins.fitted(series, rare=5) for series in learn]
    scores: dict[str, list[dict[str, float]]] = {"Darkroom": [], "metasyn": []}
    absence = ""
    for seed in range(seeds):
        synthetic = {"Darkroom": read_table(made(learn, Recipe("synthesize"), seed).data)}
        try:
            synthetic["metasyn"] = by_metasyn(learn, seed)
        except (NotInstallable, subprocess.CalledProcessError) as error:
            absence = f"metasyn failed: {error}"[:200]
        for name, table in synthetic.items():
            report = compared(columns, learn, table, generator(seed, "report"))
            scores[name].append({**told(report), "R2 of a linear model learnt from it": r2(table, test)})
    figures = [Figure(f"R2 of a linear model learnt from real rows, of {PREDICTED}", r2(learn, test), "")]
    for name, runs in scores.items():
        for key in runs[0] if runs else []:
            values = [run[key] for run in runs]
            target = at_most(0) if (name, key) == ("Darkroom", "rows copied") else None
            figures.append(Figure(f"synthetic by {name}: {key}", statistics.mean(values), "", target, span(values)))
    if absence:
        figures.append(Figure("synthetic by metasyn", None, "", note=absence))
    return figures, scores


def told(report: Mapping[str, Any]) -> dict[str, float]:
    """A report's main numbers."""
    nearest = report["nearest"]
    return {
        "distribution's greatest difference, worst column": max(m["distance"] for m in report["margins"].values()),
        "correlations' mean difference": report["correlation_difference_mean"],
        "correlations' greatest difference": report["correlation_difference_max"],
        "rows copied": report["rows_copied"],
        "nearest real row's distance beside a real row's": nearest["synthetic_median"] / max(nearest["real_median"], 1e-9),
    }


def by_metasyn(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Its synthetic rows. Raises NotInstallable or CalledProcessError."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "real.parquet", Path(name) / "synthetic.parquet"
        frame.write_parquet(source)
        command = [python_of("metasyn"), "-m", "benchmarks.rivals.table_metasyn", source, target, seed]
        subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE)
        return pl.read_parquet(target).select(pl.col(c).cast(t, strict=False) for c, t in frame.schema.items())


def r2(learn: pl.DataFrame, test: pl.DataFrame) -> float:
    """Of a least-squares prediction of one column by the others, logarithms of their counts, on other rows."""
    design, target = {}, {}
    for name, frame in {"learn": learn, "test": test}.items():
        rows = frame.drop_nulls(PREDICTED)
        predictors = rows.drop(PREDICTED).cast(pl.Float64).fill_null(0.0).to_numpy()
        design[name] = np.column_stack([np.ones(len(predictors)), np.log1p(np.maximum(predictors, 0.0))])
        target[name] = rows[PREDICTED].cast(pl.Float64).to_numpy()
    weights = np.linalg.lstsq(design["learn"], target["learn"], rcond=None)[0]
    missed = target["test"] - design["test"] @ weights
    return float(1 - missed.var() / target["test"].var())


def span(values: Sequence[float]) -> str:
    """The interval of the mean, in words."""
    mean, half = interval(values)
    return f"{mean - half:.3f} to {mean + half:.3f}, {len(values)} seeds"


def speed(frame: pl.DataFrame, rows: int, rounds: int) -> tuple[list[Figure], dict[str, list[float]]]:
    """Cells a second of each ready-made recipe, on the table repeated, with a country beside."""
    times = -(-rows // frame.height)
    random = np.random.default_rng(0)
    large = pl.concat([frame] * times)[:rows].with_columns(
        user_id=pl.int_range(rows), country=pl.Series(random.choice(["de", "fr", "pl", "jp"], rows))
    )
    data = write_table(large)
    parent = Parent(sha256(data).hexdigest(), data, {"keys": KEYS})

    def run(recipe: Recipe) -> float:
        began = time.perf_counter()
        ((_, outcome),) = KIND.make([(Task("", (parent.sha256,), recipe, 1), (parent,))])
        assert isinstance(outcome, Made), outcome
        return time.perf_counter() - began

    recipes = {name: KIND.complete(recipe) for name, recipe in KIND.recipes.items()}
    runs = take_turns({name: lambda recipe=recipe: run(recipe) for name, recipe in recipes.items()}, rounds)  # type: ignore[misc]
    cells = large.height * large.width
    return [
        Figure(f"{name}: cells a second", cells / statistics.median(of), "1/s", at_least(CELLS_A_SECOND), f"of {cells:,}")
        for name, of in runs.items()
    ], runs


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--users", type=int, help="of the table that is judged (5,000; with --quick 800)")
    parser.add_argument("--seeds", type=int, help="of each variant (10; with --quick 2)")
    parser.add_argument("--rows", type=int, help="of the table whose time is taken (1,000,000; with --quick 50,000)")
    parser.add_argument("--rounds", type=int, help="of each recipe's time (3; with --quick 1)")
    options = parser.parse_args()
    quick = options.quick
    frame = users_of_a_day(options.users or (800 if quick else 5000), 0)
    seeds = options.seeds or (2 if quick else 10)
    imputed, errors = imputation(frame, seeds)
    synthetic, reports = synthesis(frame, seeds)
    timed, runs = speed(frame, options.rows or (50_000 if quick else 1_000_000), options.rounds or (1 if quick else 3))
    details = {"users": frame.height, "errors": errors, "reports": json.loads(json.dumps(reports)), "seconds": runs}
    finish(options, "variants_tables", [*imputed, *synthetic, *timed], details)


if __name__ == "__main__":
    main()
