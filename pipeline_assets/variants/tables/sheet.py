"""The contact sheet of table variants: a map of deleted and changed cells; for synthetic rows two comparisons with the
real ones: quantiles of each column, and correlations of each pair.

vl-convert draws it in this process, like the model's pictures.
"""

import json
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import vl_convert

from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.tables import margins
from pipeline_assets.variants.tables.copula import correlations, scores
from pipeline_assets.variants.tables.draft import columns_of, is_category
from pipeline_assets.variants.tables.frames import read_table
from pipeline_assets.variants.tables.margins import as_numbers
from pipeline_assets.variants.tables.synthesis import facts

INK, MUTED, PAPER = "#22262b", "#6b737c", "#ffffff"
CELLS = {"kept": "#dfe5ea", "null before": "#aab4be", "changed": "#edae49", "deleted": "#d1495b"}
PANEL_PX, ROWS, COLUMNS, PER_LINE, COMPARED_ROWS = 240, 60, 24, 3, 5000
"""A panel's side, rows and columns that are shown of a table, panels beside each other, rows that a comparison takes."""

_CONFIG: dict[str, Any] = {
    "background": PAPER,
    "font": "sans-serif",
    "padding": 16,
    "view": {"stroke": None},
    "title": {"anchor": "start", "fontSize": 13, "color": INK, "subtitleFontSize": 11, "subtitleColor": MUTED, "offset": 8},
    "axis": {"labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal", "labelColor": INK, "titleColor": MUTED}
    | {"grid": False, "domain": False, "ticks": False, "labelLimit": 110},
    "legend": {"orient": "bottom", "title": None, "labelFontSize": 11, "labelColor": INK, "symbolType": "square"},
}


