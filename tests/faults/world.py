"""A small Darkroom of its own: a bucket, two databases, a home, a few photos with their logs, and `darkroom run` over it.

Every S3 request of it goes through a `FaultProxy`. Worlds are copied from one that was imported once.
"""

import io
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import numpy as np
import polars as pl
import psycopg2
from fault_proxy import Fault, FaultProxy
from PIL import Image
from psycopg2 import sql

from pipeline_assets import definitions
from pipeline_assets.features.popularity import FINAL_DAYS
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.ingestion.logs.events import day_of_log
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.campaign import read
from pipeline_assets.labeling.campaigns.tasks import task_key
from pipeline_assets.labeling.exchange import store
from pipeline_assets.labeling.feedback.assets import SOURCE
from pipeline_assets.nightly import dagster_runs, night
from pipeline_assets.nightly.calendars import ASSETS
from pipeline_assets.sample.importing import files_of, import_files
from resources.database import ledger, seen_objects
from resources.database.postgres import Postgres
from resources.lake.lake import Lake
from resources.objects.resource import Objects
from resources.objects.store import ObjectStore
from resources.settings import load_settings
from tests.in_process import environment_of
from tests.processes import started

DARKROOM = Path(sys.executable).parent / "darkroom"
CAMPAIGNS = Path(__file__).parent / "campaigns"
DAYS = 2
TIMEOUT_S = 400
LABELS = {"boxes": [{"x": 0, "y": 0, "width": 8, "height": 8, "label": "corner"}]}
"""What every file is imported with: it does not fit what is no photo."""
VERSION_COLUMNS = ("table_version", "table_versions_json", "reference_json")
"""A killed run's second, equal commit is one more version."""
OWN_SETTINGS = ("DARKROOM_", "DAGSTER_", "AWS_")
TRUST = ("SSL_CERT_FILE", "AWS_CA_BUNDLE")
"""Who vouches for the S3 server."""


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status: negative if a signal ended it."""

    status: int
    output: str


@dataclass(frozen=True)
class World:
    """Where a Darkroom keeps things. settings: what its processes find in their environment; S3 is behind the proxy there.

    direct: the S3 endpoint itself, by which the test looks at what came of it.
    """

    home: Path
    settings: Mapping[str, str]
    direct: str

    @property
    def environment(self) -> dict[str, str]:
        """What a shell of this world exports, beside the test's own environment."""
        outer = {name: value for name, value in os.environ.items() if name in TRUST or not name.startswith(OWN_SETTINGS)}
        return {**outer, **self.settings, "COLUMNS": "200"}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This process as one of this world: its environment for a block."""
        with environment_of(self.environment):
            yield

    @property
    def s3(self) -> dict[str, str]:
        """How to reach S3 past the proxy."""
        keys = {"access_key": "S3_ACCESS_KEY", "secret_key": "S3_SECRET_KEY"}
        return {"endpoint": self.direct, **{key: self.settings[f"DARKROOM_{name}"] for key, name in keys.items()}}

    @property
    def postgres(self) -> Postgres:
        """The database with the ledger."""
        return Postgres(url=self.settings["DARKROOM_DATABASE_URL"])

    @property
    def lake(self) -> Lake:
        """The tables."""
        return Lake(url=self.settings["DARKROOM_LAKE_URL"], **self.s3)

    @property
    def lake_objects(self) -> Objects:
        """The lake's bucket, as a resource."""
        return Objects(url=self.settings["DARKROOM_LAKE_URL"], **self.s3)

    @property
    def lake_bucket(self) -> ObjectStore:
        """Logs, model weights and chunks of results."""
        return self.lake_objects.store

    @property
    def objects(self) -> ObjectStore:
        """What lies under its SHA-256: chunks of results, model weights."""
        return ObjectStore.open(f"{self.settings['DARKROOM_LAKE_URL']}/objects", **self.s3)

    @property
    def uploads(self) -> Objects:
        """What users uploaded."""
        return Objects(url=self.settings["DARKROOM_UPLOADS_URL"], **self.s3)

    def import_photos(self, folder: Path) -> None:
        """What `darkroom import` does."""
        today = datetime.now(UTC).date()
        import_files(
            str(folder),
            (replace(file, labels=LABELS) for file in files_of(str(folder), lambda url: self.lake_bucket)),
            database=self.postgres,
            uploads=self.uploads.store,
            lake_bucket=self.lake_bucket,
            days=DAYS,
            today=today,
            tell=lambda line: None,
        )
        self._answer()
        # A month of logs before the first photo would change no outcome, and cost a partition a day.
        for info in list(self.lake_bucket.list("events/")):
            day = day_of_log(info.key)
            if day and day < today - timedelta(days=FINAL_DAYS + DAYS):
                self.lake_bucket.delete(info.key)

    def _answer(self) -> None:
        """Three people answer the campaign, of which one is always wrong. All of their names are known before a run."""
        campaign = read(CAMPAIGNS)[0]
        photos = self.postgres.read("select i.key, i.sha256, p.day from imports i join photos p on p.key = i.key order by 1")
        tasks = [
            store.Request(task_key(campaign.name, campaign.version, campaign.target, sha256), day, key, "upload", sha256)
            for key, sha256, day in photos.iter_rows()
        ]
        store.record_campaign(self.postgres, campaign)
        store.record_requests(self.postgres, "test", campaign, tasks)
        at = datetime.now(UTC)
        store.land(
            self.postgres,
            (
                Answer("test", f"{task.task_key}-{who}", 0, task.task_key, who, at, 2.0, f'{{"choice":"{choice}"}}')
                for task in tasks
                for who, choice in (("ann", "sharp"), ("bob", "sharp"), ("cyd", "blurred"))
            ),
        )
        users = self.postgres.read("select user_id from users")["user_id"]
        store.user_pseudonyms(self.postgres, SOURCE, map(str, users))

    def started(self, *words: str, **settings: str) -> AbstractContextManager["subprocess.Popen[str]"]:
        """The `darkroom` command in a process of its own: `darkroom run` where no other is named."""
        return started([DARKROOM, *(words or ("run",))], {**self.environment, **settings})

    def run(self, *words: str, **settings: str) -> Said:
        """The command, to its end."""
        with self.started(*words, **settings) as process:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        return Said(process.returncode, output)

    def execute(self, *assets: str) -> dict[str, str]:
        """What `darkroom run` does for these assets, in this process. Returns the steps that failed, with their reasons."""
        failed: dict[str, str] = {}
        with self.instance() as instance:
            defs = definitions.build_defs(load_settings())
            today = datetime.now(UTC).date()
            days, log_days = (
                seen_objects.upload_days(self.postgres, self.uploads.bucket),
                night.log_days(self.lake_objects, today),
            )
            for launch in night.launches(days, log_days, today):
                if wanted := tuple(name for name in launch.assets if name in assets):
                    failed |= dagster_runs.failures(dagster_runs.execute(defs, instance, replace(launch, assets=wanted)))
        return failed

    def uncompute(self, *assets: str) -> None:
        """Let the ledger forget these assets, so that the next run computes all their days; the tables stay."""
        self.postgres.execute("delete from materializations where asset = any(%s)", (list(assets),))

    def kill_at(self, proxy: FaultProxy, *faults: Fault) -> int:
        """Start `darkroom run` and kill -9 it when it waits for what one of these faults holds. Returns that one's place."""
        with proxy.faulty(*faults) as met, self.started() as process:
            while not any(times := met()) and process.poll() is None:
                time.sleep(0.03)
            process.kill()
            output, _ = process.communicate()
        assert any(times), f"the run ended before it could be killed at any of {faults}: {output}"
        return next(place for place, happened in enumerate(times) if happened)

    def rows(self, name: str) -> pl.DataFrame:
        """A table's rows in order, without what differs between equal runs: times, and numbers of versions."""
        asset = DECLARATIONS[name]
        rows = self.lake.scan(name).drop([*asset.volatile, *VERSION_COLUMNS], strict=False)
        return rows.sort(asset.key).collect()

    def tables(self) -> dict[str, pl.DataFrame]:
        """The rows of every table that exists."""
        return {name: self.rows(name) for name in ASSETS if self.lake.exists(name)}

    def current(self) -> dict[str, set[date]]:
        """The days of each asset that the ledger takes for computed."""
        known = ledger.latest(self.postgres, ASSETS, date.min, date.max).filter(pl.col("digest") != "")
        return {name: set(known.filter(pl.col("asset") == name)["day"]) for name in ASSETS}

    def reported(self) -> dict[str, set[date]]:
        """The days of each asset that Dagster takes for materialized."""
        with self.instance() as instance:
            return {
                name: set(map(date.fromisoformat, instance.get_materialized_partitions(dg.AssetKey(name))))
                for name in ASSETS
            }

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """This world's Dagster."""
        with self.inside(), dg.DagsterInstance.from_config(str(self.home / "dagster"), "cli.yaml") as instance:
            yield instance


NewWorld = Callable[..., World]
"""Makes a copy of a world: of the imported one, or of the one given."""


def photo(seed: int) -> bytes:
    """A small JPEG of smooth noise; another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def database(server_url: str, template: str | None = None) -> str:
    """The address of a new database on a server, empty or a copy of another."""
    name = f"faults_{os.getpid()}_{secrets.token_hex(4)}"
    statement = sql.SQL("create database {} template {}").format(
        sql.Identifier(name), sql.Identifier(template or "template1")
    )
    connection = psycopg2.connect(server_url)
    try:
        connection.autocommit = True
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                connection.cursor().execute(statement)
                break
            except psycopg2.errors.ObjectInUse:  # another worker is looking at the template
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
    finally:
        connection.close()
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def name_of(database_url: str) -> str:
    """The database's name."""
    return urlsplit(database_url).path.lstrip("/")
