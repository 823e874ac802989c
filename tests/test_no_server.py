"""A project on a plain folder and an SQLite file, through the command: no server at all. Beside one on real servers."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.nightly.calendars import ASSETS
from pipeline_assets.sample.photos import sample_photos
from resources.database import ledger
from resources.database.sqlite import Sqlite
from resources.lake.lake import Lake
from tests.in_process import invoke, outer_environment

WITHOUT_ROWS = {
    "annotations",
    "label_votes",
    "label_consensus",
    "label_agreement",
    "annotator_quality",
    "speech_variants",
    "video_variants",
    "receipt_renders",
    "training_variants",
    "slices",
    "label_suspects",
    "pseudo_labels",
}
"""Only photos are imported, without labels, and too few for slices; rendering takes long; no model is trained on variants unless the policy has a share of them."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PHOTOS = 24
DAYS = 4


@dataclass(frozen=True)
class Project:
    """A folder that holds everything, and what the commands said."""

    root: Path
    said: dict[str, str]

    @property
    def lake(self) -> Lake:
        return Lake(url=(self.root / "lake").as_uri())

    @property
    def database(self) -> Sqlite:
        return Sqlite(url=f"sqlite:///{self.root / 'darkroom.db'}")

    def variants(self) -> pl.DataFrame:
        return (
            self.lake.scan("photo_variants").select("day", "source", "variant_id", "content_sha256", "labels_json").collect()
        )


def environment(root: Path) -> dict[str, str]:
    """These settings and no others."""
    return outer_environment() | {
        "DARKROOM_HOME": ".darkroom",
        "DARKROOM_DATABASE_URL": "sqlite:///darkroom.db",
        "DARKROOM_UPLOADS_URL": (root / "uploads").as_uri(),
        "DARKROOM_LAKE_URL": (root / "lake").as_uri(),
        "DARKROOM_VARIANTS": '{"receipts": {"children": 0}}',
        "COLUMNS": "160",
    }


def darkroom(root: Path, *words: str) -> str:
    """The command in a process of its own, in the project's folder. It must succeed."""
    command = [str(Path(sys.executable).with_name("darkroom")), *words]
    done = subprocess.run(command, env=environment(root), cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def invoked(root: Path, *words: str) -> str:
    """The same in this process, which is quicker, for what launches no run. What it exports is taken back."""
    done = invoke(environment(root), *words, folder=root)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after an import and a run, another that finds nothing new, and a walk."""
    root = tmp_path_factory.mktemp("project")
    photos = root / "photos"
    photos.mkdir()
    small = (photo for photo in sample_photos() if re.search(r"-\d{4}\.jpg$", photo.name))
    for photo in islice(small, PHOTOS):
        (photos / photo.name).write_bytes(photo.data)
    (photos / "empty.jpg").touch()
    said = {
        "run": darkroom(root, "run", "--photos", "photos", "--days", str(DAYS)),
        "run again": invoked(root, "run"),
        "status": invoked(root, "status"),
        "reconcile": invoked(root, "reconcile"),
        "env": invoked(root, "env"),
    }
    return Project(root, said)


def test_a_run_fills_every_table(project: Project) -> None:
    rows = {asset: project.lake.scan(asset).select(pl.len()).collect().item() for asset in ASSETS}
    assert {asset for asset, height in rows.items() if not height} == WITHOUT_ROWS, rows
    assert rows["raw_uploads"] == rows["photo_metadata"] == PHOTOS + 1
    assert rows["photo_classes"] == rows["photo_styles"] == rows["training_table"] == PHOTOS
    details = json.loads(project.lake.scan("photo_metadata").select("details_json").first().collect().item())
    assert details
    assert not [name for name in details if name.startswith("_") or name == "followers"]


def test_a_second_run_and_the_status_find_everything_current(project: Project) -> None:
    assert "Nothing has changed: every asset is current, and no run was needed." in project.said["run again"]
    assert "computes what is not current" not in project.said["status"]
    known = ledger.latest(project.database, ASSETS, date.min, date.max)
    assert set(known["asset"]) == set(ASSETS)
    assert "" not in set(known["digest"])


def test_a_walk_finds_that_nothing_was_missed(project: Project) -> None:
    assert f"{PHOTOS + 1} versions listed: 0 entered the ledger" in project.said["reconcile"]


def test_no_server_was_started_and_the_summary_names_none(project: Project) -> None:
    home = project.root / ".darkroom"
    assert not [name for name in ("services.json", "credentials.json", "postgres", "s3", "env") if (home / name).exists()]
    assert f"Tables:  {project.root}/lake/tables/ASSET (Delta Lake); state in {home}" in project.said["run"]
    assert f"export DATABASE_URL=sqlite:///{project.root}/darkroom.db" in project.said["env"]
    assert "AWS_ACCESS_KEY_ID" not in project.said["env"]


def test_dagster_keeps_its_runs_beside_it(project: Project) -> None:
    storage = project.root / ".darkroom" / "dagster" / "storage"
    assert (storage / "history" / "runs.db").is_file()


def test_a_changed_photo_row_a_new_upload_and_labels_are_what_the_next_run_computes(project: Project) -> None:
    day = project.database.read('select min(day) as "day [date]" from photos')["day"].item()
    project.database.execute("update photos set title = 'another' where photo_id in (select min(photo_id) from photos)")
    late = project.root / "uploads" / "uploads" / str(day) / "1" / "late.jpg"
    late.parent.mkdir(parents=True, exist_ok=True)
    late.write_bytes(next((project.root / "photos").glob("*-*.jpg")).read_bytes())
    before = project.variants()
    marked, other = before.sort("day", descending=True).unique("source", maintain_order=True)["source"].head(2)
    box = {"x": 0, "y": 0, "width": 100, "height": 100, "label": "corner"}
    labels = {marked: {"boxes": [box]}, other: {"boxes": [box | {"width": 9_000}]}}
    with project.database.connect() as transaction:
        rows = [(key, key.split("/")[1], json.dumps(told)) for key, told in labels.items()]
        transaction.insert_into("annotations", ["key", "day", "labels"], rows)
    said = darkroom(project.root, "run")
    assert "Uploads bucket: 1 new object versions." in said
    after = project.variants()
    compared = before.join(after, on=["source", "variant_id"], suffix="_after")
    assert compared.filter(pl.col("source") == marked).height == 2
    assert compared["content_sha256"].equals(compared["content_sha256_after"])
    for source, found in compared.select("source", "labels_json_after").iter_rows():
        assert ("boxes" in json.loads(found)) == (source == marked)
    kept_aside = project.lake.scan("annotations_rejected").collect()
    assert kept_aside.select("source", "reason").rows() == [(other, "bad_labels")]
    assert project.lake.scan("raw_uploads").select(pl.len()).collect().item() == PHOTOS + 2
    assert "another" in project.lake.scan("photo_metadata").select("title").collect()["title"].to_list()
