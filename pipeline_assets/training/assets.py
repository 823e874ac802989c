"""The training assets: joined rows, shards on the local disk, and one model per night."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from pipeline_assets.errors import NothingToTrainOn
from pipeline_assets.features import event_log as log_module
from pipeline_assets.features import history, popularity, postings, windows
from pipeline_assets.features import user_features as features
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.execution import git_commit
from pipeline_assets.framework.partitions import DECLARED, SAME_DAY, Days
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.ingestion import duplicates
from pipeline_assets.ingestion.logs import log_days
from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.training import checks, labels, observation, relatives, split
from pipeline_assets.training import training_table as joins
from pipeline_assets.training.model import feature_matrix, intervals, scores
from pipeline_assets.training.schemas import PopularityModel, StagedTrainingSet, TrainingPin, TrainingTable
from pipeline_assets.training.shards import staging, staging_plan
from pipeline_assets.training.shards.pruning import prune
from pipeline_assets.variants import families
from pipeline_assets.versioning.pin import manifest, pins, reference, table_pins
from pipeline_assets.versioning.pin.reference import code_of
from resources.classifier import ClassifierChoice
from resources.database import ledger
from resources.database.contract import Database
from resources.filesystem import Filesystem
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.staging import StagingPolicy

if TYPE_CHECKING:
    from pipeline_assets.training.model.popularity_model import TrainedModel

MODEL_CODE = [
    Path(__file__).parent / f"{name}.py"
    for name in ("model/popularity_model", "model/popularity_net", "model/baselines", "shards/dataset")
]
"""Modules that import torch, given by path so that Dagster loads the definitions quickly."""
PAST = Days(-observation.DAYS_BEFORE, 0)
PAST_AND_LABEL = Days(-observation.DAYS_BEFORE, observation.DAYS_AFTER)
WINDOW = Days(1 - DECLARED.training_window_days, 0)
SEED = 0
NO_ROWS = "no day of its window has a row in training_table: bring photos first"
NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))


def _observed_and_leaking(days: Sequence[date], database: Database, lake: Lake) -> Mapping[date, str]:
    """The log's observation of each day's photos, which changes with time, and the photos that leak across splits."""
    reach = (days[0] + timedelta(days=PAST_AND_LABEL.start), days[-1] + timedelta(days=PAST_AND_LABEL.end))
    complete = log_days.complete_days(ledger.latest(database, ["event_log"], *reach), datetime.now(UTC))
    observed = observation.Observation(complete)
    leaking_texts = relatives.source_texts(_leaking_photos(days, lake), days)
    return {day: observed.source_text(day) + leaking_texts[day] for day in days}


def _leaking_photos(days: Sequence[date], lake: Lake) -> pl.DataFrame:
    uploads = lake.scan("raw_uploads") if lake.exists("raw_uploads") else RawUploads.create_empty().lazy()
    return relatives.leaking_photos(uploads, days)


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
    sources=_observed_and_leaking,
    sources_are_pinned=True,
    code=[
        *(joins, labels, observation, log_days, split, relatives, families, duplicates),
        *(features, history, log_module, popularity, postings, windows),
    ],
    checks=[checks.NO_FUTURE_LEAK, checks.ROWS_RECONCILE, checks.USERS_AGREE, checks.LOG_IS_UNBROKEN],
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
    lake: Lake,
) -> Table:
    """One row per photo: what was known when it was posted, its content, and its popularity after seven days.

    Point-in-time correct: a feature counts an event only if it had both happened and arrived before the photo was posted.
    popularity = log2(views in the first 7 days / 7 + 1), null until complete days of the log cover those days without a
    gap. The split is a hash of the user and does not change when data are added; a photo that looks like another user's
    in a later split is rejected. The features are those of `user_features`, by the same function, as of each posting
    instead of the day's end; a check compares the two.
    """
    inputs = (raw_uploads, photo_metadata, photo_classes, photo_styles)
    observed, leaking = checks.observed(run), run.once("torn", lambda: _leaking_photos(run.days, lake))
    rows = joins.training_table(*inputs, event_log, days=run.days, observed=observed, leaking=leaking)
    rejected = joins.rejected_photos(*inputs, days=run.days, observed=observed, leaking=leaking)
    return Table(rows, rejected=rejected.collect(engine="streaming"))


@table_asset(
    schema=TrainingPin,
    group="training",
    inputs={"training_table": WINDOW},
    code=[reference, manifest, table_pins],
    quarantines=True,
    kinds={"json", "s3"},
    days_per_run=1,
    days="nights",
    lineage={
        "identity": [("training_table", "popularity"), ("raw_uploads", "sha256")],
        "manifest_sha256": [("raw_uploads", "version_id")],
    },
)
def training_pin(
    run: RunOfDays, training_table: pl.LazyFrame, lake: Lake, database: Database, uploads: Objects, objects: Objects
) -> Table:
    """The night's training set as a pin: every table version, photo and commit behind its rows.

    As with `darkroom pin`, the list of photos lies in the object store; the reference is in this table's row.
    `darkroom pin NAME --night DAY` writes it to a file for git. A night without rows in its window is rejected with its
    reason.
    """
    code, parts = code_of(git_commit()), table_pins.Pinnable(lake, database, uploads, objects)
    filled = set(training_table.select(pl.col("day").unique()).collect()["day"])
    rows, untrainable = [], {}
    for night in run.days:
        if filled.isdisjoint(WINDOW.of(night)):
            untrainable[night] = NothingToTrainOn(NO_ROWS)
            continue
        label = pins.Label(f"night-{night}", code, "darkroom", f"What the model of the night of {night} is trained on")
        first, *_, last = WINDOW.of(night)
        pinned = table_pins.pin_table(label, "training_table", first, last, parts, is_stale_allowed=True)
        rows.append({"day": night, **table_pins.row_of(pinned)})
    return Table(pl.DataFrame(rows, schema=TrainingPin.create_empty().schema), rejected=_set_aside(untrainable))


@table_asset(
    schema=StagedTrainingSet,
    group="training",
    inputs={"training_pin": SAME_DAY, "training_table": WINDOW},
    code=[staging, staging_plan, feature_matrix],
    quarantines=True,
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

    Mature rows of the window of days that ends with the night, read at the version in `training_pin`. A killed staging
    continues where it stopped; every shard is verified by its hash; all but the newest few stagings are removed. A night
    without mature rows has no shards and is rejected with its reason.
    """
    folders: dict[date, Path] = {}
    untrainable: dict[date, NothingToTrainOn] = {}
    for night, version in training_pin.select("day", "table_version").collect().iter_rows():
        try:
            folders[night] = _stage(run, night, version, lake, local_disk)
        except NothingToTrainOn as error:
            untrainable[night] = error
    removed = prune(local_disk.folder, keep=staging_policy.keep, protect=[folder.name for folder in folders.values()])
    shards = [staging.shards_frame(folder, night) for night, folder in folders.items()]
    return Table(
        pl.concat([StagedTrainingSet.create_empty(), *shards]),
        rejected=_set_aside(untrainable),
        metadata={"folders": [str(folder) for folder in folders.values()], "pruned": [path.name for path in removed]},
    )


