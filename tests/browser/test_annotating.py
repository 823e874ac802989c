"""An annotator in a real Chromium answers three questions about photos in Label Studio, and the answers arrive."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import CHROMIUM_ARGUMENTS, SLOW_MS
from playwright.sync_api import Page, expect, sync_playwright
from served_ui import DARKROOM, photo
from tools import copy_of_label_studio, tools_folder

from resources.servers import label_studio as server
from resources.servers.embedded import Services
from resources.servers.label_studio import Account

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
CAMPAIGN = """
question: What does it show?
kind: class
classes: [cat, dog]
instructions: Look <b>closely</b>.
"""
NAMES = ("plain.jpg", "with space ü.jpg", "100% #1?.jpg")
"""Names that a URL must quote."""
PHOTO = "[...document.images].find(one => one.naturalWidth === 320 && one.naturalHeight === 240)"
"""The photo on the page, once its bytes have arrived."""


@dataclass(frozen=True)
class Desk:
    """A home with three photos, whose questions are in its Label Studio."""

    env: Mapping[str, str]
    account: Account

    def darkroom(self, *arguments: str) -> str:
        done = subprocess.run([DARKROOM, *arguments], env=dict(self.env), capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"darkroom {shlex.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module", params=["bucket", "folder"])
def desk(
    request: pytest.FixtureRequest, label_studio: Account, of_all_workers: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """Uploads in the embedded S3, with its private certificate authority, or in a folder."""
    root = tmp_path_factory.mktemp("desk")
    home, photos, campaigns = root / "home", root / "photos", root / "campaigns"
    photos.mkdir()
    campaigns.mkdir()
    for seed, name in enumerate(NAMES):
        (photos / name).write_bytes(photo(seed))
    (campaigns / "pets.yaml").write_text(CAMPAIGN)
    copy_of_label_studio(of_all_workers / "services", home)
    home.chmod(0o700)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DAGSTER_", "AWS_"))}
    env = inherited | {
        "DARKROOM_HOME": str(home),
        "DARKROOM_TOOLS_DIR": str(tools_folder()),
        "DARKROOM_CAMPAIGNS_DIR": str(campaigns),
    }
    if request.param == "folder":
        env |= {"DARKROOM_UPLOADS_URL": (root / "store").as_uri(), "DARKROOM_LAKE_URL": (root / "lake").as_uri()}
        env["DARKROOM_DATABASE_URL"] = f"sqlite:///{root / 'darkroom.db'}"
    desk = Desk(env, label_studio)
    try:
        desk.darkroom("up")
        desk.darkroom("import", str(photos), "--days", "1")
        desk.darkroom("refresh", "--asset", "label_tasks", "--yes")
        desk.darkroom("label", "up")
        assert "3 tasks sent" in desk.darkroom("label", "push", "pets")
        yield Desk(env, server.account_of(home))
    finally:
        Services(home).stop()


@pytest.fixture(scope="module")
def desk_page(chromium: str, desk: Desk) -> Iterator[Page]:
    """A browser tab of somebody who has logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(base_url=desk.account.url, viewport={"width": 1400, "height": 900})
        page.set_default_timeout(SLOW_MS)
        page.goto("/user/login/")
        page.locator("input[name=email]").fill(desk.account.username)
        page.locator("input[name=password]").fill(desk.account.password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: "login" not in url)
        yield page
        browser.close()


def test_three_answers_given_in_the_browser_arrive(desk: Desk, desk_page: Page) -> None:
    page = desk_page
    page.goto("/projects/")
    page.get_by_text("pets v1").first.click()
    page.get_by_role("button", name="Label All Tasks").click()
    expect(page.get_by_text("Look <b>closely</b>.").last).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("Escape")
    seen = ""
    for _ in NAMES:
        page.wait_for_function(f"({PHOTO}) && ({PHOTO}).src !== {json.dumps(seen)}")
        seen = page.evaluate(f"({PHOTO}).src")
        page.get_by_text("dog").first.click()
        with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST") as sent:
            page.get_by_test_id("bottombar-submit-button").click()
        assert sent.value.status == 201
    assert "3 new answers" in desk.darkroom("label", "pull", "pets")
    assert "3 asked, 3 answers here" in desk.darkroom("label", "status")
