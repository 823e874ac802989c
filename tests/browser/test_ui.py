"""What a person does in the Dagster UI, in a real Chromium on a real `darkroom ui` with its daemon and servers.

One story in order: look around, see that uploads were ingested unasked, materialize, backfill, drop a file.
"""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from playwright.sync_api import Locator, Page, expect
from served_ui import PHOTOS, Ui, photo, until

from resources.errors import TableMissing

# Longer than all waits of a test together, so that the wait that fails can say what it waited for.
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

GRAPH = {
    "ingestion": ["raw_uploads", "photo_metadata", "event_log"],
    "classify": ["photo_classes", "photo_styles"],
    "features": ["user_features"],
    "training": ["training_table", "staged_training_set", "popularity_model"],
    "labeling": ["annotations"],
    "variants": ["photo_variants", "text_variants", "receipt_renders"],
}
SLOW_MS = 60_000
"""How long a page may take on a machine that is busy with something else."""
RUN_MS = 180_000
"""How long a small run may take: to be queued, to start a process that imports torch, and to do its work."""


def test_the_graph_shows_every_group_with_its_assets(page: Page) -> None:
    page.set_viewport_size({"width": 1800, "height": 2400})  # what lies outside of it is not drawn
    page.goto("/asset-groups")
    for group in GRAPH:
        expect(page.get_by_role("button", name=group).first).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("Alt+e")  # expand all groups
    for name in (asset for assets in GRAPH.values() for asset in assets if asset != "staged_training_set"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("link", name="Catalog").click()  # where long names are not cut
    for name in (asset for assets in GRAPH.values() for asset in assets):
        expect(page.get_by_role("link", name=name).first).to_be_visible(timeout=SLOW_MS)
    page.set_viewport_size({"width": 1600, "height": 1000})


def test_schedule_and_sensors_are_running_and_can_be_switched_off(page: Page) -> None:
    page.goto("/automation")
    for name in ("new_uploads", "automation", "run_failures", "model_after_tables", "nightly"):
        expect(_switch(page, name)).to_be_checked(timeout=SLOW_MS)
    # Classifying is not this story, and would take both cores.
    _switch(page, "automation").locator("xpath=..").click()
    expect(_switch(page, "automation")).not_to_be_checked(timeout=SLOW_MS)


def test_imported_uploads_are_ingested_without_being_asked_for(page: Page, ui: Ui) -> None:
    until(lambda: _uploads(ui).height == PHOTOS + 1, "the sensor had every imported file ingested")
    uploads = _uploads(ui)
    assert uploads.filter(verdict="ok").height == PHOTOS
    day = uploads["day"].max()
    _see_days_materialized(page, "raw_uploads", uploads["day"].n_unique())
    metadata = _metadata(page, "raw_uploads", str(day))
    expect(_row(metadata, "dagster/row_count")).to_contain_text(str(uploads.filter(day=day).height))


def test_a_day_materializes_through_the_dialog_and_shows_what_it_made(page: Page, ui: Ui) -> None:
    day = _uploads(ui)["day"].max()
    _launch(page, "event_log", str(day), "Launch 1 run")
    _see_days_materialized(page, "event_log", 1)
    events = ui.lake.scan("event_log", [day]).collect()
    first = events.sort("arrived_at", "event_id")["event_id"][0]  # a scan has no order, a log file has
    metadata = _metadata(page, "event_log", str(day))
    assert events.height > 0
    expect(_row(metadata, "dagster/row_count")).to_contain_text(f"{events.height}")
    expect(_row(metadata, "digest")).to_contain_text(_digest(ui, "event_log", day))
    expect(_row(metadata, "unchanged")).to_contain_text("false")
    expect(_row(metadata, "preview").get_by_role("cell", name=first).last).to_be_visible()


def test_a_backfill_of_two_days_completes(page: Page, ui: Ui) -> None:
    first, last = sorted(_uploads(ui)["day"].unique())[:2]
    before = _digest(ui, "raw_uploads", first)
    _launch(page, "raw_uploads", f"[{first}...{last}]", "Launch backfill")
    page.goto("/runs?view=backfills")
    rows = page.locator("div").filter(has=page.get_by_role("button", name="2 partitions"))
    ours = rows.filter(has_text="raw_uploads").filter(has_text="Manually launched").last
    expect(ours).to_contain_text("Success", timeout=RUN_MS)
    metadata = _metadata(page, "raw_uploads", str(first))
    expect(_row(metadata, "unchanged")).to_contain_text("true")
    expect(_row(metadata, "digest")).to_contain_text(before)


def test_a_file_dropped_into_the_bucket_is_seen_and_processed(page: Page, ui: Ui) -> None:
    today = datetime.now(UTC).date()
    days_before = _uploads(ui)["day"].n_unique()
    key = f"uploads/{today}/7/late.jpg"
    ui.uploads.put(key, photo(PHOTOS + 1))
    until(lambda: key in _uploads(ui)["key"], f"the sensor had {key} ingested")
    assert _uploads(ui).row(by_predicate=pl.col("key") == key, named=True)["verdict"] == "ok"
    _see_days_materialized(page, "raw_uploads", days_before + 1)
    expect(_row(_metadata(page, "raw_uploads", str(today)), "dagster/row_count")).to_contain_text("1")


def test_no_run_failed_and_the_log_has_no_error(page: Page, ui: Ui) -> None:
    page.goto("/runs")
    page.get_by_role("tab", name="Failed").click()
    expect(page.get_by_text("No matching runs")).to_be_visible(timeout=SLOW_MS)
    log = ui.log.read_text(errors="replace")
    assert [line for line in log.splitlines() if "Traceback" in line or " - ERROR - " in line] == []


def _launch(page: Page, asset: str, partitions: str, button: str) -> None:
    """Choose partitions in the asset's dialog and launch."""
    page.goto(f"/assets/{asset}")
    page.get_by_role("button", name="Materialize…").first.click()
    dialog = page.get_by_role("dialog")
    chosen = dialog.get_by_role("textbox").first
    chosen.fill(partitions)
    chosen.press("Enter")
    dialog.get_by_role("button", name=button).click()
    expect(dialog).to_be_hidden(timeout=SLOW_MS)


def _see_days_materialized(page: Page, asset: str, days: int) -> None:
    """Wait until the asset's page counts so many days: by itself it looks again at each event."""
    page.goto(f"/assets/{asset}?view=partitions")
    expect(page.get_by_text(f"Materialized ({days})")).to_be_visible(timeout=RUN_MS)


def _metadata(page: Page, asset: str, day: str) -> Locator:
    """The metadata of a day's newest materialization, loaded anew."""
    page.goto(f"/assets/{asset}?view=partitions&partition={day}")
    table = page.get_by_role("table").filter(has_text="delta_version")
    expect(table.first).to_be_visible(timeout=SLOW_MS)
    return table.first


def _row(metadata: Locator, label: str) -> Locator:
    return metadata.get_by_role("row").filter(has=metadata.page.get_by_role("cell", name=label, exact=True)).first


def _switch(page: Page, name: str) -> Locator:
    """The switch of a sensor or schedule: the first checkbox after its link (one before the link selects the line)."""
    link = page.locator(f"a[href^='/locations/darkroom/'][href$='/{name}']").first
    return link.locator("xpath=following::input[@type='checkbox'][1]")


def _uploads(ui: Ui) -> pl.DataFrame:
    """What raw_uploads holds, read past Dagster; empty before its first run."""
    columns = {"day": pl.Date, "key": pl.String, "verdict": pl.String}
    try:
        return ui.lake.scan("raw_uploads").select(columns.keys()).collect()
    except TableMissing:
        return pl.DataFrame(schema=columns)


def _digest(ui: Ui, asset: str, day: date) -> str:
    """What the ledger says of a day."""
    question = "select digest from materializations where asset = $1 and day = $2 order by id desc limit 1"
    return ui.postgres.read(question, (asset, day)).item()
