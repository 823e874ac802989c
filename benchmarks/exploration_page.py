"""The page of 50,000 photos in a headless Chromium: until it is drawn, and how long a filter takes, beside Vega.

    python -m benchmarks.exploration_page [--points 50000] [--rounds 5]

Both pages are one file on the disk, opened without a network, drawn in software. A filter is a handle that moves: until the
second frame after it, when counts, bars and points are drawn. Darkroom's page has 30 columns; Vega's, written by Altair, has
a scatter plot and four histograms. Wall time: compare within a run. Needs chromium on the PATH.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.figures import Figure, add_options, at_most, finish
from benchmarks.rivals import page_vega
from pipeline_assets.exploration.page.document import About, page
from pipeline_assets.exploration.page.points import points

MOST_DRAW_S, MOST_FILTER_MS = 2.0, 100.0
POINTS, ROUNDS, MOVES = 50_000, 5, 20
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


@contextmanager
def opened(browser: Browser, path: Path, ready: str) -> Iterator[Page]:
    """A new tab with a page from the disk, once it is ready."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.set_default_timeout(300_000)
    tab.goto(path.as_uri())
    while not tab.evaluate(ready):  # a page's policy may forbid what Playwright waits with
        tab.wait_for_timeout(50)
    yield tab
    tab.close()


def measured(browser: Browser, path: Path, ready: str, move: str, name: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds until the first drawing of each round, and milliseconds of each move of a filter."""
    draws, moves = [], []
    for _ in range(rounds):
        with opened(browser, path, ready) as tab:
            draws.append(tab.evaluate("performance.getEntriesByName('first-draw')[0].startTime") / 1000)
            moves += [tab.evaluate(move, [name, (number % 10 + 1) / 12]) for number in range(MOVES)]
    return draws, moves


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
        draws, moves = measured(browser, ours, is_ready.format("ready"), OURS, "Popularity", rounds)
        their_draws, their_moves = measured(browser, theirs, is_ready.format("first-draw"), THEIRS, page_vega.LOW, rounds)
        browser.close()
        sizes = {path.stem: path.stat().st_size / 1e6 for path in (ours, theirs)}
    figures = [
        Figure(
            f"page of {count:,} photos: first draw",
            statistics.median(draws),
            "s",
            at_most(MOST_DRAW_S),
            f"Vega {statistics.median(their_draws):.1f} s; the longest of {rounds}: {max(draws):.2f} s",
        ),
        Figure(
            "a filter, until it is drawn",
            statistics.median(moves),
            "ms",
            at_most(MOST_FILTER_MS),
            f"Vega {statistics.median(their_moves):,.0f} ms; the longest of {len(moves)}: {max(moves):.0f} ms",
        ),
        Figure(
            "size of the page, without thumbnails", sizes["ours"], "MB", None, f"Vega {sizes['theirs']:.1f} MB. {PUBLISHED}"
        ),
    ]
    details: dict[str, Any] = {
        "draws_s": draws,
        "moves_ms": moves,
        "vega_draws_s": their_draws,
        "vega_moves_ms": their_moves,
    }
    finish(options, "exploration_page", figures, details)


if __name__ == "__main__":
    main()
