"""Labeling functions and feedback, through their assets, on both databases."""

import json
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.catalog import DECLARED
from pipeline_assets.framework.partitions import daily
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata
from pipeline_assets.labeling.exchange import store
from pipeline_assets.labeling.feedback import assets as feedback
from pipeline_assets.labeling.weak import assets as weak
from resources.campaigns import CampaignFiles
from resources.database.contract import Database
from resources.lake.lake_io import LakeIO
from tests.labeling.label_world import DAY, NOON, SHARP, LabelWorld

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]

BEYOND = (weak.weak_votes, weak.weak_labels, weak.weak_functions, feedback.feedback_labels)
UPSTREAM = ("raw_uploads", "photo_metadata", "photo_classes", "event_log", "label_tasks", "label_consensus")
MODULE = """
from pipeline_assets.labeling.weak.functions import labeling_function


@labeling_function(name="wide", classes=["sharp"])
def wide(items):
    return ["sharp"] * items.height


@labeling_function(name="broken", classes=["blurred"])
def broken(items):
    return items["no_such_column"]
"""


class BeyondWorld(LabelWorld):
    """A world whose campaign has labeling functions, and whose photos have owners and events."""

    def __init__(self, folder: Path, database: Database, module: str) -> None:
        super().__init__(folder, database, f"{SHARP}weak: {module}\n")
        photos = [
            dict.fromkeys(PhotoMetadata.column_names())
            | {"day": DAY, "photo_id": number, "user_id": 1, "key": self.key(number), "posted_at": NOON, "title": "t"}
            | {"user_joined_at": NOON, "details_json": "{}"}
            for number in range(3)
        ]
        self._write("photo_metadata", pl.DataFrame(photos, schema=PhotoMetadata.create_empty().schema))
        self._write("event_log", EventLog.create_empty())

    def log(self, *events: tuple[str, int, int, str, str | None]) -> None:
        """Events of (id, user, photo, kind, extra)."""
        rows = [
            (DAY, name, user, photo, kind, NOON, NOON + timedelta(minutes=number), extra)
            for number, (name, user, photo, kind, extra) in enumerate(events)
        ]
        self._write("event_log", pl.DataFrame(rows, schema=EventLog.create_empty().schema, orient="row"))

    def run_beyond(self) -> None:
        specs = [dg.AssetSpec(name, partitions_def=daily) for name in UPSTREAM]
        done = dg.materialize(
            [*BEYOND, *specs],
            selection=[asset.key.to_user_string() for asset in BEYOND],
            partition_key=str(DAY),
            resources={
                "lake": self.lake,
                "io_manager": LakeIO(lake=self.lake),
                "database": self.database,
                "campaigns": self.files,
            },
        )
        assert done.success

    def stale_beyond(self) -> dict[str, str]:
        resources = {"database": self.database, "campaigns": self.files}
        plans = {
            name: plan_days(DECLARED[name], self.lake, self.database, [DAY], resources)
            for name in (asset.key.to_user_string() for asset in BEYOND)
        }
        return {name: plan.reasons[DAY] for name, plan in plans.items() if plan.changed}


@pytest.fixture
def world(tmp_path: Path, database: Database) -> BeyondWorld:
    module = f"functions_{abs(hash(tmp_path))}"
    found = BeyondWorld(tmp_path, database, module)
    (found.files.path / f"{module}.py").write_text(MODULE)
    found.run()
    return found


def module_of(world: BeyondWorld) -> Path:
    [path] = world.files.path.glob("*.py")
    return path


def test_functions_label_items_and_a_change_of_their_code_makes_the_day_stale(world: BeyondWorld) -> None:
    world.run_beyond()
    assert [json.loads(text) for text in world.rows("weak_votes")["votes_json"]] == [{"wide": "sharp"}] * 3
    labels = world.rows("weak_labels")
    assert (
        labels.select("answer_json", "probability", "method", "fell_back").rows()
        == [('{"choice":"sharp"}', 1.0, "majority", True)] * 3
    )
    rejected = world.rows("weak_votes_rejected")
    assert rejected.select("source", "reason").unique().rows() == [("sharp broken", "raised")]
    assert world.rows("weak_functions").sort("function").select("function", "coverage").rows() == [
        ("broken", 0.0),
        ("wide", 1.0),
    ]
    assert world.stale_beyond() == {}

    path = module_of(world)
    path.write_text(MODULE + "# a comment changes nothing\n")
    assert world.stale_beyond() == {}
    path.write_text(
        MODULE.replace('["sharp"] * items', '["sharp", None, None] * items').replace("items.height", "(items.height // 3)")
    )
    assert world.stale_beyond().keys() >= {"weak_votes"}
    world.run_beyond()
    assert world.rows("weak_labels")["answer_json"].null_count() == 2


