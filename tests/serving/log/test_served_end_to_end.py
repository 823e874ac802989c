"""From an ask over HTTP to its quality a week later, on real S3 and PostgreSQL: the log of asks, its replay, its labels."""

import gzip
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from in_process import environment_of
from serving.endpoint.served_world import ServedWorld, answered, service_here

from pipeline_assets.catalog import DECLARATIONS
from pipeline_assets.classify.assets import photo_classes, photo_styles
from pipeline_assets.classify.schemas import PhotoClasses, PhotoStyles
from pipeline_assets.features.assets import user_features
from pipeline_assets.ingestion.assets import event_log, photo_metadata, raw_uploads
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.sample.photos import COLOUR_PHOTOS, shipped_file
from pipeline_assets.serving.assets import online_features
from pipeline_assets.serving.endpoint.http.access import access_to
from pipeline_assets.serving.log.assets import served_drift, served_quality, serving_log
from pipeline_assets.serving.log.lately import lately
from pipeline_assets.training.assets import training_pin, training_table
from pipeline_assets.training.schemas import TrainingPin
from resources.assembly import build_resources
from resources.database import ledger
from resources.database.postgres import Postgres
from resources.files import sha256_of
from resources.lake.standing import standing
from resources.objects.store import ObjectStore
from resources.servers.endpoints import Endpoints
from resources.settings import load_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]

DAY = timedelta(days=1)
ASKED = date(2026, 2, 10)
"""The day on which everything is asked and posted."""
NOON = datetime.combine(ASKED, time(12), UTC)
JOINED = datetime(2025, 12, 1, tzinfo=UTC)
WEEK = 9
"""Days of the log after which a label is final."""
PHOTOS = {user: shipped_file(name) for user, name in zip((1, 2, 3), COLOUR_PHOTOS, strict=False)}
VIEWS = {1: 7, 2: 21, 3: 0}
"""Views of each user's photo in its first week: the labels log2(views / 7 + 1) are 1, 2 and 0."""
MODELS = (("a", ASKED - 2 * DAY, 1), ("b", ASKED - DAY, 2))
ASSETS = [
    *(raw_uploads, photo_metadata, event_log, photo_classes, photo_styles, user_features),
    *(training_table, training_pin, online_features, serving_log, served_quality, served_drift),
]


@dataclass(frozen=True)
class World(ServedWorld):
    """A served world whose tables are computed by their assets, from the log on."""

    @property
    def database(self) -> Postgres:
        return Postgres(url=self.servers["DATABASE_URL"])

    @property
    def bucket(self) -> ObjectStore:
        return ObjectStore.open(self.servers["LAKE_URL"], **self.s3)

    def run(self, asset: str, first: date, last: date | None = None) -> dict[str, bool]:
        """A Dagster run of one asset, which must succeed. Returns whether its checks passed."""
        with environment_of(self.environment), dg.DagsterInstance.ephemeral() as instance:
            whole = dg.Definitions(
                ASSETS, resources=build_resources(load_settings())
            ).resolve_implicit_global_asset_job_def()
            result = whole.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(asset)],
                tags={
                    "dagster/asset_partition_range_start": str(first),
                    "dagster/asset_partition_range_end": str(last or first),
                },
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}

    def write_log(self, day: date, events: Sequence[Mapping[str, Any]]) -> None:
        self.bucket.put(f"events/{day}/log.jsonl", "".join(json.dumps(event) + "\n" for event in events).encode())

    def write(self, name: str, rows: pl.DataFrame, day: date = ASKED) -> None:
        """What a run of an asset leaves for a day: its rows and its entry in the ledger."""
        self.lake.replace(name, [day], rows)
        version, code = standing(self.lake, name).version, DECLARATIONS[name].code_version
        entry = ledger.Materialization(name, day, "0" * 32, rows.height, 0, code, "", {}, version, None, "test")
        ledger.record(self.database, [entry])

    def segments(self) -> dict[str, bytes]:
        return {info.key: self.bucket.get(info.key) for info in self.bucket.list("serving/")}


def event(kind: str, user: int, at: datetime, photo: int | None = None, number: int = 0) -> dict[str, Any]:
    named = f"{kind}-{user}-{photo}-{number}-{at.isoformat()}"
    line = {"event_id": named, "user_id": user, "kind": kind, "at": at.isoformat(), "arrived_at": at.isoformat()}
    return line if photo is None else {**line, "photo_id": photo}


def of_schema(schema: Any, *rows: Mapping[str, Any]) -> pl.DataFrame:
    names = schema.column_names()
    return pl.DataFrame([dict.fromkeys(names) | row for row in rows], schema=schema.create_empty().schema, orient="row")


