"""A small world of labeling: three photos of one day in folders and a database, a campaign, and runs of the assets."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from pipeline_assets.catalog import DECLARED
from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.framework.partitions import daily
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.ingestion.schemas import PhotoMetadata, RawUploads
from pipeline_assets.labeling.assets import annotations
from pipeline_assets.labeling.campaigns import assets
from pipeline_assets.labeling.campaigns.answer import Answer
from pipeline_assets.labeling.campaigns.campaign import Campaign, parse
from pipeline_assets.labeling.campaigns.tasks import task_key
from pipeline_assets.labeling.exchange import store
from pipeline_assets.labeling.exchange.store import Landed, Request
from resources.campaigns import CampaignFiles
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO

DAY = date(2026, 1, 3)
NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)
SHARP = "question: Is it sharp?\nkind: class\nclasses: [sharp, blurred]\nconfidence: 0.6\n"
LABELING = (
    assets.label_tasks,
    assets.label_votes,
    assets.annotator_quality,
    assets.label_consensus,
    assets.label_agreement,
    annotations,
)


class LabelWorld:
    """Photos 0 to `photos` - 1, whose content is named by their number."""

    def __init__(self, folder: Path, database: Database, campaign: str = SHARP, photos: int = 3) -> None:
        self.database = database
        self.lake = Lake(url=(folder / "lake").as_uri())
        (folder / "lake").mkdir()
        self.files = CampaignFiles(folder=str(folder / "campaigns"))
        self.files.path.mkdir()
        self.campaign = self.write(campaign)
        uploads = [
            dict.fromkeys(RawUploads.column_names())
            | {"day": DAY, "bucket": "uploads", "key": self.key(number), "version_id": "1", "uploaded_at": NOON}
            | {"size_bytes": 9, "sha256": self.content(number), "media_type": "image/jpeg", "verdict": "ok"}
            | {"width_px": 100, "height_px": 80}
            for number in range(photos)
        ]
        self._write("raw_uploads", pl.DataFrame(uploads, schema=RawUploads.create_empty().schema))
        self._write("photo_metadata", PhotoMetadata.create_empty())
        self._write("photo_classes", PhotoClasses.create_empty())

    @staticmethod
    def key(number: int) -> str:
        return f"uploads/{DAY}/1/{number}.jpg"

    @staticmethod
    def content(number: int) -> str:
        return f"{number:064x}"

    def write(self, text: str, name: str = "sharp") -> Campaign:
        """Write a campaign's file."""
        (self.files.path / f"{name}.yaml").write_text(text)
        return parse(text, name)

    def task(self, number: int) -> str:
        return task_key(self.campaign.name, self.campaign.version, self.campaign.target, self.content(number))

    def ask(self, tool: str = "tool") -> None:
        """Record that all tasks of the table are asked."""
        tasks = self.rows("label_tasks").filter(campaign=self.campaign.name, version=self.campaign.version)
        store.record_campaign(self.database, self.campaign)
        columns = tasks.select("task_key", "day", "key", "target", "sha256")
        store.record_requests(self.database, tool, self.campaign, [Request(*row) for row in columns.iter_rows()])

    def answer(self, number: int, annotator: str, choice: str, revision: int = 0) -> Landed:
        """One person's answer about one photo."""
        at = NOON + timedelta(days=1, seconds=revision)
        given = Answer(
            "tool",
            f"{self.campaign.version}-{number}-{annotator}",
            revision,
            self.task(number),
            annotator,
            at,
            2.0,
            f'{{"choice":"{choice}"}}',
        )
        return store.land(self.database, [given])

    def run(self, *names: str) -> None:
        """Compute the day in all labeling assets, or in some."""
        resources = {"lake": self.lake, "io_manager": LakeIO(lake=self.lake), "database": self.database}
        upstream = [dg.AssetSpec(name, partitions_def=daily) for name in ("raw_uploads", "photo_metadata", "photo_classes")]
        done = dg.materialize(
            [*LABELING, *upstream],
            selection=list(names) or [asset.key.to_user_string() for asset in LABELING],
            partition_key=str(DAY),
            resources=resources | {"campaigns": self.files},
        )
        assert done.success

    def stale(self) -> list[str]:
        """The labeling assets whose day a run would compute."""
        resources = {"database": self.database, "campaigns": self.files}
        names = [asset.key.to_user_string() for asset in LABELING]
        return [name for name in names if plan_days(DECLARED[name], self.lake, self.database, [DAY], resources).changed]

    def rows(self, table: str) -> pl.DataFrame:
        return self.lake.scan(table).collect()

    def _write(self, name: str, rows: pl.DataFrame, days: Sequence[date] = (DAY,)) -> None:
        version = self.lake.replace(name, list(days), rows)
        entries = [
            ledger.Materialization(name, day, "0" * 32, rows.height, 0, "1", "", {}, version, None, "test") for day in days
        ]
        ledger.record(self.database, entries)
