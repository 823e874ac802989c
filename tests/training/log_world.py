"""A small world in which `event_log`, `user_features` and `training_table` run for real: a folder, SQLite, and written days.

What lies before them (uploads, metadata, classes, styles) is written as a run would leave it.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
from test_training_table import classes, photo, styles, table_of, upload

from pipeline_assets.catalog import DECLARATIONS
from pipeline_assets.classify.assets import photo_classes, photo_styles
from pipeline_assets.classify.schemas import PhotoClasses, PhotoStyles
from pipeline_assets.features.assets import user_features
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.ingestion.assets import event_log, photo_metadata, raw_uploads
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.training.assets import training_table
from resources.assembly import build_resources
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.lake.standing import standing
from resources.objects.resource import Objects
from resources.settings import load_settings

DAY = timedelta(days=1)
JOINED = datetime(2020, 1, 1, tzinfo=UTC)
WRITTEN = {
    "raw_uploads": RawUploads,
    "photo_metadata": PhotoMetadata,
    "photo_classes": PhotoClasses,
    "photo_styles": PhotoStyles,
}
ASSETS = [raw_uploads, photo_metadata, event_log, photo_classes, photo_styles, user_features, training_table]


def at(day: date, hours: float = 0) -> datetime:
    """A moment of a UTC day."""
    return datetime.combine(day, time(), UTC) + timedelta(hours=hours)


@dataclass(frozen=True)
class LogWorld:
    """Everything lies in one folder."""

    root: Path

    @property
    def database(self) -> Sqlite:
        """The application's tables and the ledger."""
        return Sqlite(url=f"sqlite:///{self.root / 'darkroom.db'}")

    @property
    def lake(self) -> Lake:
        """The tables."""
        return Lake(url=str(self.root / "lake"))

    @property
    def logs(self) -> Objects:
        """The bucket with the log files."""
        return Objects(url=(self.root / "lake").as_uri())

    @property
    def resources(self) -> dict[str, object]:
        """What the assets ask for."""
        return {"lake": self.lake, "database": self.database, "lake_bucket": self.logs, "io_manager": LakeIO(lake=self.lake)}

    def write_photos(self, photos: Sequence[dict[str, object]], sha_of: dict[int, int] | None = None) -> None:
        """Photos with all that comes before the training table, recorded as computed. sha_of: content, if not the photo's."""
        sha_of = {row["photo_id"]: row["photo_id"] for row in photos} | (sha_of or {})  # type: ignore[misc]
        rows: dict[str, list[dict[str, object]]] = {"photo_metadata": list(photos), **{name: [] for name in WRITTEN}}
        rows["photo_metadata"] = list(photos)
        for row in photos:
            number, day = int(row["photo_id"]), row["day"]  # type: ignore[call-overload]
            content = upload(sha_of[number])["sha256"]
            rows["raw_uploads"].append(
                upload(number, day=day, user_id=row["user_id"], sha256=content, uploaded_at=row["posted_at"])
            )
            rows["photo_classes"].append(classes(sha_of[number], day=day))
            rows["photo_styles"].append(styles(sha_of[number], day=day))
        days = sorted({row["day"] for row in photos})
        for name, schema in WRITTEN.items():
            frame = table_of(schema, rows[name]).unique(schema.primary_key()).collect()
            self.lake.replace(name, days, frame)  # type: ignore[arg-type]
            self.record(name, days)  # type: ignore[arg-type]
        self.database.insert(
            "insert into users (user_id, joined_at, name) values %s",
            [(user, row["user_joined_at"], "a user") for user, row in {row["user_id"]: row for row in photos}.items()],
        )

    def record(self, name: str, days: Sequence[date]) -> None:
        """Enter days as computed."""
        there, asset = standing(self.lake, name), DECLARATIONS[name]
        ledger.record(
            self.database,
            [
                ledger.Materialization(
                    name,
                    day,
                    ledger.digest_of([name, str(day)]),
                    there.rows.get(day) or 0,
                    0,
                    asset.code_version,
                    "",
                    {},
                    there.version,
                    None,
                    "test",
                )
                for day in days
            ],
        )

    def write_log(self, day: date, *events: dict[str, object], name: str = "log") -> None:
        """A log file in the folder of a day."""
        lines = "".join(json.dumps(event, default=str) + "\n" for event in events)
        self.logs.store.put(f"events/{day}/{name}.jsonl", lines.encode())

    def run(self, asset: str, first: date, last: date) -> None:
        """A Dagster run of one asset over a range of days; it must succeed."""
        resources = build_resources(load_settings()) | self.resources
        with dg.DagsterInstance.ephemeral() as instance:
            dg.Definitions(ASSETS, resources=resources).resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(asset)],
                tags={"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )

    def stale(self, asset: str, days: Sequence[date]) -> list[date]:
        """The days of an asset that a run would compute."""
        return list(plan_days(DECLARATIONS[asset], self.lake, self.database, days, self.resources).changed)

    def rows(self, table: str = "training_table") -> pl.DataFrame:
        """A table's rows, by day and photo where it has them."""
        found = self.lake.scan(table).collect()
        return found.sort(name for name in ("day", "photo_id", "source") if name in found.columns)


@contextmanager
def in_folder(root: Path) -> Iterator[LogWorld]:
    """A new world."""
    world = LogWorld(root)
    world.database.migrate()
    yield world


def view(of: int, happened: datetime, number: int = 0) -> dict[str, object]:
    """A line of the log: someone looks at a photo."""
    return {
        "event_id": f"{of}-{happened.isoformat()}-{number}",
        "user_id": 99,
        "photo_id": of,
        "kind": "view",
        "at": happened.isoformat(),
        "arrived_at": happened.isoformat(),
    }


def posted(number: int, day: date, hours: float = 12, **changes: object) -> dict[str, object]:
    """A photo's metadata: uploaded and posted on a day."""
    return photo(number, **({"day": day, "posted_at": at(day, hours), "user_joined_at": JOINED} | changes))
