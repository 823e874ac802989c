"""The model's two plots, as PNG bytes: prediction against truth, and feature importance.

Drawn by vl-convert inside this process: no browser, no display, no network. 600 pixels wide, for a page or an
asset's metadata.
"""

from typing import Any

import altair as alt
import polars as pl
import vl_convert

INK, MUTED, GRID, PAPER = "#22262b", "#6b737c", "#e6e9ec", "#ffffff"
COLOURS = {"content": "#d1495b", "metadata": "#30638e", "user": "#00798c", "style": "#edae49"}
"""Colours of bars by the source of a feature; the scatter uses the blue of metadata."""
WIDTH_PX, SCALE = 600, 2
MAX_POINTS = 2000

_THEME: dict[str, Any] = {
    "background": PAPER,
    "font": "sans-serif",
    "padding": 16,
    "view": {"stroke": None},
    "title": {"anchor": "start", "fontSize": 16, "color": INK, "subtitleFontSize": 12, "subtitleColor": MUTED, "offset": 12},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": MUTED,
        "gridColor": GRID,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "titlePadding": 10,
        "labelLimit": 220,
        "labelFlush": False,
        "tickCount": 7,
    },
    "legend": {"orient": "bottom", "title": None, "labelFontSize": 12, "labelColor": INK, "symbolType": "square"},
}


def prediction_against_truth(predictions: pl.DataFrame, *, r2: float, seed: int = 0) -> bytes:
    """Scatter of the test photos around the line of perfect prediction, as PNG.

    predictions: photo_id, popularity, prediction, at least one row; of more than `MAX_POINTS`, that many drawn by `seed`.
    """
    drawn = predictions.sample(min(predictions.height, MAX_POINTS), seed=seed).sort("photo_id")
    limits = predictions.select(
        low=pl.min_horizontal("popularity", "prediction").min().floor(),
        high=pl.max_horizontal("popularity", "prediction").max().floor() + 1,
    ).row(0)
    domain = alt.Scale(domain=limits, nice=False, zero=False)
    points = (
        alt.Chart(drawn)
        .mark_circle(size=36, opacity=0.55, color=COLOURS["metadata"])
        .encode(
            alt.X("prediction:Q", scale=domain, title="predicted popularity, log2(views a day + 1)"),
            alt.Y("popularity:Q", scale=domain, title="true popularity"),
        )
    )
    ends = pl.DataFrame({"prediction": limits, "popularity": limits})
    diagonal = alt.Chart(ends).mark_line(color=MUTED, strokeDash=[4, 4]).encode(x="prediction:Q", y="popularity:Q")
    count = f"{predictions.height:,} test photos"
    if drawn.height < predictions.height:
        count = f"{drawn.height:,} of {count}"
    subtitle = f"{count}, R2 = {r2:.2f}; the dashed line is a perfect prediction"
    return _png(diagonal + points, "Prediction against truth", subtitle, height=440)


def feature_importance(importance: pl.DataFrame, *, top: int = 15) -> bytes:
    """Bars of the `top` features by drop in R2, with one standard deviation over the shuffles, as PNG.

    importance: feature, source, r2_drop, r2_drop_deviation, as `permutation_importance` gives it.
    """
    top_features = importance.sort("r2_drop", "feature", descending=[True, False]).head(top)
    top_features = top_features.with_columns(
        pl.col("feature").str.replace_all("_", " "),
        low=pl.col("r2_drop") - pl.col("r2_drop_deviation"),
        high=pl.col("r2_drop") + pl.col("r2_drop_deviation"),
    )
    order = alt.Y("feature:N", sort=top_features["feature"].to_list(), title=None, axis=alt.Axis(grid=False))
    sources = [source for source in COLOURS if source in top_features["source"]]
    colour = alt.Color("source:N", scale=alt.Scale(domain=sources, range=[COLOURS[source] for source in sources]))
    bars = (
        alt.Chart(top_features).mark_bar(height={"band": 0.7}).encode(alt.X("r2_drop:Q", title="drop in R2"), order, colour)
    )
    zero = alt.Chart(pl.DataFrame({"r2_drop": [0.0]})).mark_rule(color=MUTED).encode(x="r2_drop:Q")
    spread = alt.Chart(top_features).mark_rule(color=INK, strokeWidth=1.2).encode(alt.X("low:Q"), order, x2="high:Q")
    subtitle = "how much the test score loses when one input is shuffled among photos"
    return _png(bars + spread + zero, "Feature importance", subtitle, height=26 * top_features.height + 20)


def _png(chart: alt.LayerChart, title: str, subtitle: str, *, height: int) -> bytes:
    # The width counts axes and labels too, so that the picture fits the column it is shown in.
    sized = chart.properties(
        width=WIDTH_PX,
        height=height,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        title=alt.TitleParams(title, subtitle=subtitle),
    )
    png: bytes = vl_convert.vegalite_to_png({**sized.to_dict(), "config": _THEME}, scale=SCALE)
    return png
