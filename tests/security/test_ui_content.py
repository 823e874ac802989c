"""What others wrote, drawn by the Dagster UI in a real Chromium: it is text, and asks no other server for anything."""

import io
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import dataframely as dy
import polars as pl
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from ports import free_port

from pipeline_assets.framework.declaration import Table, Verdict
from pipeline_assets.framework.judging import Judged
from pipeline_assets.framework.personal import personal
from pipeline_assets.framework.reporting import picture, preview
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.ingestion.schemas import PhotoMetadata
from pipeline_assets.runtime.visible import markdown
from resources.lake.spool import Parts
from resources.servers.ui import bound

DAY = date(2026, 1, 1)
SLOW_MS = 60_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = [
    "![x](http://evil.example/a.png)",
    "![x][r]\n\n[r]: http://evil.example/a.png",
    "[click](javascript:alert(1))",
    "<http://evil.example>",
    "http://evil.example and www.evil.example and a@evil.example",
    "<img src=//evil.example/a.png>",
    "&lt;img src=//evil.example/a.png&gt;",
    "a | ![](//evil.example/a) | b",
    "a \\| ![](//evil.example/a) | b",
    "\\![](//evil.example/a)",
    "`code` ~~gone~~ **strong** _soft_ ***",
    "\u202e)gnp.a/elpmaxe.live//(]x[!",
]


def photos(titles: list[str]) -> pl.DataFrame:
    """Rows with a text that previews show."""
    return pl.DataFrame({"day": [DAY] * len(titles), "remark": titles, "number": range(len(titles))})


class Remarks(dy.Schema):
    """A table of somebody's, whose texts are declared as nobody's."""

    day = dy.Date()
    remark = dy.String(metadata=personal(None))
    number = dy.Int64()


@pytest.mark.parametrize("text", EVIL)
def test_markdown_of_foreign_text_is_the_text_and_nothing_else(text: str) -> None:
    inline = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    drawn = inline.render(markdown(text))
    assert not any(tag in drawn for tag in ("<img", "<a ", "<code", "<em", "<strong", "<s>", "<table"))
    shown = unescape(drawn.replace("<p>", "").replace("</p>", "").replace("\n", "").replace("<hr />", "***"))
    assert "evil.example" not in text or "evil.example" in shown
    row = inline.render(preview(photos([text]), Remarks))
    assert not any(tag in row for tag in ("<img", "<a ", "<code", "<em", "<strong", "<s>"))
    assert row.count("<td>") == 3, "the row keeps its cells"


def test_the_text_that_a_reader_sees_is_the_title_itself() -> None:
    title = "a_b *c* [d] <e> & f|g\\h ~i~ j@k"
    assert unescape(MarkdownIt("commonmark").render(markdown(title))) == f"<p>{title}</p>\n"


class Stranger(ThreadingHTTPServer):
    """A server elsewhere that notes what it is asked for, and has a page that shows the UI in a frame."""

    framed = ""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: Stranger

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = f"<iframe src={self.server.framed} width=900 height=600></iframe>".encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    with Stranger() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


WORKSPACE = """
import dagster as dg

@dg.asset(check_specs=[dg.AssetCheckSpec("schema", asset="photo_metadata")])
def photo_metadata(): ...

@dg.asset
def careless(): ...

defs = dg.Definitions([photo_metadata, careless])
"""


