"""Take the README's pictures from a running UI: `python docs/take_screenshots.py [http://127.0.0.1:3000]`.

`python docs/take_screenshots.py photos.html` takes that of the page of `darkroom explore photos.html`.

Run it after `make run`, while `make ui` runs. It drives Chromium, shows the newest data, and launches no run.
"""

import io
import shutil
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
WIDTH_PX, HEIGHT_PX = 1600, 1000
COLOURS = 256
"""A UI has few colours: a palette makes the files a third of the size, without a visible difference."""
SLOW_MS = 120_000
ZOOM_OUT = (WIDTH_PX - 28, 852)
"""The graph's button with the minus, which has no name to find it by."""
LATEST = """query($asset: String!) { assetOrError(assetKey: {path: [$asset]}) { ... on Asset {
  assetMaterializations(limit: 300) { partition metadataEntries { label } } } } }"""


def asset_graph(page: Page) -> None:
    """The whole graph, its groups expanded."""
    page.goto("/asset-groups")
    expect(page.get_by_text("fetching statuses")).to_have_count(0)
    for group in ("ingestion", "labeling", "classify", "features", "training", "variants", "exploration"):
        expect(page.get_by_role("button", name=group).first).to_be_visible()
    page.keyboard.press("Alt+e")
    page.wait_for_timeout(3_000)  # the graph glides to its place
    for _ in range(5):
        page.mouse.click(*ZOOM_OUT)
        page.wait_for_timeout(500)
    for name in ("raw_uploads", "training_pin", "video_variants"):
        expect(page.get_by_text(name, exact=True).last).to_be_in_viewport()
    page.wait_for_timeout(3_000)  # the graph glides to its place


def materialization(page: Page) -> None:
    """What one day of photo_classes says of itself."""
    _open_day(page, "photo_classes")


def popularity_model(page: Page) -> None:
    """The night's model: its predictions against the truth."""
    _open_day(page, "popularity_model")
    page.get_by_role("row").filter(has_text="prediction_against_truth").get_by_text("Show Markdown").click()
    plot = page.get_by_role("dialog").locator("img")
    expect(plot).to_be_visible()
    plot.evaluate("image => image.decode()")


def backfill(page: Page) -> None:
    """The dialog that computes a week of photo_classes again, or only what is missing of it."""
    last = date.fromisoformat(_open_day(page, "photo_classes"))
    page.get_by_role("button", name="Materialize…").first.click()
    dialog = page.get_by_role("dialog")
    chosen = dialog.get_by_role("textbox").first
    chosen.fill(f"[{last - timedelta(days=6)}...{last}]")
    chosen.press("Enter")
    expect(dialog.get_by_text("7 partitions", exact=True)).to_be_visible()


def _open_day(page: Page, asset: str) -> str:
    """Open the newest day of an asset that was computed, not only found unchanged. Returns the day."""
    answer = page.request.post("/graphql", data={"query": LATEST, "variables": {"asset": asset}}).json()
    labels: dict[str, set[str]] = {}
    for event in answer["data"]["assetOrError"]["assetMaterializations"]:
        labels.setdefault(event["partition"], {entry["label"] for entry in event["metadataEntries"]})
    days = sorted(labels, key=lambda day: ("preview" in labels[day], day))
    if not days:
        raise SystemExit(f"{asset} has no days: `make run` first")
    page.goto(f"/assets/{asset}?view=partitions&partition={days[-1]}")
    expect(page.get_by_role("cell", name="digest", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")
    return days[-1]


# A larger page, scaled down to the same picture, where more must fit on it; below 1 the same page, finer.
PICTURES: dict[str, tuple[Callable[[Page], object], float]] = {
    "asset-graph": (asset_graph, 0.5),
    "materialization": (materialization, 1.0),
    "popularity-model": (popularity_model, 1.4),
    "backfill": (backfill, 1.0),
}


CUT = {"asset-graph": {"x": 715, "y": 130, "width": 540, "height": 750}}
"""The part of a page that is shown."""


def take(browser: Browser, url: str, name: str) -> Path:
    """Take one picture. Returns its file."""
    show, larger = PICTURES[name]
    viewport = {"width": round(WIDTH_PX * max(larger, 1)), "height": round(HEIGHT_PX * max(larger, 1))}
    context = browser.new_context(base_url=url, viewport=viewport, device_scale_factor=1 / larger)
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    page.goto("/assets")
    page.get_by_role("button", name="Hide navigation").click()
    show(page)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_text("Loading")).to_have_count(0)
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled", clip=CUT.get(name))))
    context.close()
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.png"
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def take_exploration(browser: Browser, file: Path) -> Path:
    """Take the picture of a page of photos: some looks selected, one photo opened. Returns its file."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(file.resolve().as_uri())
    for look in ("natural", "strong_hdr", "high_key"):
        page.get_by_label(look).first.check()
    page.wait_for_timeout(1_000)  # the grid follows the filters
    page.locator("#grid button").first.click()
    page.wait_for_timeout(3_000)  # thumbnails are decoded
    path = FOLDER / "exploration.png"
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, optimize=True)
    return path


def main() -> None:
    """Take all pictures, or those named after the address."""
    url, *names = sys.argv[1:] or ["http://127.0.0.1:3000"]
    names = ["exploration"] if url.endswith(".html") else names
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        for name in names or PICTURES:
            path = take_exploration(browser, Path(url)) if url.endswith(".html") else take(browser, url, name)
            print(f"{path}: {path.stat().st_size / 1024:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
