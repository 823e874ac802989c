"""Take the README's pictures from a running UI: `python docs/take_screenshots.py [http://127.0.0.1:3000]`.

Run it after `make run`, beside `make ui`. It drives Chromium, shows what is newest, and changes nothing.
"""

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
SIZE = {"width": 1600, "height": 1000}
COLOURS = 255
"""A UI has few colours: a palette makes the files a third of the size, and no eye sees it."""
SLOW_MS = 120_000


def asset_graph(page: Page) -> None:
    """The whole graph with its groups expanded, at the largest scale that shows all of it."""
    page.goto("/asset-groups")
    page.get_by_role("button", name="Hide navigation").click()
    for group in ("ingestion", "classify", "features", "training"):
        expect(page.get_by_role("button", name=group).first).to_be_visible()
    page.get_by_role("button", name="panel_show_right").first.click()
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("popularity_model").first).to_be_visible()
    page.wait_for_load_state("networkidle")


def materialization(page: Page) -> None:
    """What one day of the training table says of itself."""
    _newest_day(page, "training_table")


def popularity_model(page: Page) -> None:
    """The night's model with a plot of prediction against truth."""
    metadata = _newest_day(page, "popularity_model")
    metadata.get_by_role("row").filter(has_text="prediction_against_truth").get_by_text("Show Markdown").click()
    expect(page.get_by_role("dialog").locator("img")).to_be_visible()


def backfill(page: Page) -> None:
    """Which days of photo_classes are there, and the dialog that computes others."""
    page.goto("/assets/photo_classes?view=partitions")
    expect(page.get_by_text("Partitions Selected")).to_be_visible()
    page.get_by_role("button", name="Materialize…").first.click()
    dialog = page.get_by_role("dialog")
    chosen = dialog.get_by_role("textbox").first
    chosen.fill(f"[{_days(page)[6]}...{_days(page)[0]}]")
    chosen.press("Enter")
    expect(dialog.get_by_role("button", name="Launch backfill")).to_be_enabled()


def _days(page: Page) -> list[str]:
    return [text for text in page.locator("body").inner_text().split() if len(text) == 10 and text[4::3] == "--"]


def _newest_day(page: Page, asset: str) -> Locator:
    """Open the asset's newest materialized day. Returns its table of metadata."""
    page.goto(f"/assets/{asset}?view=partitions&status=MATERIALIZED")
    raise NotImplementedError


PICTURES: dict[str, Callable[[Page], None]] = {
    "asset-graph": asset_graph,
    "materialization": materialization,
    "popularity-model": popularity_model,
    "backfill": backfill,
}
