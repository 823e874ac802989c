"""The points of `exploration_page` in Vega, as Altair writes it: a scatter plot and histograms that filter each other."""

import json
from pathlib import Path

import altair as alt
import polars as pl
import vl_convert

HISTOGRAMS = ("brightness", "contrast", "popularity", "likes")
LOW = "low"
"""The signal of the lower bound of the first histogram's column."""
SCRIPT = """window.drawn = vegaEmbed('#vis', spec, {actions: false}).then(one => {
  window.view = one.view;
  performance.mark('first-draw');
})"""


def page(rows: pl.DataFrame) -> str:
    """One file with all it needs. `window.view` is the running view, once `first-draw` is marked."""
    alt.data_transformers.disable_max_rows()
    low = alt.param(name=LOW, value=float("-1e9"))
    passes = f"datum.{HISTOGRAMS[0]} >= {LOW}"
    points = (
        alt.Chart()
        .mark_circle(size=6)
        .encode(x="x:Q", y="y:Q", color="top_class:N")
        .transform_filter(passes)
        .properties(width=640, height=520)
    )
    bars = [
        alt.Chart()
        .mark_bar()
        .encode(x=alt.X(f"{name}:Q", bin=alt.Bin(maxbins=24)), y="count()")
        .transform_filter(passes)
        .properties(width=240, height=60)
        for name in HISTOGRAMS
    ]
    columns = ["x", "y", "top_class", *HISTOGRAMS]
    chart = alt.hconcat(points, alt.vconcat(*bars), data=alt.Data(values=rows.select(columns).to_dicts())).add_params(low)
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    text = json.dumps(chart.to_dict()).replace("<", "\\u003c")
    return (
        f'<!doctype html><meta charset="utf-8"><div id="vis"></div><script type="module">{bundle}</script>'
        f'<script type="module">const spec = {text}; {SCRIPT}</script>'
    )


def write(rows: pl.DataFrame, path: Path) -> None:
    """Write the page."""
    path.write_text(page(rows), encoding="utf-8")
