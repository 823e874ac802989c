"""The whole of it, through the command: import a folder (killed twice on the way), run, look, stop. Real servers."""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pytest
from click.testing import Result as Invoked

from pipeline_assets.nightly.calendars import ASSETS
from pipeline_assets.sample.photos import sample_photos
from resources.lake.lake import Lake
from resources.objects.store import ObjectInfo, ObjectStore
from tests import in_process
from tests.processes import started

NOTHING_ASKED = {"label_tasks", "label_votes", "label_consensus", "label_agreement", "annotator_quality"}
NOTHING_ASKED |= {"weak_votes", "weak_labels", "weak_functions"}
WITHOUT_ROWS = {"annotations", *NOTHING_ASKED, "speech_variants", "video_variants", "training_variants"}
"""Only photos are imported, without labels, of which no campaign asks; and no model is trained on variants unless the policy has a share of them."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHOTOS = 24
Invoke = Callable[..., Invoked]
ODD = {"empty.jpg": b"", "notes ü.txt": b"no photo", "deep/er/and deeper/.hidden": b"\x00" * 100, "photo": b"GIF89a"}
DAYS = 4


def darkroom(home: Path, *words: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    """The command in a process of its own, with a home of its own and no other setting."""
    return started(
        [Path(sys.executable).with_name("darkroom"), *words],
        {**in_process.outer_environment(), "DARKROOM_HOME": str(home), "COLUMNS": "160"},
    )


def told_by(home: Path, *words: str) -> str:
    """What the command prints; it must succeed."""
    with darkroom(home, *words) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def invoked(home: Path, *words: str) -> Invoked:
    """The command in this process, which is quicker. What it exports is taken back."""
    return in_process.invoke(in_process.outer_environment() | {"DARKROOM_HOME": str(home)}, *words)


def exported(home: Path) -> dict[str, str]:
    """The variables that `eval "$(darkroom env)"` sets in a shell; this process then trusts the S3 server, too."""
    lines = told_by(home, "env")
    dump = f"{lines}\nexec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    found: dict[str, str] = json.loads(subprocess.run(["sh", "-c", dump], env={}, capture_output=True, check=True).stdout)
    os.environ.update({name: found[name] for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE")})
    return found


def fill(folder: Path) -> set[str]:
    """A folder of small real photos in nested folders, odd files, and a link that is no file of it. Returns the files."""
    small = (photo for photo in sample_photos() if re.search(r"-\d{4}\.jpg$", photo.name))
    files = {f"{('holiday', 'deep/er')[n % 2]}/{photo.name}": photo.data for n, photo in enumerate(islice(small, PHOTOS))}
    for name, data in {**files, **ODD}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "link.jpg").symlink_to(folder / "empty.jpg")
    return {*files, *ODD}


@dataclass
class House:
    """A home whose services run, what was imported and what the commands said."""

    home: Path
    files: set[str]
    environment: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)
    logs_at_kill: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def _s3(self) -> dict[str, str]:
        return {
            "endpoint": self.environment["AWS_ENDPOINT_URL"],
            "access_key": self.environment["AWS_ACCESS_KEY_ID"],
            "secret_key": self.environment["AWS_SECRET_ACCESS_KEY"],
        }

    @property
    def lake(self) -> Lake:
        return Lake(url="s3://lake", **self._s3)

    def listed(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        return list(ObjectStore.open(f"s3://{bucket}", **self._s3).list(prefix))

    def put(self, bucket: str, key: str, data: bytes) -> None:
        ObjectStore.open(f"s3://{bucket}", **self._s3).put(key, data)

    def connect(self) -> Any:
        """As psql would, by the exported address."""
        return psycopg2.connect(self.environment["DATABASE_URL"])

    def ask(self, query: str) -> Any:
        """One value of the database."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchone()[0]
        finally:
            connection.close()


