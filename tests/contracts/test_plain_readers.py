"""Tables open without Darkroom: plain polars, deltalake and DuckDB read them by path, now and as of any version."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.lake.lake import Lake

READERS = """
import json, os, sys
import duckdb, polars
from deltalake import DeltaTable

path, versions, options = json.load(sys.stdin)
found = {}
for version in versions:
    table = DeltaTable(path, version=version, storage_options=options)
    arrow = table.to_pyarrow_dataset()
    lazy = polars.scan_delta(path, version=version, storage_options=options)
    found[str(version)] = {
        "polars": lazy.filter(polars.col("day") == polars.date(2026, 2, 1)).select("name", "photos").sort("name").collect().rows(),
        "deltalake": arrow.to_table(columns=["name", "photos"]).sort_by([("name", "ascending"), ("photos", "ascending")]).to_pydict(),
        "duckdb": duckdb.sql("select day::text, sum(photos)::int from arrow group by day order by day").fetchall(),
    }
found["ours"] = [name for name in sys.modules if name.split(".")[0] in ("pipeline_assets", "resources", "sensors", "dagster")]
print(json.dumps(found), flush=True)
os._exit(0)  # threads of these readers sometimes abort the end of a process whose answer is right
"""
FIRST, SECOND = date(2026, 2, 1), date(2026, 2, 2)


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake. The servers start only if S3 is asked for."""
    if request.param == "folder":
        return Lake(url=(tmp_path / "lake").as_uri())
    return Lake(url=request.getfixturevalue("s3_url"), **request.getfixturevalue("s3_options"))


def rows(day: date, **photos: int) -> pl.DataFrame:
    """One row a name."""
    return pl.DataFrame({"day": [day] * len(photos), "name": list(photos), "photos": list(photos.values())})


@pytest.mark.slow
def test_plain_polars_deltalake_and_duckdb_read_the_current_and_any_pinned_version(lake: Lake, tmp_path: Path) -> None:
    pinned = lake.replace("toys", [FIRST, SECOND], pl.concat([rows(FIRST, a=1, b=2), rows(SECOND, a=3)]))
    lake.replace("toys", [FIRST], rows(FIRST, a=10))
    found = read(lake, [pinned, None], tmp_path)
    assert found.pop("ours") == []
    assert found[str(pinned)] == {
        "polars": [["a", 1], ["b", 2]],
        "deltalake": {"name": ["a", "a", "b"], "photos": [1, 3, 2]},
        "duckdb": [["2026-02-01", 3], ["2026-02-02", 3]],
    }
    assert found["None"] == {
        "polars": [["a", 10]],
        "deltalake": {"name": ["a", "a"], "photos": [3, 10]},
        "duckdb": [["2026-02-01", 10], ["2026-02-02", 3]],
    }


def read(lake: Lake, versions: list[int | None], folder: Path) -> dict[str, Any]:
    """What the readers find, in a process that has none of our code, settings and working folder, but whom to trust."""
    told = json.dumps([lake.uri("toys"), versions, lake.storage_options])
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "SSL_CERT_FILE": os.environ.get("SSL_CERT_FILE", "")}
    command = [sys.executable, "-I", "-c", READERS]
    done = subprocess.run(command, input=told, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
