"""The classifier assets in real runs: whatever names the classifier, results and ledger are of the one that was loaded."""

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from tiny_network import TINY_PREPROCESSING, export_tiny, noise

from pipeline_assets.classify.assets import photo_classes, photo_styles
from pipeline_assets.classify.model_files import model_id
from pipeline_assets.classify.models import save_classifier
from pipeline_assets.definitions import build_defs
from pipeline_assets.errors import SettingsDiffer
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.partitions import daily
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.nightly.survey import rules
from resources.assembly import resolve
from resources.classifier import ClassifierChoice
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.objects.resource import Objects
from resources.objects.results import Results
from resources.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")

DAY = date(2026, 1, 3)
KEY = f"uploads/{DAY}/1/photo.png"
PHOTO = noise(1)
SHA256 = hashlib.sha256(PHOTO).hexdigest()


class World:
    """One uploaded photo with its row, in folders and an SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.database = Sqlite(url=f"sqlite:///{folder / 'darkroom.db'}")
        self.database.migrate()
        self.uploads = Objects(url=(folder / "uploads").as_uri())
        self.objects = Objects(url=(folder / "objects").as_uri())
        self.lake = Lake(url=(folder / "lake").as_uri())
        self.built_in = ClassifierChoice(cache=str(folder / "compiled"), device="cpu")
        save_classifier(folder / "mine", export_tiny(), classes=("a", "b", "c"), preprocessing=TINY_PREPROCESSING)
        self.mine = self.built_in.model_copy(update={"model": str(folder / "mine")})
        self.uploads.store.put(KEY, PHOTO)
        self._write_upload()

    def _write_upload(self) -> None:
        told = {"day": DAY, "bucket": "uploads", "key": KEY, "version_id": "etag-1", "sha256": SHA256, "verdict": "ok"}
        at = datetime(2026, 1, 3, 12, tzinfo=UTC)
        row = RawUploads.sample(1, overrides=told | {"media_type": "image/png", "uploaded_at": at})
        version = self.lake.replace("raw_uploads", [DAY], row)
        entry = ledger.Materialization(
            asset="raw_uploads", day=DAY, digest="0" * 32, rows=1, rejected=0, code_version="1", inputs_digest="",
            inputs={}, delta_version=version, git_commit=None, run_id="r",
        )  # fmt: skip
        ledger.record(self.database, [entry])

    def run(self, classifier: ClassifierChoice) -> None:
        """A run in whose configuration the classifier is chosen."""
        choice = {"model": classifier.model, "device": "cpu", "cache": classifier.cache}
        resources = {
            "lake": self.lake,
            "io_manager": LakeIO(lake=self.lake),
            "database": self.database,
            "uploads": self.uploads,
            "objects": self.objects,
            "classifier": ClassifierChoice.configure_at_launch(),
        }
        upstream = dg.AssetSpec("raw_uploads", partitions_def=daily)
        done = dg.materialize(
            [photo_classes, photo_styles, upstream],
            selection=["photo_classes", "photo_styles"],
            partition_key=str(DAY),
            resources=resources,
            run_config={"resources": {"classifier": {"config": choice}}},
        )
        assert done.success

    def reason(self, asset: str, classifier: ClassifierChoice) -> str | None:
        asked = {"classifier": classifier, "database": self.database}
        return plan_days(DECLARATIONS[asset], self.lake, self.database, [DAY], asked).reasons.get(DAY)


@pytest.fixture
def world(tmp_path: Path) -> World:
    for name in ("uploads", "objects", "lake"):
        (tmp_path / name).mkdir()
    return World(tmp_path)


@pytest.mark.slow
def test_a_classifier_chosen_for_one_run_is_the_one_that_rows_results_and_ledger_name(world: World) -> None:
    world.run(world.mine)
    mine, built_in = model_id(world.mine.model), model_id()
    [row] = world.lake.scan("photo_classes").collect().to_dicts()
    assert (row["model_id"], set(row["top5_label"])) == (mine, {"a", "b", "c"})
    results = Results(world.database, world.objects.store)
    assert results.missing(mine, [SHA256]) == []
    assert results.missing(built_in, [SHA256]) == [SHA256]
    for asset in ("photo_classes", "photo_styles"):
        assert world.reason(asset, world.mine) is None
        assert world.reason(asset, world.built_in) == "model"

    world.run(world.built_in)
    [row] = world.lake.scan("photo_classes").collect().to_dicts()
    assert row["model_id"] == built_in
    assert world.reason("photo_classes", world.built_in) is None
    assert world.reason("photo_classes", world.mine) == "model"


def test_settings_choose_the_classifier_by_which_days_are_judged(world: World) -> None:
    chosen = rules(resolve(Settings(model=world.mine.model)))
    assert chosen["photo_classes"].parts["model"]["classifier"] == model_id(world.mine.model)
    assert chosen["raw_uploads"] == DECLARATIONS["raw_uploads"].rule


@pytest.mark.parametrize(
    "asked",
    [{"first_day": "2020-01-01"}, {"training_window_days": 7}, {"max_quarantined_share": 0.5}],
    ids=lambda one: next(iter(one)),
)
def test_definitions_are_not_built_with_another_setting_than_the_assets_declare(asked: dict[str, object]) -> None:
    with pytest.raises(SettingsDiffer, match=f"DARKROOM_{next(iter(asked)).upper()}"):
        build_defs(Settings.model_validate(asked))