def post(world: World) -> None:
    """Each user posts their photo at the moment that was asked for, and others look at it in the week after."""
    common = {"day": ASKED}
    uploads, metadata, classes, styles = [], [], [], []
    for user, data in PHOTOS.items():
        key, sha256 = f"uploads/{ASKED}/{user}/photo.jpg", sha256_of(data)
        uploads.append(
            common
            | {"bucket": "b", "key": key, "version_id": "1", "uploaded_at": NOON, "size_bytes": len(data), "sha256": sha256}
            | {"verdict": "ok", "media_type": "image/jpeg", "user_id": user}
        )
        metadata.append(
            common
            | {"photo_id": user, "user_id": user, "key": key, "posted_at": NOON, "title": "", "user_joined_at": JOINED}
            | {"details_json": "{}"}
        )
        top = {"top5_index": [1], "top5_label": ["x"], "top5_probability": [0.5], "embedding": [0.5]}
        classes.append(common | {"sha256": sha256, "model_id": "m"} | top)
        measures = dict.fromkeys(("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect"), 0.5)
        styles.append(common | {"sha256": sha256, "styles_id": "s"} | measures)
    world.write("raw_uploads", of_schema(RawUploads, *uploads))
    world.write("photo_metadata", of_schema(PhotoMetadata, *metadata))
    world.write("photo_classes", of_schema(PhotoClasses, *classes))
    world.write("photo_styles", of_schema(PhotoStyles, *styles))


def a_week_passes(world: World) -> None:
    """The log from the asked day on. User 1 had logged in before the ask; views of a photo come on the day after it."""
    for number in range(WEEK + 1):
        day = ASKED + number * DAY
        events = [event("login", 1, NOON - timedelta(hours=6))] if number == 0 else []
        if number == 1:
            at = NOON + DAY - timedelta(hours=1)
            events = [event("view", 9, at, photo, n) for photo, views in VIEWS.items() for n in range(views)]
        world.write_log(day, events)
    world.run("event_log", ASKED, ASKED + WEEK * DAY)


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    services: Endpoints,
    new_postgres: Callable[[], AbstractContextManager[str]],
    new_s3_url: Callable[[], str],
) -> Iterator[World]:
    """A project on PostgreSQL and S3 up to the eve of the asked day: users with logins, their states published."""
    folder, prefix = tmp_path_factory.mktemp("end-to-end"), new_s3_url()
    (folder / "home").mkdir(mode=0o700)
    with new_postgres() as url:
        servers = {
            "DATABASE_URL": url,
            "LAKE_URL": f"{prefix}/lake",
            "UPLOADS_URL": f"{prefix}/uploads",
            "S3_ENDPOINT": services.s3_endpoint,
            "S3_ACCESS_KEY": services.access_key,
            "S3_SECRET_KEY": services.secret_key,
        }
        made = World(folder, servers)
        made.database.migrate()
        made.database.insert(
            "insert into users (user_id, joined_at, name) values %s", [(user, JOINED, "x") for user in (1, 2, 3, 9)]
        )
        for back in (3, 2, 1):
            day = ASKED - back * DAY
            made.write_log(day, [event("login", user, NOON - back * DAY) for user in (1, 2)])
        made.run("event_log", ASKED - 3 * DAY, ASKED - DAY)
        made.lake.replace("photo_metadata", [ASKED - DAY], PhotoMetadata.create_empty())
        made.run("online_features", ASKED - DAY)
        yield made


@pytest.fixture(scope="module")
def answers(world: World) -> dict[str, list[dict[str, Any]]]:
    """What two models answered over HTTP, the second of which took over; then a week passed."""
    answers: dict[str, list[dict[str, Any]]] = {}
    for name, night, seed in MODELS:
        world.add_model(night, seed)
        with (
            service_here(world, lambda: NOON) as (settings, service),
            answered(service, access_to(settings, "127.0.0.1")) as served,
        ):
            told = [served.predict(data, user_id=user) for user, data in PHOTOS.items()]
            features = served.post("v1/features", {"user_id": 2})
        assert [answer.status for answer in (*told, features)] == [200] * 4
        answers[name] = [answer.json for answer in told]
        assert {answer["model"]["night"] for answer in answers[name]} == {str(night)}
    a_week_passes(world)
    post(world)
    return answers


