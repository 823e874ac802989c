"""The page of photos in a real Chromium, from a file: what is selected, what leaves it, and what odd data do to it."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import CHROMIUM_ARGUMENTS, SLOW_MS
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from served_ui import until

from pipeline_assets.exploration.page.document import About, Variant, page
from pipeline_assets.exploration.page.points import points
from pipeline_assets.exploration.page.thumbnails import thumbnail
from pipeline_assets.versioning.pin.condition import condition
from resources.servers import local_page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

PLANTED = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>\"' onload=\"window.ran = 1"
ODD_NAMES = ["it's", 'a "b"', "back\\slash", "naïve ☃", "50%", "line\nbreak", "right\u202eleft", PLANTED, "", "-- x"]


def photo(seed: int) -> bytes:
    """The bytes of a photo of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (320, 240), tuple(np.random.default_rng(seed).integers(0, 255, 3).tolist())).save(file, "JPEG")
    return file.getvalue()


def rows_of(count: int, seed: int = 0) -> pl.DataFrame:
    """A training table with what is hard to say in a condition: nulls, NaN, infinities, quotes, ids beyond 32 bits."""
    random = np.random.default_rng(seed)
    odd = random.normal(size=count).astype(np.float32)
    odd[::7], odd[1::11], odd[2::13] = np.nan, np.inf, -np.inf
    names = [ODD_NAMES[number] for number in random.integers(0, len(ODD_NAMES), count)]
    return pl.DataFrame(
        {
            "day": pl.Series(random.integers(20_000, 20_090, count)).cast(pl.Int32).cast(pl.Date),
            "photo_id": random.permutation(count) + 2**40,
            "user_id": random.integers(0, 9, count),
            "sha256": [f"{number:064x}" for number in range(count)],
            "top_class": names,
            "brightness": random.random(count).astype(np.float32),
            "saturation": random.random(count),
            "odd": odd,
            "likes": pl.Series(random.integers(-5, 2000, count)),
            "views_7d": pl.Series([int(value) if value % 3 else None for value in random.integers(0, 10**10, count)]),
            "has_location": pl.Series([[True, False, None][value] for value in random.integers(0, 3, count)]),
            "Weird column": pl.Series(random.integers(0, 30, count)).cast(pl.Float32) / 10,
        }
    )


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator:
    """Opens a page of rows from a file, without a network. It fails if the page logs an error or asks for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    faults: list[str] = []

    def open_page(
        rows: pl.DataFrame, about: About | None = None, thumbnails=None, variants=(), **tables: pl.DataFrame
    ) -> Page:
        text = page(points(rows, **tables), about or About("Photos", table_columns=rows.columns), thumbnails or {}, variants)
        path = tmp_path / "photos.html"
        path.write_text(text, encoding="utf-8")
        tab = context.new_page()
        tab.set_default_timeout(SLOW_MS)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else faults.append(asked.url)
        )
        tab.goto(path.as_uri())
        # Its policy forbids what Playwright's own waiting evaluates.
        until(lambda: tab.evaluate("performance.getEntriesByName('ready').length"), "the page is ready", every_s=0.05)
        return tab

    yield open_page
    context.close()
    assert faults == []


def selected(tab: Page) -> int:
    """The number of selected photos, once the page has settled."""
    tab.wait_for_timeout(100)
    return int(tab.locator("#count").inner_text().split(" ")[0].replace(",", ""))


def where(tab: Page, *, as_ids: bool = False) -> str:
    tab.get_by_label("as ids").set_checked(as_ids)
    return tab.locator("#condition").input_value()


def ids_by(rows: pl.DataFrame, text: str) -> list[int]:
    """The photos for which a condition holds, as `checkout` reads it."""
    return rows.lazy().filter(condition(rows.lazy(), text, rows.columns)).collect()["photo_id"].sort().to_list()


def filter_of(tab: Page, name: str) -> Locator:
    """The opened filter of a column."""
    details = tab.locator("details.filter").filter(has=tab.locator("summary", has_text=re.compile(f"^{name}$")))
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    return details


def set_range(details: Locator, low: int, high: int) -> None:
    for number, value in ((1, high), (0, low)):
        handle = details.locator("input[type=range]").nth(number)
        handle.evaluate("(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value)


def test_each_condition_selects_exactly_what_the_page_shows(shown) -> None:
    rows = rows_of(3000)
    tab = shown(rows)
    random = np.random.default_rng(1)
    numbers = ["Brightness", "Saturation", "Odd", "Likes", "Views 7d", "Weird column", "Day"]
    by_columns = 0
    for _ in range(20):
        if tab.locator("#clear").is_enabled():
            tab.locator("#clear").click()
        for name in random.choice(numbers, 2, replace=False):
            details = filter_of(tab, name)
            last = int(details.locator("input[type=range]").first.get_attribute("max"))
            low = int(random.integers(0, last))
            set_range(details, low, int(random.integers(low + 1, last + 1)))
            if details.locator("select").count() and random.random() < 0.5:
                details.locator("select").select_option(str(random.choice(["with", "without", "only"])))
        for name in ["Has location", "Top class"]:
            boxes = filter_of(tab, name).locator("input[type=checkbox]")
            for number in random.choice(boxes.count(), int(random.integers(0, 3)), replace=False):
                boxes.nth(int(number)).click()
        count = selected(tab)
        text = where(tab)
        exact = where(tab, as_ids=True)
        assert len(ids_by(rows, exact)) == count, exact
        if text:
            assert ids_by(rows, text) == ids_by(rows, exact), text
            by_columns += text != exact
        tab.get_by_label("as ids").set_checked(False)
    assert by_columns > 4


def test_whole_numbers_beyond_doubles_are_named_as_numbers(shown) -> None:
    numbers = [2**53 + 1, 2**53, -(2**63), 2**63 - 1, None, 7]
    rows = rows_of(6).with_columns(views_7d=pl.Series(numbers, dtype=pl.Int64))
    tab = shown(rows)
    details = filter_of(tab, "Views 7d")
    for number in (2**53 + 1, -(2**63)):
        details.get_by_label(str(number)).check()
    assert selected(tab) == 2
    assert where(tab).startswith("views_7d in (")
    assert ids_by(rows, where(tab)) == ids_by(rows, where(tab, as_ids=True))


def test_a_page_whose_condition_is_not_told_leaves_ids_alone(shown) -> None:
    rows = rows_of(30)
    tab = shown(rows, About("Photos", table_columns=rows.columns, condition=None))
    assert len(ids_by(rows, where(tab))) == 30
    filter_of(tab, "Has location").get_by_label("true").check()
    assert selected(tab) < 30
    assert where(tab) == where(tab, as_ids=True)
    assert len(ids_by(rows, where(tab))) == selected(tab)


def test_counts_of_a_column_are_those_that_the_other_filters_leave(shown) -> None:
    rows = rows_of(500)
    tab = shown(rows)
    boxes = filter_of(tab, "Has location")
    boxes.get_by_label("true").check()
    expected = rows.filter("has_location")["top_class"].value_counts()
    names = filter_of(tab, "Top class")
    for name, count in expected.iter_rows():
        if name.isalnum():
            expect(names.locator("li", has_text=name).locator(".count")).to_have_text(str(count))
    # Its own filter takes nothing from a column's counts.
    false = rows.filter(~pl.col("has_location")).height
    expect(boxes.locator("li", has_text="false").locator(".count")).to_have_text(str(false))


def test_a_lasso_selects_what_lies_in_it_and_leaves_by_ids(shown) -> None:
    rows = rows_of(400)
    tab = shown(rows)
    tab.get_by_text("Lasso", exact=True).click()
    box = tab.locator("#over").bounding_box()
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
    for number, (x, y) in enumerate(corners):
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        if number == 0:
            tab.mouse.down()
    tab.mouse.up()
    count = selected(tab)
    inside = ids_by(rows, where(tab))
    assert 0 < count == len(inside) < 400
    middle = rows.filter(pl.col("brightness").is_between(0.3, 0.7), pl.col("saturation").is_between(0.3, 0.7))
    assert set(middle["photo_id"]) <= set(inside)
    expect(tab.locator("#condition-note")).to_contain_text("lasso")
    tab.locator("#over").press("Escape")
    assert selected(tab) == 400


def test_ids_are_downloaded_and_a_command_is_copied_that_a_shell_reads(shown) -> None:
    rows = rows_of(50).with_columns(top_class=pl.lit("it's"))
    tab = shown(rows)
    filter_of(tab, "Top class").get_by_label("it's").check()
    assert selected(tab) == 50
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download ids").click()
    ids = [int(line) for line in Path(download.value.path()).read_text().split()]
    assert sorted(ids) == rows["photo_id"].sort().to_list()
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    commands = {
        "checkout": ["checkout", "NAME", "./selection"],
        "export": ["export", "NAME", "./selection", "--format", "parquet"],
        "pin": ["pin", "NAME"],
        "label push": ["label", "push", "CAMPAIGN"],
    }
    for name, words in commands.items():
        tab.get_by_role("button", name=f"Copy {name}").click()
        expect(tab.locator("#copied")).to_contain_text("Copied")
        copied = shlex.split(tab.evaluate("navigator.clipboard.readText()"))
        assert copied == ["darkroom", *words, "--where", where(tab)]


def test_nothing_that_is_planted_runs_or_becomes_an_element(shown) -> None:
    rows = rows_of(30).with_columns(top_class=pl.lit(PLANTED)).rename({"Weird column": f"label {PLANTED}"})
    keys = rows.select("day", "photo_id", title=pl.lit(PLANTED), key=pl.lit(PLANTED))
    owners = dict.fromkeys(range(9), PLANTED)
    about = About(PLANTED, table_columns=rows.columns, notes=[PLANTED], condition=PLANTED)
    picture = thumbnail(photo(0))
    tab = shown(rows, about, {f"{0:064x}": picture}, [Variant(f"{0:064x}", PLANTED, picture)], photos=keys, owners=owners)
    for summary in tab.locator("summary").all():
        summary.click()
    tab.locator("#grid button").first.click()
    tab.locator("#over").hover()
    expect(tab.locator("#photo dd", has_text="<script>").first).to_be_visible()
    assert tab.evaluate("window.ran") is None
    assert tab.locator("script:not([type])").count() == 1
    assert tab.locator("img[onerror], [onload], img[src=x]").count() == 0
    assert tab.title() == PLANTED


def test_invisible_characters_are_shown_and_in_no_condition(shown) -> None:
    rows = rows_of(30).with_columns(top_class=pl.lit("right\u202eleft"))
    tab = shown(rows)
    filter_of(tab, "Top class").get_by_label("right\\u202eleft").check()
    assert selected(tab) == 30
    assert "\u202e" not in where(tab)
    assert len(ids_by(rows, where(tab))) == 30


@pytest.mark.parametrize("count", [0, 1])
def test_no_photo_and_one_are_a_page_like_any(shown, count: int) -> None:
    tab = shown(rows_of(count))
    assert selected(tab) == count
    expect(tab.locator("#empty")).to_be_visible(visible=not count)
    closed = tab.locator("details:not([open]) > summary")
    while closed.count():
        closed.first.click()
    tab.get_by_role("button", name="Select view").click()
    assert selected(tab) == count


def test_photos_at_one_place_and_at_none_are_all_in_the_list(shown) -> None:
    rows = rows_of(40).with_columns(
        brightness=pl.when(pl.col("likes") > 1000).then(0.5).otherwise(float("nan")).cast(pl.Float32), saturation=pl.lit(0.5)
    )
    placed = rows.filter(pl.col("brightness").is_not_nan()).height
    tab = shown(rows)
    assert selected(tab) == tab.locator("#grid li").count() == 40
    expect(tab.locator("#notes")).to_contain_text(f"{40 - placed} photos have no place")
    tab.get_by_role("button", name="Select view").click()
    assert selected(tab) == placed


def test_a_million_categories_have_a_short_legend_and_can_be_searched(shown) -> None:
    rows = pl.concat([rows_of(10).select("day", "photo_id", "user_id", "sha256", "brightness", "saturation")] * 100_000)
    numbers = pl.int_range(pl.len(), eager=False)
    rows = rows.with_columns(photo_id=numbers, top_class=numbers.cast(pl.String), sha256=pl.lit("0" * 64))
    tab = shown(rows)
    expect(tab.locator("#legend")).to_contain_text("999,990 more")
    assert tab.locator("#legend button").count() <= 10
    details = filter_of(tab, "Top class")
    details.get_by_role("searchbox").fill("100")
    box = details.locator("li").first
    name = box.locator(".name").inner_text()
    box.locator("input").check()
    assert selected(tab) == 1
    assert ids_by(rows, where(tab)) == [int(name)]


def test_the_keyboard_goes_among_the_selected_photos_and_each_control_has_a_name(shown) -> None:
    rows = rows_of(60)
    tab = shown(rows, thumbnails={f"{number:064x}": thumbnail(photo(number)) for number in range(60)})
    tab.locator("#over").focus()
    tab.keyboard.press("ArrowRight")
    first = tab.locator("#said").inner_text()
    assert first.startswith("Photo ")
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#said").inner_text() != first
    tab.keyboard.press("Enter")
    number = re.match(r"Photo (\d+)", tab.locator("#said").inner_text())[1]
    expect(tab.locator("#photo h2")).to_have_text(f"Photo {number}")
    assert int(number) in rows["photo_id"]
    nameless = tab.evaluate(
        """[...document.querySelectorAll('button, input, select, textarea, img, canvas[tabindex]')].filter(one =>
          !(one.ariaLabel || one.alt || one.labels?.length || one.textContent.trim() || one.querySelector?.('img[alt]'))).length"""
    )
    assert nameless == 0
    assert tab.locator("ul#grid > li").count() == 60
    assert tab.locator("#count").get_attribute("aria-live") == "polite"


def test_a_photo_shows_its_neighbours_and_variants(shown) -> None:
    rows = rows_of(12)
    ids = rows["photo_id"].to_list()
    places = pl.DataFrame(
        {
            "photo_id": ids,
            "x": np.arange(12.0),
            "y": np.arange(12.0),
            "neighbours": [[rows["sha256"][3], rows["sha256"][5]]] * 12,
        }
    )
    small = {sha256: thumbnail(photo(number)) for number, sha256 in enumerate(rows["sha256"])}
    tab = shown(rows, thumbnails=small, variants=[Variant(one, "blur", small[one]) for one in small], places=places)
    tab.locator("#grid button").first.click()
    card = tab.locator("#photo")
    expect(card.get_by_alt_text("Variant: blur")).to_be_visible()
    card.get_by_role("button", name=f"Photo {ids[5]}").click()
    expect(card.get_by_role("heading", level=2)).to_have_text(f"Photo {ids[5]}")
    assert card.get_by_alt_text(f"Photo {ids[5]}").first.evaluate("image => image.naturalWidth") == 96


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (820, "light"), (390, "dark")])
def test_the_page_fits_its_window(shown, width: int, scheme: str) -> None:
    tab = shown(rows_of(300))
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 800})
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = tab.evaluate("(style => [style.color, style.backgroundColor])(getComputedStyle(document.body))")
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (brightness[0] > brightness[1]) == (scheme == "dark")


def test_a_served_page_asks_its_server_for_further_thumbnails(browser: Browser) -> None:
    rows = rows_of(5)
    about = About("Photos", table_columns=rows.columns, served=True)
    text = page(points(rows), about, {})
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    small = thumbnail(photo(1))
    with local_page.serving(text.encode(), policy, lambda _: small) as (url, _):
        tab = browser.new_page()
        tab.goto(url)
        image = tab.locator("#grid img").first
        expect(image).to_be_visible()
        until(lambda: image.evaluate("one => one.naturalWidth") == 96, "the thumbnail arrived", every_s=0.05)
        tab.close()


def test_the_header_of_a_page_is_json_without_markup() -> None:
    text = page(points(rows_of(50)), About(PLANTED), {})
    [header] = re.findall(r'id="header">(.*?)</script>', text, re.S)
    assert not set("<>&") & set(header)
    assert json.loads(header)["title"] == PLANTED
