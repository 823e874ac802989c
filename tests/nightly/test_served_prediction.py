"""The prediction at the end of `darkroom run`: of the newest photo, and never a reason for a run to fail."""

import io
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from in_process import environment_of
from serving.endpoint.served_world import NOW, T0, ServedWorld, world

from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.nightly.served import print_prediction
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.sample.photos import shipped_file
from resources.files import sha256_of
from resources.lake.lake import Lake
from resources.settings import load_settings

pytestmark = pytest.mark.slow


def printed(made: ServedWorld, lake: Lake) -> str:
    console = Terminal(file=io.StringIO(), width=400)
    with environment_of(made.environment):
        print_prediction(load_settings(), {"lake": lake}, console)
    return console.file.getvalue()


def add_upload(made: ServedWorld, day: date, name: str, verdict: str = "ok") -> str:
    """An upload of user 1 with its row. Returns its key."""
    key, data = f"uploads/{day}/1/{name}", shipped_file("rocket.jpg")
    path = made.folder / "uploads" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    known = {"day": day, "bucket": "uploads", "key": key, "version_id": "1", "user_id": 1, "uploaded_at": NOW}
    known |= {"size_bytes": len(data), "sha256": sha256_of(data), "media_type": "image/jpeg", "verdict": verdict}
    row = dict.fromkeys(RawUploads.column_names()) | known
    made.lake.replace("raw_uploads", [day], pl.DataFrame([row], schema=RawUploads.create_empty().schema))
    return key


def test_the_newest_photo_is_predicted_and_a_lake_that_is_away_is_told(tmp_path: Path, free_port: int) -> None:
    made, today = world(tmp_path / "w"), T0.date()
    assert printed(made, made.lake) == ""
    add_upload(made, today - timedelta(days=3), "older.jpg")
    newest = add_upload(made, today - timedelta(days=2), "newest.jpg")
    add_upload(made, today - timedelta(days=1), "quarantined.jpg", "truncated")
    told = printed(made, made.lake)
    assert told.startswith(f"Served:  POST /v1/predict for {newest} posted now: popularity ")
    assert f"model of {today - timedelta(days=1)}" in told
    away = Lake(url="s3://lake", endpoint=f"http://127.0.0.1:{free_port}", access_key="a", secret_key="b", timeout_s=1)  # noqa: S106
    assert printed(made, away).startswith("No prediction was served: StoreUnavailable")