def _stage(
    run: RunOfDays, night: date, version: int, lake: Lake, local_disk: Filesystem, variants: pl.LazyFrame | None = None
) -> Path:
    """The folder of a night's shards. Existing shards on this disk are verified and not rewritten."""
    rows = lake.scan("training_table", list(WINDOW.of(night)), version)
    if variants is not None:
        rows = pl.concat([rows.select(TrainingTable.column_names()), variants.select(TrainingTable.column_names())])
    plan = staging_plan.plan(rows, table_version=version)
    folder = local_disk.path(plan.name)
    if not (folder / staging.MANIFEST).exists():
        written_bytes = sum(path.stat().st_size for path in folder.glob("*.arrow"))
        local_disk.require_free(plan.bytes_needed() - written_bytes)
    with local_disk.writing():
        staging.stage(rows, folder, plan, on_shard=lambda shard: run.log.debug(f"staged {shard.shard}, {shard.rows:,} rows"))
    return folder


@table_asset(
    schema=PopularityModel,
    group="training",
    inputs={"training_pin": SAME_DAY, "staged_training_set": SAME_DAY, "training_variants": WINDOW},
    code=[*MODEL_CODE, feature_matrix, scores, intervals, str(SEED)],
    checks=[checks.BETTER_THAN_THE_MEAN],
    quarantines=True,
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
    database: Database,
    classifier: ClassifierChoice,
) -> Table:
    """The night's popularity model, its scores on held-out users with baselines, and the versions of its training data.

    A small torch network on the photo's embedding and the features, with early stopping on the validation split. Its
    weights lie in the object store under their SHA-256. For simulated data, the oracle's score is the best reachable. With
    variants in the training split (`training_variants`), it is trained a second time without them, to measure their gain.
    A night with an empty split has no model and is rejected with its reason.
    """
    from pipeline_assets.training.model import plots, popularity_model  # torch and altair take seconds to import

    rows, pictures, untrainable = [], {}, {}
    pin_of = {pin["day"]: pin for pin in training_pin.collect().iter_rows(named=True)}
    for night in run.days:
        started_at = time.monotonic()
        if (pin := pin_of.get(night)) is None:
            untrainable[night] = NothingToTrainOn(NO_ROWS)
            continue
        try:
            folder = _stage(
                run, night, pin["table_version"], lake, local_disk
            )  # on another machine, the shards are staged again
            trained = popularity_model.train(folder, seed=SEED, device=classifier.device)
        except NothingToTrainOn as error:
            untrainable[night] = error
            continue
        trained_without = None
        variants = training_variants.filter(pl.col("day").is_between(night + timedelta(WINDOW.start), night))
        if added := variants.select(pl.len()).collect().item():
            trained_without, folder = trained, _stage(run, night, pin["table_version"], lake, local_disk, variants)
            trained = popularity_model.train(folder, seed=SEED, device=classifier.device)
        seconds = time.monotonic() - started_at
        objects.store.put_if_absent(trained.weights)
        oracle = scores.oracle_scores(trained.predictions, _truth(database))
        rows.append({"day": night, **_model_row(trained, oracle), "training_s": seconds})
        rows[-1]["pin_identity"] = pin["identity"]
        rows[-1]["rows_variants"] = added
        rows[-1]["rows_set_aside"] = photos_set_aside(night, lake)
        rows[-1]["r2_without_variants"] = trained_without.scores.r2 if trained_without else None
        rows[-1]["spearman_without_variants"] = trained_without.scores.spearman if trained_without else None
        rows[-1]["table_versions_json"] = json.dumps(table_pins.versions(pin["reference_json"]), sort_keys=True)
        pictures = {
            "prediction_against_truth": plots.prediction_against_truth(trained.predictions, r2=trained.scores.r2),
            "feature_importance": plots.feature_importance(trained.importance),
        }
    frame = pl.DataFrame(rows, schema=PopularityModel.create_empty().schema)
    return Table(frame, rejected=_set_aside(untrainable), pictures=pictures)