def kill_import_twice(house: House, folder: Path) -> None:
    """Kill -9 an import when its first uploads are there, and another when all but the database is done.

    A lock on one table lets neither finish, so that both are killed on the way, however fast this machine is.
    """
    lock = house.connect()
    try:
        lock.cursor().execute("lock table users in exclusive mode")
        for reached in (
            lambda: house.listed("uploads", "uploads/"),
            lambda: house.ask("select count(*) from pg_locks where not granted"),
        ):
            with darkroom(house.home, "import", str(folder), "--days", str(DAYS)) as process:
                while not reached():
                    assert process.poll() is None, process.communicate()[0]
                    time.sleep(0.01)
        house.logs_at_kill = [info.key for info in house.listed("lake", "events/")]
    finally:
        lock.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A home after an import that was killed twice, another that finished, two runs, and nothing else."""
    home, folder = tmp_path_factory.mktemp("house") / "home", tmp_path_factory.mktemp("folder")
    files = fill(folder)
    told_by(home, "up")
    try:
        found = House(home, files, exported(home))
        kill_import_twice(found, folder)
        found.said["import"] = told_by(home, "import", str(folder), "--days", str(DAYS))
        found.said["import again"] = invoked(home, "import", str(folder), "--days", str(DAYS)).output
        found.said["run"] = told_by(home, "run")
        found.versions = {asset: found.lake.version(asset) for asset in ASSETS}
        found.said["run again"] = invoked(home, "run").output
        yield found
    finally:
        told_by(home, "down")


@pytest.fixture
def invoke(house: House) -> Invoke:
    """Runs the command on the house, in this process."""
    return partial(invoked, house.home)


def test_a_killed_import_is_finished_by_the_next_and_nothing_is_doubled(house: House) -> None:
    keys = [info.key for info in house.listed("uploads", "uploads/")]
    assert len(keys) == len(set(keys)) == len(house.files)
    assert house.ask("select count(*) from photos") == len(house.files)
    assert house.ask('select array_agg(key order by key collate "C") from photos') == sorted(keys)
    assert set(house.ask("select array_agg(name) from imports")) == house.files
    assert house.ask("select count(*) from imports") == len(house.files)
    assert house.ask("select count(*) || ' ' || count(finished_at) from import_runs") == "1 1"


def test_the_logs_of_a_killed_import_are_the_logs_of_the_finished_one(house: House) -> None:
    assert house.logs_at_kill
    assert [info.key for info in house.listed("lake", "events/")] == house.logs_at_kill
    said = re.search(r"([\d,]+) events \(and (\d+) lines malformed", house.said["import"])
    assert said
    events, malformed = (int(number.replace(",", "")) for number in said.groups())
    rows = house.lake.scan("event_log").select("event_id").collect()
    assert rows.height == rows.n_unique() == events
    assert house.lake.scan("event_log_rejected").collect().height == malformed


def test_an_import_says_what_it_did_and_that_owners_are_simulated(house: House) -> None:
    assert f"{len(house.files)} files uploaded as if on" in house.said["import"]
    assert "Users, posting times and logs are SIMULATED" in house.said["import"]
    assert f"nothing new: all {len(house.files)} files were imported before" in house.said["import again"]


def test_a_run_fills_every_table(house: House) -> None:
    rows = {asset: house.lake.scan(asset).select(pl.len()).collect().item() for asset in ASSETS}
    assert {asset for asset, height in rows.items() if not height} == WITHOUT_ROWS, rows
    assert rows["raw_uploads"] == rows["photo_metadata"] == len(house.files)
    assert rows["photo_classes"] == rows["photo_styles"] == rows["training_table"] == PHOTOS
    assert rows["popularity_model"] == 1
    verdicts = house.lake.scan("raw_uploads").group_by("verdict").len().collect()
    assert dict(verdicts.iter_rows())["ok"] == PHOTOS
    assert dict(verdicts.iter_rows())["empty"] == 1
    assert house.ask("select count(*) from objects") == len(house.files)


def test_a_runs_summary_names_rows_the_model_and_where_to_look(house: House) -> None:
    said = house.said["run"]
    for asset in ASSETS:
        assert asset in said
    for words in (f"Uploads bucket: {len(house.files)} new", "the model", "oracle", "Done in", "darkroom show", "make ui"):
        assert words in said


def test_a_second_run_finds_that_nothing_has_changed(house: House) -> None:
    assert "Uploads bucket: nothing new." in house.said["run again"]
    assert "Nothing has changed: every asset is current, and no run was needed." in house.said["run again"]
    assert {asset: house.lake.version(asset) for asset in ASSETS} == house.versions


def test_the_commands_show_no_secret(house: House) -> None:
    secrets = [house.environment["AWS_SECRET_ACCESS_KEY"], house.environment["DATABASE_URL"]]
    assert not [name for name, said in house.said.items() for secret in secrets if secret in said]


def test_rows_are_shown_as_a_table(house: House, invoke: Invoke) -> None:
    shown = invoke("show", "raw_uploads", "-n", "3")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("\nverdict_detail ") == 3
    assert shown.stdout.endswith("3 rows shown\n")
    narrow = invoke("show", "photo_styles", "-n", "3")
    assert "│ day        ┆ sha256" in narrow.stdout
    assert narrow.stdout.endswith("3 rows shown\n")


def test_rows_are_shown_as_json_of_one_day(house: House, invoke: Invoke) -> None:
    day = house.ask("select min(day)::text from photos")
    shown = invoke("show", "photo_metadata", "--day", day, "--format", "json")
    assert shown.exit_code == 0, shown.output
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {row["day"] for row in rows} == {day}
    assert len(rows) == house.ask("select count(*) from photos where day = (select min(day) from photos)")


def test_rows_are_shown_as_csv_with_lists_as_json(house: House, invoke: Invoke) -> None:
    shown = invoke("show", "photo_classes", "--format", "csv")
    assert shown.exit_code == 0, shown.output
    rows = pl.read_csv(shown.stdout.encode())
    assert rows.height == PHOTOS
    assert [len(json.loads(text)) for text in rows["top5_label"]] == [5] * PHOTOS


def test_rows_are_written_to_a_file(house: House, invoke: Invoke, tmp_path: Path) -> None:
    for kind in ("parquet", "csv", "json"):
        shown = invoke("show", "training_table", "--format", kind, "-o", str(tmp_path / f"rows.{kind}"))
        assert shown.exit_code == 0, shown.output
    assert pl.read_parquet(tmp_path / "rows.parquet").height == PHOTOS
    assert pl.read_csv(tmp_path / "rows.csv").height == PHOTOS
    assert pl.read_ndjson(tmp_path / "rows.json").height == PHOTOS


def test_what_was_kept_aside_is_shown_with_its_reason(house: House, invoke: Invoke) -> None:
    shown = invoke("show", "event_log_rejected", "--format", "json")
    assert shown.exit_code == 0, shown.output
    assert all(json.loads(line)["reason"] for line in shown.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["show", "no_such_table"], 1, "TableMissing: The table no_such_table does not exist yet"),
        (["show", "raw_uploads", "--format", "parquet"], 2, "name a file with -o"),
        (["show", "raw_uploads", "--day", "yesterday"], 2, "is not a day: write it as 2026-01-31"),
        (["import", "/no/such/folder"], 1, "/no/such/folder is not a folder"),
        (["show", "../../etc"], 1, "does not exist"),
        (["status", "--asset", "photos"], 2, "unknown asset photos: choose from raw_uploads, photo_metadata"),
        (["refresh", "--days", "2026-01-31..2026-01-01"], 2, "ends before it begins"),
        (["refresh", "--days", "2026-01-31..soon"], 2, "is not a day: write it as 2026-01-31"),
    ],
)
def test_a_mistake_is_told_in_a_line(house: House, invoke: Invoke, words: list[str], code: int, why: str) -> None:
    shown = invoke(*words)
    assert shown.exit_code == code
    assert why in shown.output
    assert "Traceback" not in shown.output


def test_the_status_says_what_each_asset_holds(house: House, invoke: Invoke) -> None:
    shown = invoke("status")
    assert shown.exit_code == 0, shown.output
    for asset in ASSETS:
        assert asset in shown.output
    assert "Every day is current" in shown.output


def test_the_status_as_json_has_each_asset_with_its_days(house: House, invoke: Invoke) -> None:
    shown = invoke("status", "--json", "--asset", "photo_classes", "--asset", "event_log")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["is_current"] is True
    assert {name: one["not_current"] for name, one in told["assets"].items()} == {"photo_classes": [], "event_log": []}
    assert told["assets"]["photo_classes"]["rows"] == PHOTOS
    first = house.ask("select min(day)::text from photos")
    narrow = json.loads(invoke("status", "--json", "--days", first).stdout)["assets"]
    assert narrow["raw_uploads"]["days"] == 1
    assert narrow["raw_uploads"]["newest"] == first


def test_a_refresh_where_nothing_is_stale_says_so(house: House, invoke: Invoke) -> None:
    shown = invoke("refresh")
    assert shown.exit_code == 0, shown.output
    assert "Nothing is stale: no run is needed." in shown.output


def test_a_dry_walk_through_the_bucket_counts_versions_and_changes_nothing(house: House, invoke: Invoke) -> None:
    """The killed import had uploaded some files before: their older versions were never listed, and are counted."""
    known = house.ask("select count(*) from objects")
    walked = invoke("reconcile", "--dry-run")
    assert walked.exit_code == 0, walked.output
    listed = re.search(r"([\d,]+) versions listed: ([\d,]+) entered the ledger, ([\d,]+) were overwritten", walked.output)
    assert listed
    versions, entered, overwritten = (int(number.replace(",", "")) for number in listed.groups())
    assert versions == len(house.files) + entered
    assert entered == overwritten
    assert "Nothing was changed: this was a dry run." in walked.output
    assert house.ask("select count(*) from objects") == known == len(house.files)
    assert house.ask("select count(*) from object_fates") == 0


def test_the_exported_lines_work_with_other_tools(house: House) -> None:
    assert house.ask("select current_database()::text") == "darkroom"
    assert len(house.listed("uploads", "")) == len(house.files)
    assert house.environment["DAGSTER_HOME"] == str(house.home / "dagster")
    assert (house.home / "env").stat().st_mode & 0o777 == 0o600


def test_a_refresh_computes_exactly_the_stale_days_after_saying_what_that_costs(house: House, invoke: Invoke) -> None:
    """A log file of an old day is new: that day of the log, and what reads it, down to the model. Nothing else runs."""
    day = house.ask("select max(day)::text from photos")
    house.put("lake", f"events/{day}/late.jsonl.gz", gzip.compress(b"no event"))
    stale = {name: one["not_current"] for name, one in json.loads(invoke("status", "--json").stdout)["assets"].items()}
    assert stale["event_log"] == [{"day": day, "reason": "data", "detail": "what it reads outside changed"}]
    assert {found["detail"] for found in stale["user_features"]} == {f"event_log {day} not current"}
    assert not any(stale[name] for name in ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles"))
    planned = invoke("refresh", "--dry-run")
    assert "Nothing was run: this was a dry run." in planned.output
    assert "photo_classes" not in planned.output
    assert "not known" not in planned.output  # every asset was timed before
    only = invoke("refresh", "--dry-run", "--asset", "event_log", "--days", day)
    assert "One run." in only.output
    assert f"  event_log  {day} to {day}" in only.output
    before = house.ask("select count(*) from materializations")
    unanswered = invoke("refresh")
    assert "Run it? [y/N]" in unanswered.output
    assert unanswered.exit_code == 1
    assert house.ask("select count(*) from materializations") == before
    said = told_by(house.home, "refresh", "--yes")
    assert "Done." in said
    assert "Every day is current" in invoke("status").output
    # The line is no event: the log's rows, and with them all that reads them, are as they were.
    assert house.ask("select count(*) from materializations") == before + 1
    aside = invoke("show", "event_log_rejected", "--day", day, "--format", "json").stdout
    assert "late.jsonl.gz" in aside


def test_a_home_is_made_stopped_and_deleted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "Nothing was running." in told_by(home, "down")
    assert "PostgreSQL and S3 are up" in told_by(home, "up")
    url = exported(home)["DATABASE_URL"]
    assert "Stopped." in told_by(home, "down")
    with darkroom(home, "env") as process:
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "no services are running: start them with `darkroom up`" in output
    said = told_by(home, "down", "--delete", "--yes")
    assert f"Deleted {home}" in said.replace("\n", "")
    assert not home.exists()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)