def test_what_was_answered_is_in_the_log_and_equals_the_offline_features(
    world: World, answers: dict[str, list[dict[str, Any]]]
) -> None:
    assert {key.split("/")[1] for key in world.segments()} == {str(ASKED)}
    assert world.run("serving_log", ASKED)["serving_skew"]
    rows = world.lake.scan("serving_log").collect()
    assert rows.height == 8 and rows["day"].unique().to_list() == [ASKED]
    # User 1 logged in on the asked day, after the states were built: without that login the answers are exact.
    outcomes = rows.select("user_id", "outcome").unique().sort("user_id").rows()
    assert outcomes == [(1, "behind"), (2, "equal"), (3, "equal")]
    logged = rows.filter(pl.col("route") == "predict").sort("model_sha256", "user_id")
    told = sorted((one for of in answers.values() for one in of), key=lambda one: one["model"]["sha256"])
    assert logged["popularity"].to_list() == [one["popularity"] for one in told]
    assert lately(world.lake)["skew"] == {"equal": 6, "behind": 2, "different": 0}


def test_one_altered_feature_of_one_ask_is_skew(world: World, answers: dict[str, list[dict[str, Any]]]) -> None:
    key, data = next(iter(world.segments().items()))
    lines = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    altered = next(line for line in lines if line["user_id"] == 2)
    altered["features"]["logins_30d"] += 1
    other = f"serving/{ASKED}/altered.jsonl.gz"
    world.bucket.put(other, gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    world.bucket.delete(key)
    try:
        assert not world.run("serving_log", ASKED)["serving_skew"]
        different = world.lake.scan("serving_log").filter(pl.col("outcome") == "different").collect()
        assert different["ask_id"].to_list() == [altered["ask_id"]]
    finally:
        world.bucket.put(key, data)
        world.bucket.delete(other)
    assert world.run("serving_log", ASKED)["serving_skew"]


def test_answers_meet_their_labels_and_are_judged_by_day_and_model(
    world: World, answers: dict[str, list[dict[str, Any]]]
) -> None:
    world.run("serving_log", ASKED)
    world.run("user_features", ASKED)
    world.run("training_table", ASKED)
    world.run("served_quality", ASKED)
    labels = [math.log2(VIEWS[user] / 7 + 1) for user in PHOTOS]
    assert labels == [1.0, 2.0, 0.0]
    found = {row["model_sha256"]: row for row in world.lake.scan("served_quality").collect().iter_rows(named=True)}
    assert len(found) == 2
    for of_model in answers.values():
        row, predicted = found[of_model[0]["model"]["sha256"]], [one["popularity"] for one in of_model]
        assert (row["day"], row["is_shadow"], row["asks"], row["labelled"]) == (ASKED, False, 3, 3)
        by_hand = judged_by_hand(predicted, labels)
        assert {name: row[name] for name in by_hand} == pytest.approx(by_hand)
        inside = [
            one["interval"]["low"] <= label <= one["interval"]["high"] for one, label in zip(of_model, labels, strict=True)
        ]
        assert row["coverage"] == pytest.approx(sum(inside) / 3)


def judged_by_hand(predicted: list[float], labels: list[float]) -> dict[str, float]:
    """R2, bias, absolute error and slope by their definitions."""
    errors = [p - label for p, label in zip(predicted, labels, strict=True)]
    middle, centre = sum(labels) / 3, sum(predicted) / 3
    spread = sum((p - centre) ** 2 for p in predicted)
    return {
        "r2": 1 - sum(e * e for e in errors) / sum((label - middle) ** 2 for label in labels),
        "bias": sum(errors) / 3,
        "mean_absolute_error": sum(map(abs, errors)) / 3,
        "slope": sum((p - centre) * (label - middle) for p, label in zip(predicted, labels, strict=True)) / spread,
    }


def test_drift_names_its_pin_and_says_why_nothing_was_compared(
    world: World, answers: dict[str, list[dict[str, Any]]]
) -> None:
    world.run("serving_log", ASKED)
    world.run("user_features", ASKED)
    world.run("training_table", ASKED)
    (pin,) = {one["model"]["pin"] for one in answers["b"]}
    row = {
        "day": ASKED - DAY,
        "identity": pin,
        "table_version": 0,
        "first_day": ASKED - 30 * DAY,
        "last_day": ASKED - 9 * DAY,
    }
    counts = {"rows": 1, "files": 1, "bytes": 1, "manifest_sha256": "0" * 64, "reference_json": "{}"}
    world.write("training_pin", of_schema(TrainingPin, row | counts), ASKED - DAY)
    assert world.run("served_drift", ASKED)["like_training"]
    reasons = world.lake.scan("served_drift").select("pin_identity", "reason", "rows").unique().collect()
    assert reasons.filter(pl.col("pin_identity") == pin)["reason"].unique().to_list() == ["fewer than 30 rows"]
    assert reasons.filter(pl.col("pin_identity") != pin)["reason"].unique().to_list() == ["its pin is of no night"]