def _set_aside(untrainable: Mapping[date, NothingToTrainOn]) -> pl.DataFrame:
    """Nights without a model, as rejected rows with their reason. They are retried when their rows change."""
    rows = [(night, "training_table", "nothing_to_train_on", str(error), None) for night, error in untrainable.items()]
    return pl.DataFrame(rows, schema=Rejected.create_empty().schema, orient="row")


def _truth(database: Database) -> pl.DataFrame:
    truth = database.read("select photo_id, expected_views_7d from simulated_truth")
    return truth.select("photo_id", expected_popularity=popularity.popularity(pl.col("expected_views_7d")))


def photos_set_aside(night: date, lake: Lake) -> int:
    """Number of photos in the night's window that are rejected because their family is in two splits."""
    if not lake.exists("training_table_rejected"):
        return 0
    rejected = lake.scan("training_table_rejected", list(WINDOW.of(night)))
    return int(rejected.filter(pl.col("reason") == joins.FAMILY_IN_TWO_SPLITS).select(pl.len()).collect().item())


def _model_row(trained: "TrainedModel", oracle: scores.Scores | None) -> dict[str, Any]:
    """A trained model and its scores as columns of `PopularityModel`."""
    residuals = trained.predictions.select(pl.col("popularity") - pl.col("prediction")).to_series().to_numpy()
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
        "half_width_90": intervals.half_width(residuals),
        "coverage_90": intervals.measured_coverage(residuals),
        "r2_oracle": oracle.r2 if oracle else None,
        "spearman_oracle": oracle.spearman if oracle else None,
    }
