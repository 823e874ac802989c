"""The training assets: joined rows, shards on the local disk, and one model a night."""

import json
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from pipeline_assets.execution import git_commit
from pipeline_assets.features import event_log as log_module
from pipeline_assets.features import history, popularity, windows
from pipeline_assets.features import user_features as features
from pipeline_assets.partitions import SAME_DAY, Days
from pipeline_assets.table_asset import RunOfDays, Table, table_asset
from pipeline_assets.training import checks, feature_matrix, labels, scores, split, staging, staging_plan
from pipeline_assets.training import training_table as joins
from pipeline_assets.training.pruning import prune
from pipeline_assets.training.schemas import PopularityModel, StagedTrainingSet, TrainingPin, TrainingTable
from pipeline_assets.versioning import manifest, pins, reference, table_pins
from pipeline_assets.versioning.reference import code_of
from resources.classifier import ClassifierChoice
from resources.database import Database
from resources.filesystem import Filesystem
from resources.lake import Lake
from resources.objects import Objects
from resources.settings import load_settings
from resources.staging import StagingPolicy

if TYPE_CHECKING:
    from pipeline_assets.training.popularity_model import TrainedModel

MODEL_CODE = [
    Path(__file__).parent / f"{name}.py" for name in ("popularity_model", "popularity_net", "baselines", "dataset")
]
"""Modules that import torch: their files stand for them, so that Dagster loads the definitions quickly."""
PAST = Days(-features.LOOKBACK_DAYS, 0)
PAST_AND_LABEL = Days(-features.LOOKBACK_DAYS, labels.EVENT_DAYS_AFTER)
WINDOW = Days(1 - load_settings().training_window_days, 0)
SEED = 0
NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))


@table_asset(
    schema=TrainingTable,
    group="training",
    inputs={
        "raw_uploads": SAME_DAY,
        "photo_metadata": PAST,
        "photo_classes": SAME_DAY,
        "photo_styles": SAME_DAY,
        "user_features": SAME_DAY,
        "event_log": PAST_AND_LABEL,
    },
    code=[joins, labels, split, features, history, log_module, popularity, windows],
    checks=[checks.NO_FUTURE_LEAK, checks.ROWS_RECONCILE, checks.USERS_AGREE],
    kinds={"polars", "deltalake"},
    days_per_run=60,
    automatic=True,
    freshness=NIGHTLY,
    day_metadata=checks.count_labels,
    lineage={
        "sha256": [("raw_uploads", "sha256")],
        "top_class": [("photo_classes", "top5_label")],
        "top_probability": [("photo_classes", "top5_probability")],
        "title_length": [("photo_metadata", "title")],
        "has_location": [("photo_metadata", "location")],
        "posted_hour": [("photo_metadata", "posted_at")],
        "posted_weekday": [("photo_metadata", "posted_at")],
        "split": [("photo_metadata", "user_id")],
        "days_since_joining": [("photo_metadata", "user_joined_at"), ("photo_metadata", "posted_at")],
        **{
            name: [("event_log", "kind"), ("event_log", "at"), ("event_log", "arrived_at")]
            for name in (*features.FEATURES[1:], "views_7d", "popularity")
        },
    },
)
def training_table(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    photo_classes: pl.LazyFrame,
    photo_styles: pl.LazyFrame,
    user_features: pl.LazyFrame,
    event_log: pl.LazyFrame,
) -> pl.LazyFrame:
    """One row a photo: what was known when it was posted, what is in it, and its popularity once seven days have passed.

    Point-in-time correct: a feature counts an event only if it had both happened and arrived before the photo was posted.
    popularity = log2(views in the first 7 days / 7 + 1), null until the log covers those days. The split goes by a hash
    of the user and does not change when data are added. The features are those of `user_features`, by the same function,
    as of each posting instead of the day's end; a check compares the two.
    """
    return joins.training_table(
        raw_uploads,
        photo_metadata,
        photo_classes,
        photo_styles,
        event_log,
        days=run.days,
        observed_until=checks.observed_until(run),
    )


