"""The status page of `darkroom serve` in a real Chromium: it lives, shows no person, asks nobody else, and needs its token."""

from pathlib import Path

import polars as pl
import pytest
from conftest import CHROMIUM_ARGUMENTS, SLOW_MS
from playwright.sync_api import Page, expect, sync_playwright
from serving.endpoint.served_world import Served, answered, service_here, serving, world
from serving.log.test_served_drift import ASKED, PIN, asks, trained_on

from pipeline_assets.sample.photos import shipped_file
from pipeline_assets.serving.endpoint.http.access import access_to
from pipeline_assets.serving.log.drift import drift_of
from resources.servers.bearer_tokens import BearerTokens

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


def opened(tab: Page, served: Served, faults: list[str]) -> None:
    """Open the page; what it asks of others, and what fails in it, is added to faults."""
    tab.set_default_timeout(SLOW_MS)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda asked: None if asked.url.startswith(served.url) else faults.append(asked.url))
    tab.goto(served.url)


def test_the_status_page_shows_what_is_served_as_it_happens(chromium: str, tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    with serving(made) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        tab, faults = browser.new_page(), list[str]()
        opened(tab, served, faults)
        expect(tab.get_by_role("status")).to_have_text("live", timeout=SLOW_MS)
        expect(tab.locator("#cards")).to_contain_text("none yet")
        expect(tab.locator("#cards")).to_contain_text("generation 1")
        told = served.predict(shipped_file("rocket.jpg"), user_id=1, title="<img src=x onerror=alert(1)>").json
        served.predict(b"x", user_id=1)
        served.post("v1/features", {"user_id": 4242})
        last = tab.locator("#last tr")
        expect(last).to_have_count(1, timeout=SLOW_MS)
        expect(last).to_contain_text(f"{told['popularity']:.2f}")
        expect(last).to_contain_text(told["photo"]["top_class"])
        expect(tab.locator("#refused")).to_contain_text("not_an_image", timeout=SLOW_MS)
        expect(tab.locator("#refused")).to_contain_text("unknown_user")
        expect(tab.locator("#cards")).to_contain_text("p50 of the last 2")
        text = tab.content()
        assert "4242" not in text and "onerror" not in text
        tab.get_by_role("link", name="API", exact=True).click()
        expect(tab.get_by_role("heading", name="POST /v1/predict")).to_be_visible()
        assert faults == []
        browser.close()


def test_the_status_page_shows_skew_and_drift_of_the_newest_day_that_was_judged(chromium: str, tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    logged = asks(logins_1d=1).with_columns(
        outcome=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("different")).otherwise(pl.lit("equal"))
    )
    made.lake.replace("serving_log", [ASKED], logged)
    made.lake.replace("served_drift", [ASKED], drift_of(ASKED, PIN, logged, trained_on().lazy()))
    with (
        service_here(made) as (settings, service),
        answered(service, access_to(settings, "127.0.0.1")) as served,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        tab, faults = browser.new_page(), list[str]()
        opened(tab, served, faults)
        expect(tab.locator("#cards")).to_contain_text("2 of 180", timeout=SLOW_MS)
        expect(tab.locator("#cards")).to_contain_text(f"features of {ASKED} differ from the training set")
        first = tab.locator("#drift tr").first
        expect(first).to_have_class("bad")
        for text in ("logins_1d", "0.50", "median 1, was 0"):
            expect(first).to_contain_text(text)
        served.predict(shipped_file("rocket.jpg"), user_id=1)
        expect(tab.locator("#last tr")).to_have_count(1, timeout=SLOW_MS)
        assert faults == []
        browser.close()


def test_the_status_page_asks_for_a_token_once_there_is_one(chromium: str, tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    token = BearerTokens(made.folder / "home" / "serving" / "tokens.json").add("page")
    with serving(made) as served, sync_playwright() as playwright:
        assert served.post("v1/features", {"user_id": 1}).status == 401
        assert served.post("v1/features", {"user_id": 1}, Authorization=f"Bearer {token}").status == 200
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        tab, faults = browser.new_page(), list[str]()
        opened(tab, served, faults)
        expect(tab.get_by_role("status")).to_have_text("no_valid_token", timeout=SLOW_MS)
        tab.get_by_label("Token").fill(token)
        tab.get_by_role("button", name="Show").click()
        expect(tab.get_by_role("status")).to_have_text("live", timeout=SLOW_MS)
        assert faults == []
        browser.close()