def report(home: Path, elsewhere: str) -> None:
    """What a run of ours reports of a hostile title and a hostile reason; and what a careless asset of somebody's does."""
    title = f"![](//{elsewhere}/t)"
    verdicts = {DAY: {"schema": (None, Verdict(False, f"1 row breaks ![]({'http://' + elsewhere}/check)"))}}
    empty = PhotoMetadata.create_empty()
    judged = Judged(empty, Parts.of(empty), Rejected.create_empty(), (), {}, {}, verdicts, Table(empty), {})
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        shown = {
            "preview": dg.MetadataValue.md(preview(photos([title]), Remarks)),
            "sheet": picture("sheet", file.getvalue()),
        }
        instance.report_runless_asset_event(dg.AssetMaterialization("photo_metadata", metadata=shown))
        for evaluation in judged.evaluations(instance, "photo_metadata"):
            instance.report_runless_asset_event(evaluation)
        raw = f"![here](http://{elsewhere}/careless.png) {picture('inline', file.getvalue()).value}"
        instance.report_runless_asset_event(
            dg.AssetMaterialization("careless", metadata={"raw": dg.MetadataValue.md(raw)}, description=raw)
        )


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, stranger: Stranger) -> Iterator[str]:
    """The URL of our webserver over a Dagster home with those events."""
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    (home / "assets.py").write_text(WORKSPACE)
    (home / "workspace.yaml").write_text(f"load_from: [{{python_file: {home / 'assets.py'}}}]\n")
    report(home, f"127.0.0.1:{stranger.server_port}")
    port = free_port()
    environment = os.environ | {"DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    with bound(port) as listener:
        handed = listener.fileno()
        command = [sys.executable, "-m", "resources.servers.webserver", str(handed), str(home / "workspace.yaml")]
        process = subprocess.Popen(command, env=environment, pass_fds=[handed])
    with process:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, "the UI does not answer"
            time.sleep(0.2)
        stranger.framed = f"http://127.0.0.1:{port}/assets"
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=10):
            return True
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture(scope="module")
def page(ui: str) -> Iterator[Page]:
    """A tab of Chromium; without one these tests skip, but in CI they fail."""
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless=new", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(base_url=ui, viewport={"width": 1600, "height": 1000})
        expect.set_options(timeout=SLOW_MS)
        page.set_default_timeout(SLOW_MS)
        yield page
        browser.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_title_and_a_reason_are_drawn_as_text_and_our_pictures_are_drawn(page: Page, stranger: Stranger) -> None:
    page.goto("/assets/photo_metadata?view=overview")
    expect(page.get_by_text("![](//127.0.0.1").first).to_be_visible()
    sheet = page.get_by_role("img", name="sheet").first
    expect(sheet).to_be_visible()
    assert sheet.evaluate("image => image.naturalWidth") == 40
    page.goto("/assets/photo_metadata?view=checks&checkDetail=schema")
    expect(page.get_by_text("1 row breaks ![](http").first).to_be_visible()
    assert stranger.asked == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_picture_elsewhere_is_not_asked_for_even_where_markdown_names_it(page: Page, stranger: Stranger) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto("/assets/careless?view=overview")
    inline = page.get_by_alt_text("inline").first
    expect(inline).to_be_attached()
    assert inline.evaluate("image => image.decode().then(() => image.naturalWidth)") == 40
    expect(page.get_by_alt_text("here").first).to_be_attached()
    assert stranger.asked == []
    refused = [text for text in said if "Content Security Policy" in text]
    assert refused and all("careless.png" in text for text in refused), "only the picture from elsewhere is refused"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(300)
def test_another_sites_page_shows_no_frame_of_the_ui(page: Page, stranger: Stranger, ui: str) -> None:
    page.goto(f"http://localhost:{stranger.server_port}/page")
    deadline = time.monotonic() + 60
    while not page.frames[-1].url and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert page.frames[-1].url.startswith("chrome-error:")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(300)
def test_the_ui_works_under_its_policy(page: Page, ui: str) -> None:
    """The pages that draw most: the graph, runs, the launchpad's editor, the query editor. No policy stops any of it."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{ui}/asset-groups")
    expect(page.get_by_text("photo_metadata").first).to_be_visible()
    for path, text in (
        ("/runs", "Runs"),
        ("/automation", "Automation"),
        ("/deployment", "Code locations"),
        ("/assets", "careless"),
    ):
        page.goto(f"{ui}{path}")
        expect(page.get_by_text(text).first).to_be_visible()
    page.goto(f"{ui}/graphql")
    expect(page.locator(".graphiql-container, #root, #graphiql").first).to_be_attached()
    assert [text for text in said if "Content Security Policy" in text] == []
