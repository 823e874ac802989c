"""The page of 50,000 photos in a headless Chromium: until it is drawn, and how long a filter takes, beside Vega.

    python -m benchmarks.exploration_page [--points 50000] [--rounds 3]

Both pages are one file on the disk, opened without a network, drawn in software. A filter is a handle that moves: until the
second frame after it, when counts, bars and points are drawn. Darkroom's page has 30 columns; Vega's, written by Altair, has
a scatter plot and four histograms. Wall time depends on what else the machine does, the time of the page's thread hardly.
Needs chromium on the PATH.
"""

import argparse
import shutil
import statistics
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from playwright.sync_api import Browser, CDPSession, sync_playwright

from benchmarks.figures import Figure, add_options, at_most, finish
from benchmarks.rivals import page_vega
from pipeline_assets.exploration.page.document import About, page
from pipeline_assets.exploration.page.points import points

MOST_DRAW_S, MOST_FILTER_MS = 2.0, 100.0
POINTS, ROUNDS, MOVES = 50_000, 3, 20
PUBLISHED = (
    "FiftyOne says of its new panel 'hundreds of thousands to millions of points' with WebGL, and of the former one that "
    "large maps are impractical (voxel51/fiftyone#8042); it does not install here. Embedding Atlas needs WebGPU."
)
OURS = """async ([name, part]) => {
  const filter = [...document.querySelectorAll('details.filter')].find(one => one.innerText.startsWith(name));
  const [from] = filter.querySelectorAll('input[type=range]');
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  const started = performance.now();
  from.value = Math.round(part * from.max);
  from.dispatchEvent(new Event('input'));
  await frame(); await frame();
  return performance.now() - started;
}"""
THEIRS = """async ([name, part]) => {
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  const started = performance.now();
  view.signal(name, part);
  await view.runAsync();
  await frame(); await frame();
  return performance.now() - started;
}"""


def rows_of(count: int) -> pl.DataFrame:
    """Photos on a map of 40 clusters, with as many columns as the training table's page has."""
    random = np.random.default_rng(0)
    cluster = random.integers(0, 40, count)
    centres = random.normal(size=(40, 2)) * 6
    place = centres[cluster] + random.normal(size=(count, 2))
    numbers = {f"measure_{number}": random.normal(size=count).astype(np.float32) for number in range(18)}
    return pl.DataFrame(
        {
            "day": pl.Series(random.integers(20_000, 20_365, count)).cast(pl.Int32).cast(pl.Date),
            "photo_id": np.arange(count),
            "user_id": random.integers(0, 5000, count),
            "sha256": [f"{number:064x}" for number in range(count)],
            "top_class": [f"class {number}" for number in random.zipf(1.5, count) % 1000],
            "split": [("train", "validation", "test")[number] for number in random.integers(0, 3, count)],
            "brightness": random.random(count).astype(np.float32),
            "contrast": random.random(count).astype(np.float32),
            "likes": random.geometric(0.01, count),
            "popularity": random.gamma(2, 2, count).astype(np.float32),
            "model_error": random.normal(size=count).astype(np.float32),
            "x": place[:, 0].astype(np.float32),
            "y": place[:, 1].astype(np.float32),
            "cluster": cluster,
            **numbers,
        }
    )


@dataclass
class Times:
    """Of each opening and each move: what a person waits, and for how long the page's thread is on a core."""

    draws_s: list[float] = field(default_factory=list)
    moves_ms: list[float] = field(default_factory=list)
    draw_cpu_s: list[float] = field(default_factory=list)
    move_cpu_ms: list[float] = field(default_factory=list)


def measured(browser: Browser, path: Path, ready: str, move: str, name: str, rounds: int) -> Times:
    """Open a page from the disk some times, and move a filter in each."""
    times = Times()
    for _ in range(rounds):
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.set_default_timeout(300_000)
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        tab.goto(path.as_uri())
        while not tab.evaluate(ready):  # a page's policy may forbid what Playwright waits with
            tab.wait_for_timeout(50)
        times.draws_s.append(tab.evaluate("performance.getEntriesByName('first-draw')[0].startTime") / 1000)
        began = busy_s(session)
        times.draw_cpu_s.append(began)
        times.moves_ms += [tab.evaluate(move, [name, (number % 10 + 1) / 12]) for number in range(MOVES)]
        times.move_cpu_ms.append(1000 * (busy_s(session) - began) / MOVES)
        tab.close()
    return times


def busy_s(session: CDPSession) -> float:
    """Seconds that the page's thread has worked on a core: script, layout and painting."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--points", type=int, default=POINTS, help=f"on the map ({POINTS:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of opening each page ({ROUNDS})")
    options = parser.parse_args()
    count = 5000 if options.quick else options.points
    rounds = 1 if options.quick else options.rounds
    chromium = shutil.which("chromium")
    if chromium is None:
        finish(
            options,
            "exploration_page",
            [Figure("first draw", None, "s", at_most(MOST_DRAW_S), "no chromium on the PATH")],
            {},
        )
        return
    rows = rows_of(count)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        ours, theirs = Path(folder) / "ours.html", Path(folder) / "theirs.html"
        places = rows.select("photo_id", "x", "y", "cluster")
        text = page(points(rows.drop("x", "y", "cluster"), places=places), About("Photos", table_columns=rows.columns), {})
        ours.write_text(text, encoding="utf-8")
        page_vega.write(rows, theirs)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        is_ready = "performance.getEntriesByName('{}').length"
        mine = measured(browser, ours, is_ready.format("ready"), OURS, "Popularity", rounds)
        vega = measured(browser, theirs, is_ready.format("first-draw"), THEIRS, page_vega.LOW, rounds)
        browser.close()
        sizes = {path.stem: path.stat().st_size / 1e6 for path in (ours, theirs)}
    middle = statistics.median
    figures = [
        Figure(
            f"page of {count:,} photos: first draw",
            middle(mine.draws_s),
            "s",
            at_most(MOST_DRAW_S),
            f"Vega {middle(vega.draws_s):.1f} s; the longest of {rounds}: {max(mine.draws_s):.2f} s",
        ),
        Figure(
            "until it is ready",
            middle(mine.draw_cpu_s),
            "CPU s",
            None,
            f"of its thread, with all parts; Vega {middle(vega.draw_cpu_s):.1f}",
        ),
        Figure(
            "a filter, until it is drawn",
            middle(mine.moves_ms),
            "ms",
            at_most(MOST_FILTER_MS),
            f"Vega {middle(vega.moves_ms):,.0f} ms; the longest of {len(mine.moves_ms)}: {max(mine.moves_ms):.0f} ms",
        ),
        Figure(
            "a filter",
            middle(mine.move_cpu_ms),
            "CPU ms",
            at_most(MOST_FILTER_MS),
            f"of its thread, with the list of photos; Vega {middle(vega.move_cpu_ms):,.0f}",
        ),
        Figure("size without thumbnails", sizes["ours"], "MB", None, f"Vega {sizes['theirs']:.1f} MB. {PUBLISHED}"),
    ]
    details: dict[str, Any] = {"ours": asdict(mine), "vega": asdict(vega)}
    finish(options, "exploration_page", figures, details)


if __name__ == "__main__":
    main()
