"""What a person does in the Dagster UI, in a real Chromium on a real `darkroom ui` with its daemon and servers.

One story in order: look around, see that uploads were ingested unasked, materialize, backfill, drop a file.
"""

from datetime import UTC, datetime

import polars as pl
import pytest
from playwright.sync_api import Locator, Page, expect

from resources.errors import TableMissing
from tests.browser.conftest import DAYS, PHOTOS, SLOW_MS, Ui, photo, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

GRAPH = {
    "ingestion": ["raw_uploads", "photo_metadata", "event_log"],
    "classify": ["photo_classes", "photo_styles"],
    "features": ["user_features"],
    "training": ["training_table", "staged_training_set", "popularity_model"],
}
RUN_MS = 180_000
"""How long a small run may take: to be queued, to start a process that imports torch, and to do its work."""


def test_the_graph_shows_every_group_and_the_catalog_every_asset(page: Page) -> None:
    page.goto("/asset-groups")
    for group, assets in GRAPH.items():
        expect(page.get_by_role("button", name=group).first).to_be_visible(timeout=SLOW_MS)
        count = f"{len(assets)} asset" + "s" * (len(assets) > 1)
        expect(page.get_by_text(count).first).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("link", name="Catalog").click()
    for name in (asset for assets in GRAPH.values() for asset in assets):
        expect(page.get_by_role("link", name=name).first).to_be_visible(timeout=SLOW_MS)


def test_schedule_and_sensors_are_running_and_can_be_switched_off(page: Page) -> None:
    page.goto("/automation")
    for name in ("new_uploads", "automation", "run_failures", "model_after_tables", "nightly"):
        expect(_switch(page, name)).to_be_checked(timeout=SLOW_MS)
    # Classifying is not this story, and would take both cores.
    _switch(page, "automation").uncheck(force=True)
    expect(_switch(page, "automation")).not_to_be_checked()


def test_imported_uploads_are_ingested_without_being_asked_for(page: Page, ui: Ui) -> None:
    until(lambda: _uploads(ui).height == PHOTOS, f"the sensor had {PHOTOS} uploads ingested")
    uploads = _uploads(ui)
    assert uploads["verdict"].value_counts().filter(pl.col("verdict") == "ok")["count"].to_list() == [PHOTOS - 1]
    day = uploads["day"].max()
    _see_days_materialized(page, "raw_uploads", DAYS)
    metadata = _metadata(page, "raw_uploads", str(day))
    expect(_row(metadata, "dagster/row_count")).to_contain_text(str(uploads.filter(day=day).height))


def test_a_day_materializes_through_the_dialog_and_shows_what_it_made(page: Page, ui: Ui) -> None:
    day = _uploads(ui)["day"].max()
    _launch(page, "event_log", str(day), "Launch 1 run")
    _see_days_materialized(page, "event_log", 1)
    metadata = _metadata(page, "event_log", str(day))
    events = ui.lake.scan("event_log", [day]).collect()
    assert events.height > 0
    expect(_row(metadata, "dagster/row_count")).to_contain_text(str(events.height))
    expect(_row(metadata, "digest")).to_contain_text(f"{_digest_shown(metadata)}")
    expect(_row(metadata, "unchanged")).to_contain_text("false")
    expect(_row(metadata, "preview")).to_contain_text(events["event_id"].min())
