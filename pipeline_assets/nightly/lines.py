"""Describes days that are not current, one line for each range of days."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipeline_assets.nightly.survey import ranges

STALE_INPUT = re.compile(r"(\w+) \d{4}-\d\d-\d\d(?: and [\d,]+ more days?)? not current")
"""One stale input in the detail of an `upstream` day."""


def lines(stale: pl.DataFrame) -> Iterator[str]:
    """One line for each range of consecutive days with the same reason and detail.

    Dates are removed from the details so that neighbouring days agree. `upstream` days come last: they only name their
    stale inputs.
    """
    described = stale.with_columns(
        detail=pl.struct("day", "reason", "detail").map_elements(_without_date, return_dtype=pl.String),
        follows=pl.col("reason") == "upstream",
    )
    grouped = (
        described.group_by("asset", "reason", "detail", "follows", maintain_order=True)
        .agg("day")
        .sort("follows", maintain_order=True)
    )
    for asset, reason, detail, _, days in grouped.iter_rows():
        for span in ranges(pl.Series(days)):
            text = str(span.first) if span.first == span.last else f"{span.first} to {span.last}"
            yield f"  {asset} {text}: {reason} ({detail})"


def _without_date(verdict: Mapping[str, Any]) -> str:
    """The detail of a day without dates, so that consecutive days have the same text."""
    if verdict["reason"] == "upstream" and (inputs := STALE_INPUT.findall(verdict["detail"])):
        return f"{', '.join(inputs)} not current"
    return str(verdict["detail"]).replace(f" {verdict['day']}", " of the day")