def contact_sheet(rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
    """A PNG: for each parent the panels of its variants, several per line, with the names of their recipes."""
    lines: list[list[alt.Chart]] = []
    for parent, variants in rows:
        real, keys = read_table(parent.data), tuple(parent.labels.get("keys") or ())
        lines.append([])
        for task, made in variants:
            panels = _panels(real, keys, task.recipe.name, made)
            if len(lines[-1]) + len(panels) > PER_LINE:
                lines.append([])
            lines[-1] += panels
    joined_lines = [alt.hconcat(*line, spacing=36).resolve_scale(color="independent") for line in lines if line]
    sheet = alt.vconcat(*joined_lines, spacing=28).resolve_scale(color="independent")
    png: bytes = vl_convert.vegalite_to_png({**sheet.to_dict(), "config": _CONFIG}, scale=2)
    return png


def cells(real: pl.DataFrame, variant: pl.DataFrame, mask: pl.DataFrame | None, names: list[str]) -> pl.DataFrame:
    """The state of each cell: row, column, state."""
    states = []
    for name in names:
        before, after = real[name], variant[name]
        deleted = mask[name] if mask is not None else pl.Series([False]).new_from_index(0, real.height)
        state = (
            pl.when(deleted)
            .then(pl.lit("deleted"))
            .when(before.is_null())
            .then(pl.lit("null before"))
            .when(before.ne_missing(after))
            .then(pl.lit("changed"))
            .otherwise(pl.lit("kept"))
        )
        states.append(pl.select(row=pl.int_range(real.height), column=pl.lit(name), state=state))
    return pl.concat(states)


def quantiles(real: pl.DataFrame, synthetic: pl.DataFrame) -> pl.DataFrame:
    """Quantiles of each column of numbers or times, scaled so that real ones span 0 to 1: column, real, synthetic."""
    at = np.linspace(0.01, 0.99, 60)
    parts = [pl.DataFrame(schema={"column": pl.String, "real": pl.Float64, "synthetic": pl.Float64})]
    for name in columns_of(real, ordered=True):
        if is_category(real.schema[name]):
            continue
        real_numbers, synthetic_numbers = (as_numbers(frame[name]) for frame in (real, synthetic))
        if np.isnan(real_numbers).all() or np.isnan(synthetic_numbers).all():
            continue
        both = [np.nanquantile(values, at) for values in (real_numbers, synthetic_numbers)]
        low, spread = both[0].min(), np.ptp(both[0]) or 1.0
        parts.append(
            pl.DataFrame(
                {"column": [name] * at.size, **dict(zip(("real", "synthetic"), (both - low) / spread, strict=True))}
            )
        )
    return pl.concat(parts)


def paired_correlations(real: pl.DataFrame, synthetic: pl.DataFrame) -> pl.DataFrame:
    """Rank correlations of each pair of columns: column, other, correlation; real above the diagonal, synthetic below."""
    names = columns_of(real, ordered=True)
    orders = [margins.fitted(real[name], rare=1) for name in names]
    above, below = (
        correlations(scores(np.stack([order.numbers(frame[order.name]) for order in orders]))) for frame in (real, synthetic)
    )
    both = np.triu(above, 1) + np.tril(below, -1)
    rows = [(names[i], names[j], both[i, j]) for i in range(len(names)) for j in range(len(names)) if i != j]
    return pl.DataFrame(rows, ["column", "other", "correlation"], orient="row")


def _panels(real: pl.DataFrame, keys: tuple[str, ...], recipe: str, variant_made: Made) -> list[alt.Chart]:
    variant = read_table(variant_made.data)
    names = [name for name in real.columns if name not in keys][:COLUMNS]
    synthesis_reports = [
        step for step in json.loads(variant_made.columns["report_json"]) if step["operation"] == "synthesize"
    ]
    if synthesis_reports:
        real_rows, synthetic_rows = (frame.select(names).head(COMPARED_ROWS) for frame in (real, variant))
        return [
            _quantile_panel(real_rows, synthetic_rows, recipe),
            _correlation_panel(real_rows, synthetic_rows, facts(synthesis_reports[-1])),
        ]
    mask = read_table(variant_made.extra_contents["mask_sha256"]).head(ROWS) if variant_made.extra_contents else None
    count = f"{variant_made.columns['cells_deleted']:,} of {real.height * (real.width - len(keys)):,} cells deleted"
    return [
        _cell_panel(
            cells(real.head(ROWS), variant.head(ROWS), mask, names),
            names,
            recipe,
            count if variant_made.extra_contents else " ",
        )
    ]


def _cell_panel(cell_states: pl.DataFrame, names: list[str], recipe: str, subtitle: str) -> alt.Chart:
    colour = alt.Color("state:N", scale=alt.Scale(domain=list(CELLS), range=list(CELLS.values())))
    column = alt.X("column:N", sort=names, title=None, axis=alt.Axis(labelAngle=-50))
    row = alt.Y("row:O", title=f"the first {cell_states['row'].n_unique()} rows", axis=alt.Axis(labels=False))
    chart = alt.Chart(cell_states).mark_rect(stroke=PAPER, strokeWidth=0.5).encode(column, row, colour)
    return _sized(chart, recipe, subtitle)


def _quantile_panel(real: pl.DataFrame, synthetic: pl.DataFrame, recipe: str) -> alt.Chart:
    chart = (
        alt.Chart(quantiles(real, synthetic))
        .mark_line(strokeWidth=1.5, opacity=0.8)
        .encode(
            alt.X("real:Q", title="quantiles of real values"),
            alt.Y("synthetic:Q", title="of synthetic ones"),
            alt.Color("column:N", scale=alt.Scale(scheme="tableau20"), legend=alt.Legend(columns=3, labelLimit=90)),
        )
    )
    return _sized(chart, recipe, "each column's values; on the diagonal they are alike")


def _correlation_panel(real: pl.DataFrame, synthetic: pl.DataFrame, subtitle: str) -> alt.Chart:
    pairs = paired_correlations(real, synthetic)
    order = real.columns
    chart = (
        alt.Chart(pairs)
        .mark_rect()
        .encode(
            alt.X("other:N", sort=order, title=None, axis=alt.Axis(labelAngle=-50)),
            alt.Y("column:N", sort=order, title=None),
            alt.Color(
                "correlation:Q", scale=alt.Scale(scheme="redblue", domain=[-1, 1]), legend=alt.Legend(gradientLength=160)
            ),
        )
    )
    return _sized(chart, "correlations: real above, synthetic below", subtitle)


def _sized(chart: alt.Chart, title: str, subtitle: str) -> alt.Chart:
    return chart.properties(width=PANEL_PX, height=PANEL_PX, title=alt.TitleParams(title, subtitle=subtitle))