@pytest.mark.parametrize("text", ["def f(:", "1 / 0", "", None])
def test_a_module_that_can_not_be_used_is_set_aside_with_its_reason(world: BeyondWorld, text: str | None) -> None:
    if text is None:
        module_of(world).unlink()
    else:
        module_of(world).write_text(text)
    world.run_beyond()
    assert world.rows("weak_votes").is_empty()
    [rejected] = world.rows("weak_votes_rejected").to_dicts()
    assert (rejected["source"], rejected["reason"]) == ("sharp", "functions_unusable")
    assert module_of(world).stem in rejected["detail"] if text is not None else "can't be imported" in rejected["detail"]


def test_feedback_becomes_labels_of_pseudonyms_each_once(world: BeyondWorld) -> None:
    said = '{"label":"sharp"}'
    world.log(
        ("a", 7, 0, "correct", said),
        ("b", 8, 0, "correct", said),
        ("c", 8, 0, "correct", said),
        ("d", 1, 1, "hide", None),
        ("e", 7, 99, "report", None),
        ("f", 7, 0, "view", None),
    )
    world.run_beyond()
    rows = world.rows("feedback_labels").sort("event_id")
    assert rows.select("event_id", "key", "label", "is_owner", "judged", "weight").rows() == [
        ("a", world.key(0), "sharp", False, 0, 0.5),
        ("b", world.key(0), "sharp", False, 1, 0.6),
        ("d", world.key(1), None, True, 0, 0.5),
    ]
    assert rows["user"].n_unique() == 3
    rejected = dict(world.rows("feedback_labels_rejected").select("source", "reason").rows())
    assert rejected == {"c": "repeated", "e": "unknown_photo"}
    assert world.stale_beyond() == {}

    users = dict(rows.select("event_id", "user").rows())
    again = store.user_pseudonyms(world.database, feedback.SOURCE, ["7", "8"])
    assert again == {"7": users["a"], "8": users["b"]}, "a user keeps the pseudonym"


def test_agreement_on_photos_that_are_not_there_raises_no_weight(world: BeyondWorld) -> None:
    said = '{"label":"sharp"}'
    made_up = [(f"{user}-{photo}", user, photo, "correct", said) for user in (7, 8) for photo in range(100, 110)]
    world.log(*made_up, ("z", 7, 0, "correct", said))
    world.run_beyond()
    assert world.rows("feedback_labels").select("event_id", "judged", "recent", "weight").rows() == [("z", 0, 1, 0.5)]


def test_what_confirmed_a_correction_is_read_for_as_long_as_the_correction_counts() -> None:
    assert feedback.PHOTOS.start == -90
    assert feedback.EVENTS.start == -30


def test_a_new_campaign_makes_only_days_of_feedback_stale_on_which_it_asks(tmp_path: Path) -> None:
    files = CampaignFiles(folder=str(tmp_path))
    (tmp_path / "old.yaml").write_text("question: Which?\nkind: class\nclasses: [a, b]\n")
    days = [DAY + timedelta(days=number) for number in range(10)]
    before = feedback._questions(days, files)
    (tmp_path / "new.yaml").write_text(f"question: Which?\nkind: class\nclasses: [c, d]\nfirst_day: {days[6]}\n")
    after = feedback._questions(days, files)
    assert [day for day in days if before[day] != after[day]] == days[6:]
    (tmp_path / "old.yaml").write_text("question: Which?\nkind: class\nclasses: [a, c]\n")
    assert all(feedback._questions(days, files)[day] != after[day] for day in days)
