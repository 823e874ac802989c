"""Conditions that slices are made of: SQL texts over columns, with the rows for which each holds. Pure.

The rows are selected by the very text, as `darkroom checkout --where` selects them, so that both can't differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

COLUMNS = (
    "top_class",
    "top_probability",
    "brightness",
    "contrast",
    "saturation",
    "colourfulness",
    "sharpness",
    "aspect",
    "posted_hour",
    "posted_weekday",
    "title_length",
    "has_location",
    "followers_at_post",
    "days_since_joining",
    "logins_1d",
    "logins_7d",
    "logins_30d",
    "posts_30d",
    "likes_given_30d",
    "likes_received_30d",
    "mean_popularity_30d",
)
"""Of `training_table`: content, style, time and the user's features. Not who the user is: a user is no slice."""
OF_OTHER_TABLES = ("look", "cluster")
"""Of `photo_styles` and of the night's `embedding_map`."""
CATEGORIES = ("cluster",)
"""Columns of whole numbers that are names: no range of them means anything."""
RESERVED = ("cluster",)
"""Words of SQL, which are columns in quotes only."""
MAX_VALUES = 50
"""The most frequent values of a column of texts that are tried."""
FEW_VALUES = 8
"""A column of whole numbers with at most so many values is tried value by value."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
DIGITS = 3


@dataclass(frozen=True)
class Predicates:
    """texts: SQL, one of several that hold for the same rows; columns: that it names; holds: (rows, predicates)."""

    texts: tuple[str, ...]
    columns: tuple[str, ...]
    holds: npt.NDArray[np.bool_]


def predicates(rows: pl.DataFrame, columns: Sequence[str] = COLUMNS, *, min_rows: int = 1) -> Predicates:
    """The conditions on single columns that hold for at least `min_rows` of the rows, and not for as many of the others.

    Values of texts and of few whole numbers; below, above and between quantiles of other numbers, rounded to 3 digits;
    and null. Cuts depend on the columns alone, never on errors.
    """
    named = [(name, text) for name in columns for text in _texts(name, rows[name])]
    names, texts = [name for name, _ in named], [text for _, text in named]
    held = rows.select(pl.sql_expr(text).fill_null(False).alias(str(number)) for number, text in enumerate(texts))
    kept: dict[bytes, int] = {}
    arrays = [held[str(number)].to_numpy() for number in range(len(texts))]
    for number, array in enumerate(arrays):
        if min_rows <= array.sum() <= rows.height - min_rows:
            kept.setdefault(np.packbits(array).tobytes(), number)
    chosen = list(kept.values())
    holds = np.stack([arrays[number] for number in chosen], axis=1) if chosen else np.empty((rows.height, 0), bool)
    return Predicates(tuple(texts[number] for number in chosen), tuple(names[number] for number in chosen), holds)


def conjunction(texts: Sequence[str]) -> str:
    """The condition that all of these hold, in a fixed order."""
    return " and ".join(sorted(texts))


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _texts(column: str, values: pl.Series) -> list[str]:
    name = f'"{column}"' if column in RESERVED else column
    nulls = [f"{name} is null"] if values.null_count() else []
    if values.dtype == pl.Boolean:
        return [f"{name} = true", f"{name} = false", *nulls]
    if values.dtype == pl.String:
        return [*(f"{name} = {quoted(value)}" for value in _frequent(values)), *nulls]
    if column in CATEGORIES:
        return [*(f"{name} = {value}" for value in _frequent(values)), *nulls]
    if values.dtype.is_integer() and values.n_unique() <= FEW_VALUES:
        return [*(f"{name} = {value}" for value in values.drop_nulls().unique().sort()), *nulls]
    return [*_ranges(name, values), *nulls]


def _frequent(values: pl.Series) -> list[Any]:
    counts = values.drop_nulls().alias("value").value_counts(name="rows").sort("rows", "value", descending=[True, False])
    return counts["value"].head(MAX_VALUES).to_list()


def _ranges(name: str, values: pl.Series) -> list[str]:
    finite = values.drop_nulls().cast(pl.Float64)
    finite = finite.filter(finite.is_finite())
    if finite.is_empty():
        return []
    cuts = [_number(finite.quantile(share, "nearest")) for share in QUANTILES]  # type: ignore[arg-type]
    cuts = list(dict.fromkeys(cuts))
    low, high = cuts[: len(cuts) // 2 + 1], cuts[len(cuts) // 2 :]
    between = [f"{name} > {a} and {name} <= {b}" for a, b in pairwise(cuts)]
    return [*(f"{name} <= {cut}" for cut in low), *(f"{name} > {cut}" for cut in high), *between]


def _number(value: float) -> str:
    """A number as SQL reads it: without an exponent where that is short."""
    rounded = f"{value:.{DIGITS}g}"
    is_short = value == 0 or 1e-9 < abs(value) < 1e15
    return format(Decimal(rounded), "f") if is_short else rounded.replace("+", "")
