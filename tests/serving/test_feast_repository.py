"""The feature repository that `darkroom feast export` writes: stock Feast applies, materializes and serves it."""

import json
import os
import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tools import tools_folder

from pipeline_assets.errors import ExportRefused
from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.serving.feast_repository import DATA, DEFINITIONS, SETTINGS, definitions, write_repository
from resources.servers.tool_venv import passed_on, python_of

DAYS = [date(2026, 2, 1), date(2026, 2, 2), date(2026, 2, 3)]
JOINED = datetime(2026, 1, 1, 6, tzinfo=UTC)
END = datetime(2026, 2, 4, tzinfo=UTC)


def features() -> pl.LazyFrame:
    """Three days of two users: logins_1d is the day of the month plus ten times the user."""
    rows = [(day, user) for day in DAYS for user in (1, 2)]
    frame = pl.DataFrame(rows, schema={"day": pl.Date, "user_id": pl.Int64}, orient="row").with_columns(
        as_of=pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1),
        days_since_joining=pl.lit(30),
        logins_1d=pl.col("day").dt.day() + 10 * pl.col("user_id"),
        logins_7d=pl.lit(1),
        logins_30d=pl.lit(1),
        posts_30d=pl.lit(2),
        likes_given_30d=pl.lit(3),
        likes_received_30d=pl.lit(4),
        mean_popularity_30d=pl.when(user_id=1).then(2.5),
    )
    return UserFeatures.validate(frame, cast=True).lazy()


def users() -> pl.LazyFrame:
    return pl.LazyFrame({"user_id": [1, 2], "joined_at": [JOINED, JOINED + timedelta(days=3)]}).cast(
        {"joined_at": pl.Datetime("us", "UTC")}
    )


def test_the_repository_has_every_feature_with_its_type_and_the_data_of_the_table(tmp_path: Path) -> None:
    assert write_repository(tmp_path / "repo", features(), users()) == 6
    stored = pl.read_parquet(tmp_path / "repo" / DATA)
    assert set(re.findall(r'Field\(name="(\w+)"', definitions())) - {"asked_at", "days_since_joining_now"} == set(
        stored.columns
    ) - {"user_id", "as_of"}
    assert stored["as_of"].max() == END
    assert stored.filter(user_id=2)["joined_at"].unique().to_list() == [JOINED + timedelta(days=3)]


def test_a_later_export_replaces_the_data_and_leaves_what_you_changed(tmp_path: Path) -> None:
    write_repository(tmp_path, features(), users())
    for name in (SETTINGS, DEFINITIONS):
        (tmp_path / name).write_text("mine")
    assert write_repository(tmp_path, features().filter(pl.col("day") == DAYS[0]), users()) == 2
    assert [(tmp_path / name).read_text() for name in (SETTINGS, DEFINITIONS)] == ["mine", "mine"]
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"user_features.parquet"}


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(ExportRefused, match="neither empty nor a Feast feature repository"):
        write_repository(tmp_path, features(), users())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stock_feast_applies_materializes_and_serves_it(tmp_path: Path) -> None:
    python = python_of("feast", tools_folder(), 10**9, print)
    write_repository(tmp_path, features(), users())
    environment = {**passed_on(os.environ), "FEAST_USAGE": "False"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(python.with_name("feast"), "apply")
    answers = json.loads(run(python, Path(__file__).with_name("feast_client.py"), END.isoformat()).splitlines()[-1])
    online = answers["online"]
    assert online["logins_1d"] == [13, 23, None]
    assert online["mean_popularity_30d"] == [2.5, None, None]
    assert online["likes_received_30d"] == [4, 4, None]
    assert online["days_since_joining_now"] == [34, 31, None]
    assert answers["history"]["logins_1d"] == [13, 12, 13, None], "a snapshot until the next one; none before the first"
    assert answers["pushed"]["logins_1d"] == [13, 77, None]
    assert answers["older"]["logins_1d"] == [13, 5, None], "an older push replaces the newer row: docs/interop.md says so"
