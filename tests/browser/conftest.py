"""A fresh Darkroom with a few imported photos, its UI, and a real Chromium to look at it."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright
from served_ui import DAYS, PHOTOS, Ui, photo, served

CHROMIUM_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
SLOW_MS = 60_000
"""How long a page may take on a machine that is busy with something else."""


@pytest.fixture(scope="module")
def chromium() -> str:
    """Where Chromium is. Without it these tests skip, but in CI they fail: there it is not optional."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no chromium on the PATH: install it with `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def ui(chromium: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ui]:
    """`darkroom ui` over a folder of eleven photos and one file that is none. Its log is printed if a test fails."""
    root = tmp_path_factory.mktemp("ui")
    folder = root / "photos"
    (folder / "nested").mkdir(parents=True)
    for number in range(PHOTOS):
        (folder / f"photo-{number:02}.jpg").write_bytes(photo(number))
    (folder / "nested" / "notes.txt").write_text("Not a photo.")
    failed_before = request.session.testsfailed
    with served(root, folder, DAYS) as running:
        yield running
    if request.session.testsfailed > failed_before:
        print(f"--- {running.log} ---\n{running.log.read_text(errors='replace')[-20_000:]}")


@pytest.fixture(scope="module")
def page(chromium: str, ui: Ui) -> Iterator[Page]:
    """One browser tab, for the whole story."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(base_url=ui.url, viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(SLOW_MS)
        yield page
        browser.close()