@table_asset(
    schema=TrainingPin,
    group="training",
    inputs={"training_table": WINDOW},
    code=[reference, manifest, table_pins],
    kinds={"json", "s3"},
    days_per_run=1,
    lineage={
        "identity": [("training_table", "popularity"), ("raw_uploads", "sha256")],
        "manifest_sha256": [("raw_uploads", "version_id")],
    },
)
def training_pin(
    run: RunOfDays, training_table: pl.LazyFrame, lake: Lake, postgres: Database, uploads: Objects, objects: Objects
) -> pl.DataFrame:
    """The night's training set by name: every table version, photo and commit that its rows follow from.

    What `darkroom pin` writes for a person, written each night for the model: the list of photos lies in the object store,
    and the reference in this table's row. `darkroom pin NAME --night DAY` makes it a file for git.
    """
    code, parts = code_of(git_commit()), table_pins.Pinnable(lake, postgres, uploads, objects)
    rows = []
    for night in run.days:
        label = pins.Label(f"night-{night}", code, "darkroom", f"What the model of the night of {night} is trained on")
        first, *_, last = WINDOW.of(night)
        pinned = table_pins.pin_table(label, "training_table", first, last, parts, is_stale_allowed=True)
        rows.append({"day": night, **table_pins.row_of(pinned)})
    return pl.DataFrame(rows, schema=TrainingPin.create_empty().schema)


@table_asset(
    schema=StagedTrainingSet,
    group="training",
    inputs={"training_pin": SAME_DAY, "training_table": WINDOW},
    code=[staging, staging_plan, feature_matrix],
    kinds={"arrow", "file"},
    days_per_run=1,
    lineage={"rows": [("training_table", "popularity")], "split": [("training_table", "split")]},
)
def staged_training_set(
    run: RunOfDays,
    training_pin: pl.LazyFrame,
    training_table: pl.LazyFrame,
    lake: Lake,
    local_disk: Filesystem,
    staging_policy: StagingPolicy,
) -> Table:
    """The night's training set as Arrow shards on the fast local disk, memory-mapped by the training loop.

    Mature rows of the window of days that ends with the night, read from the version that `training_pin` names. A killed
    staging goes on where it stopped; every shard is verified by its hash; all but the newest few stagings are removed.
    """
    pinned = training_pin.select("day", "table_version").collect()
    folders = {night: _stage(run, night, version, lake, local_disk) for night, version in pinned.iter_rows()}
    removed = prune(local_disk.folder, keep=staging_policy.keep, protect=[folder.name for folder in folders.values()])
    return Table(
        pl.concat([staging.shards_frame(folder, night) for night, folder in folders.items()]),
        metadata={"folders": [str(folder) for folder in folders.values()], "pruned": [path.name for path in removed]},
    )


def _stage(
    run: RunOfDays, night: date, version: int, lake: Lake, local_disk: Filesystem, variants: pl.LazyFrame | None = None
) -> Path:
    """The folder of a night's shards. Where they are on this disk already, they are verified and nothing is written."""
    rows = lake.scan("training_table", list(WINDOW.of(night)), version)
    if variants is not None:
        rows = pl.concat([rows.select(TrainingTable.column_names()), variants.select(TrainingTable.column_names())])
    plan = staging_plan.plan(rows, table_version=version)
    folder = local_disk.path(plan.name)
    if not (folder / staging.MANIFEST).exists():
        begun = sum(path.stat().st_size for path in folder.glob("*.arrow"))
        local_disk.require_free(plan.bytes_needed() - begun)
    with local_disk.writing():
        staging.stage(rows, folder, plan, on_shard=lambda shard: run.log.debug(f"staged {shard.shard}, {shard.rows:,} rows"))
    return folder


