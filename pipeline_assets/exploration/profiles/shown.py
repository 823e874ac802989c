"""Profiles and drift as people see them on the pages of assets: small tables in Markdown, and small pictures."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline_assets.exploration.profiles.profile import MEDIAN, in_words
from pipeline_assets.exploration.profiles.sketch import Histogram
from pipeline_assets.runtime.visible import markdown

BARS, BAR_PX, HEIGHT_PX, GAP_PX, TEXT_PX = 40, 4, 60, 14, 11
ACROSS = 4
CELL_PX, NAME_PX = 14, 210
INK, FAINT, PAPER = (32, 36, 44), (120, 126, 138), (255, 255, 255)
BLUE, RED = (64, 110, 190), (200, 60, 50)
STEPS = (0.0, 0.1, 0.25, 0.5)
"""Of the index: no difference, some, much, another distribution."""
SHADES = ((236, 240, 246), (198, 214, 238), (140, 172, 222), (64, 110, 190))


def profile_table(rows: pl.DataFrame) -> str:
    """The columns of one table and day as Markdown: nulls, different values, the middle or the most frequent."""
    lines = ["| column | nulls | distinct | typical |", "|-|-|-|-|"]
    for row in rows.iter_rows(named=True):
        distinct = "" if row["distinct"] is None else f"{'' if row['is_distinct_exact'] else '~'}{row['distinct']:,}"
        lines.append(f"| {markdown(row['column'])} | {_share(row['nulls'], row['rows'])} | {distinct} | {_typical(row)} |")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return "" if not part else f"{part / whole:.1%}"


def _typical(row: dict[str, Any]) -> str:
    if row["values"]:
        return markdown(f"{row['values'][0][:24]} ({row['value_rows'][0] / row['rows']:.0%})")
    if not row["quantiles"]:
        return ""
    low, middle, high = (in_words(row["quantiles"][place], row["kind"]) for place in (1, MEDIAN, 5))
    return f"{middle} ({low.partition(' ')[0]} to {high})"


def drift_table(rows: pl.DataFrame, most: int = 8) -> str:
    """The columns that differ most as Markdown, alarms first."""
    compared = rows.filter(pl.col("p_value").is_not_null()).sort(
        ["is_alarm", "p_value", "table", "column"], descending=[True, False, False, False]
    )
    if compared.is_empty():
        reasons = rows["reason"].drop_nulls().value_counts(sort=True)["reason"].head(1).to_list()
        return f"nothing to compare: {markdown(reasons[0])}" if reasons else "nothing to compare"
    lines = ["| column | index | p | change |", "|-|-|-|-|"]
    is_one_table = rows["table"].n_unique() == 1
    for row in compared.head(most).iter_rows(named=True):
        column = row["column"] if is_one_table else f"{row['table']}.{row['column']}"
        name = markdown(column) + (" **alarm**" if row["is_alarm"] else "")
        index = "" if row["psi"] is None else f"{row['psi']:.2f}"
        lines.append(f"| {name} | {index} | {row['p_adjusted']:.2g} | {markdown(row['change'] or '')} |")
    return "\n".join(lines)


def profile_picture(rows: pl.DataFrame) -> bytes:
    """A PNG with the distribution of each column of one table and day that has one, from the 1 % to the 99 % point."""
    shapes = [(row["column"], shape) for row in rows.iter_rows(named=True) if len(shape := _shape(row))]
    width, height = BARS * BAR_PX + GAP_PX, HEIGHT_PX + TEXT_PX + GAP_PX + 6
    down = max(-(-len(shapes) // ACROSS), 1)
    sheet, pen, font = _sheet(GAP_PX + ACROSS * width, GAP_PX + down * height)
    for number, (name, shape) in enumerate(shapes):
        left, top = GAP_PX + number % ACROSS * width, GAP_PX + number // ACROSS * height
        pen.text((left, top), name, INK, font)
        bottom = top + TEXT_PX + 6 + HEIGHT_PX
        step = BARS * BAR_PX / len(shape)
        for index, share in enumerate(shape / shape.max()):
            pen.rectangle((left + index * step, bottom - share * HEIGHT_PX, left + (index + 1) * step - 1, bottom), BLUE)
    return _png(sheet)


def _shape(row: dict[str, Any]) -> np.ndarray:
    """Heights of bars: rows of the most frequent values, or of equal steps of a number."""
    if row["values"]:
        return np.array(row["value_rows"][:12], dtype=np.float64)
    if not row["quantiles"] or row["quantiles"][-1] <= row["quantiles"][0]:
        return np.empty(0)
    histogram = Histogram(*(np.array(row[name]) for name in ("bin_low", "bin_high", "bin_rows")))
    edges = np.linspace(row["quantiles"][0], row["quantiles"][-1], BARS + 1)
    shares = np.diff(histogram.share_up_to(edges[1:]), prepend=0)
    return shares if shares.max() > 0 else np.empty(0)


def drift_picture(rows: pl.DataFrame) -> bytes:
    """A PNG of the index by column (down) and day (across); red frames are alarms."""
    days = sorted(set(rows["day"]))
    names = rows.filter(pl.col("psi").is_not_null()).select("table", "column").unique().sort("table", "column").rows()
    places = {name: number for number, name in enumerate(names)}
    sheet, pen, font = _sheet(NAME_PX + CELL_PX * len(days) + GAP_PX, GAP_PX + CELL_PX * max(len(names), 1) + GAP_PX)
    for (table, column), number in places.items():
        pen.text((4, GAP_PX + number * CELL_PX), f"{table}.{column}"[:36], INK, font)
    for row in rows.iter_rows(named=True):
        if row["psi"] is None:
            continue
        left = NAME_PX + days.index(row["day"]) * CELL_PX
        top = GAP_PX + places[row["table"], row["column"]] * CELL_PX
        shade = SHADES[sum(row["psi"] >= step for step in STEPS) - 1]
        pen.rectangle((left, top, left + CELL_PX - 2, top + CELL_PX - 2), shade, RED if row["is_alarm"] else None)
    if days:
        pen.text((NAME_PX, 0), f"{days[0]} to {days[-1]}", FAINT, font)
    return _png(sheet)


def _sheet(width: int, height: int) -> Sequence[Any]:
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (width, height), PAPER)
    return sheet, ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)


def _png(sheet: Any) -> bytes:
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=3)
    return out.getvalue()
