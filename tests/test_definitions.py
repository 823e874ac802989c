"""The code location: it loads without what runs need, reads as documentation, and holds no secret."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SECRETS = {
    "DARKROOM_DATABASE_URL": "postgresql://darkroom:s3cr3t-pg@127.0.0.1:1/darkroom",
    "DARKROOM_DAGSTER_POSTGRES_URL": "postgresql://darkroom:s3cr3t-dg@127.0.0.1:1/dagster",
    "DARKROOM_S3_ACCESS_KEY": "s3cr3t-access",
    "DARKROOM_S3_SECRET_KEY": "s3cr3t-secret",
    "DARKROOM_S3_ENDPOINT": "http://127.0.0.1:1",
    "DARKROOM_ALERT_WEBHOOK": "https://hooks.example.org/s3cr3t-hook",
}
DESCRIBE = """
import json, sys
import dagster as dg
from pipeline_assets.definitions import defs
loaded = sorted({name.split(".")[0] for name in sys.modules})
from dagster._core.remote_representation.external_data import RepositorySnap
repository = defs.get_repository_def()
snap = dg.serialize_value(RepositorySnap.from_def(repository))
graph = repository.asset_graph
assets = {}
for key in graph.get_all_asset_keys():
    node = graph.get(key)
    assets[key.to_user_string()] = {
        "description": node.description, "group": node.group_name, "owners": sorted(node.owners), "kinds": sorted(node.kinds),
        "columns": {c.name: c.description for c in node.metadata["dagster/column_schema"].columns},
        "lineage": sorted(node.metadata["dagster/column_lineage"].deps_by_column),
        "checks": sorted(check.name for check in node.check_keys),
        "partitions": type(node.partitions_def).__name__,
        "parents": sorted(parent.to_user_string() for parent in node.parent_keys),
    }
print(json.dumps({"assets": assets, "loaded": loaded, "snap": snap, "jobs": sorted(job.name for job in repository.get_all_jobs()),
    "sensors": sorted(sensor.name for sensor in repository.sensor_defs), "schedules": [s.name for s in repository.schedule_defs]}))
"""


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The definitions as a fresh process loads them, with nothing running and secrets in its environment."""
    environment = {**os.environ, **SECRETS, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", DESCRIBE], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_the_whole_graph_is_there(described: dict[str, Any]) -> None:
    parents = {name: asset["parents"] for name, asset in described["assets"].items()}
    assert {"raw_uploads", "photo_metadata", "event_log"} <= {name for name, above in parents.items() if not above}
    assert parents["photo_classes"] == parents["photo_styles"] == ["raw_uploads"]
    assert parents["user_features"] == ["event_log", "photo_metadata"]
    assert {"photo_classes", "photo_styles", "raw_uploads", "photo_metadata", "event_log"} <= set(parents["training_table"])
    assert parents["training_pin"] == ["training_table"]
    assert parents["staged_training_set"] == ["training_pin", "training_table"]
    assert parents["popularity_model"] == ["staged_training_set", "training_pin", "training_variants"]
    assert parents["photo_variants"] == ["annotations", "raw_uploads"]
    assert parents["speech_variants"] == parents["video_variants"] == ["annotations", "raw_uploads"]
    assert parents["receipt_renders"] == []
    assert parents["text_variants"] == ["annotations", "photo_metadata"]
    assert parents["table_variants"] == ["user_features"]
    assert parents["training_variants"] == ["photo_variants", "training_table"]
    assert {"ingest_uploads", "nightly_tables", "nightly_model", "reconcile_uploads"} <= set(described["jobs"])
    assert set(described["schedules"]) == {"nightly", "reconcile_nightly"}
    assert {"new_uploads", "run_failures", "model_after_tables", "automation"} <= set(described["sensors"])


def test_every_asset_reads_as_documentation(described: dict[str, Any]) -> None:
    for name, asset in described["assets"].items():
        assert len(asset["description"]) > 40, name
        assert asset["group"] not in ("", "default"), name
        assert asset["owners"] == ["team:darkroom"], name
        assert asset["kinds"], name
        assert "schema" in asset["checks"], name
        assert "day" in asset["columns"], name
        assert asset["partitions"] == "DailyPartitionsDefinition", name


def test_every_asset_below_another_names_where_its_columns_come_from(described: dict[str, Any]) -> None:
    for name, asset in described["assets"].items():
        assert bool(asset["lineage"]) == bool(asset["parents"]), name
        assert set(asset["lineage"]) <= set(asset["columns"]), name


def test_definitions_hold_the_names_of_secrets_and_never_their_values(described: dict[str, Any]) -> None:
    assert "DARKROOM_S3_SECRET_KEY" in described["snap"]
    assert "DARKROOM_DATABASE_URL" in described["snap"]
    assert "s3cr3t" not in described["snap"]


@pytest.mark.parametrize(
    "module", ["torch", "scipy", "altair", "skimage", "matplotlib", "pandas", "kornia", "av", "soundfile", "mitsuba"]
)
def test_loading_the_definitions_does_not_load_what_only_runs_need(described: dict[str, Any], module: str) -> None:
    """They are loaded at each start of the UI, the daemon and every run."""
    assert "dagster" in described["loaded"]
    assert module not in described["loaded"]