@table_asset(
    schema=PopularityModel,
    group="training",
    inputs={"training_pin": SAME_DAY, "staged_training_set": SAME_DAY, "training_variants": WINDOW},
    code=[*MODEL_CODE, feature_matrix, scores, str(SEED)],
    checks=[checks.BETTER_THAN_THE_MEAN],
    kinds={"pytorch", "s3"},
    pool="gpu",
    days_per_run=1,
    freshness=NIGHTLY,
    lineage={name: [("staged_training_set", "sha256")] for name in ("weights_sha256", "r2", "spearman")},
)
def popularity_model(
    run: RunOfDays,
    training_pin: pl.LazyFrame,
    staged_training_set: pl.LazyFrame,
    training_variants: pl.LazyFrame,
    lake: Lake,
    local_disk: Filesystem,
    objects: Objects,
    postgres: Database,
    classifier: ClassifierChoice,
) -> Table:
    """The night's popularity model, its scores on held-out users beside named baselines, and all that it was trained on.

    A small torch network on the photo's embedding and the features; early stopping on the validation split. Its weights
    lie in the object store under their SHA-256. Where the data are simulated, the oracle's score is the best reachable.
    With variants in the training split (`training_variants`) it is trained a second time, without them, to tell their gain.
    """
    from pipeline_assets.training import plots, popularity_model  # torch and altair take seconds to import

    rows, pictures = [], {}
    for night in run.days:
        pin = training_pin.filter(pl.col("day") == night).collect().row(0, named=True)
        staged = staged_training_set.filter(pl.col("day") == night).select("table_version").first().collect().item()
        folder = _stage(run, night, staged, lake, local_disk)  # on another machine the shards are made again
        started = time.monotonic()
        trained = popularity_model.train(folder, seed=SEED, device=classifier.device)
        without = None
        variants = training_variants.filter(pl.col("day").is_between(night + timedelta(WINDOW.start), night))
        if added := variants.select(pl.len()).collect().item():
            without, folder = trained, _stage(run, night, staged, lake, local_disk, variants)
            trained = popularity_model.train(folder, seed=SEED, device=classifier.device)
        seconds = time.monotonic() - started
        objects.store.put_if_absent(trained.weights)
        oracle = scores.oracle_scores(trained.predictions, _truth(postgres))
        rows.append({"day": night, **_model_row(trained, oracle), "training_s": seconds})
        rows[-1]["pin_identity"] = pin["identity"]
        rows[-1]["rows_variants"] = added
        rows[-1]["r2_without_variants"] = without.scores.r2 if without else None
        rows[-1]["spearman_without_variants"] = without.scores.spearman if without else None
        rows[-1]["table_versions_json"] = json.dumps(table_pins.versions(pin["reference_json"]), sort_keys=True)
        pictures = {
            "prediction_against_truth": plots.prediction_against_truth(trained.predictions, r2=trained.scores.r2),
            "feature_importance": plots.feature_importance(trained.importance),
        }
    return Table(pl.DataFrame(rows, schema=PopularityModel.create_empty().schema), pictures=pictures)


def _truth(postgres: Database) -> pl.DataFrame:
    truth = postgres.read("select photo_id, expected_views_7d from simulated_truth")
    return truth.select("photo_id", expected_popularity=(pl.col("expected_views_7d") / 7 + 1).log(2))


def _model_row(trained: "TrainedModel", oracle: scores.Scores | None) -> dict[str, Any]:
    """What a trained model is and how it scores, by the columns of `PopularityModel`."""
    return {
        "weights_sha256": trained.weights_sha256,
        "weights_bytes": len(trained.weights),
        "seed": trained.seed,
        "epochs": trained.epochs,
        **{f"rows_{split}": rows for split, rows in trained.rows.items()},
        "r2": trained.scores.r2,
        "spearman": trained.scores.spearman,
        "r2_mean": trained.baselines["mean"].r2,
        "r2_metadata": trained.baselines["metadata"].r2,
        "spearman_metadata": trained.baselines["metadata"].spearman,
        "r2_ridge": trained.baselines["ridge"].r2,
        "spearman_ridge": trained.baselines["ridge"].spearman,
        "r2_oracle": oracle.r2 if oracle else None,
        "spearman_oracle": oracle.spearman if oracle else None,
    }
