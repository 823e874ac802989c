"""Metadata that the Dagster UI shows for a table asset: schema, lineage, previews.

Events contain no personal data: what `personal.py` declares as such is left out of previews.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import dataframely as dy
import polars as pl

from pipeline_assets.framework.judging import PREVIEW_ROWS, Judged
from pipeline_assets.framework.personal import draws_text, is_shown
from pipeline_assets.runtime.visible import markdown

if TYPE_CHECKING:
    from pipeline_assets.framework.declaration import Declaration
    from pipeline_assets.framework.partitions import Days
    from pipeline_assets.framework.planning import Plan
    from resources.lake.lake import Lake

LARGEST_WEBP_PX = 16_383
PREVIEW_TEXT = 24
INLINE_CHARACTERS = 1000
"""The UI shows shorter Markdown in place, and longer Markdown behind a link."""


def column_schema(schema: type[dy.Schema]) -> dg.TableSchema:
    """A schema as Dagster's table schema: types, descriptions, constraints."""
    key = schema.primary_key()
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=key == [name]),
                tags={"primary_key": ""} if name in key else {},
            )
            for name, column in schema.columns().items()
        ]
    )


def definition(
    name: str,
    schema: type[dy.Schema],
    inputs: "Mapping[str, Days]",
    lineage: Mapping[str, Sequence[tuple[str, str]]],
) -> dict[str, Any]:
    """Metadata of the asset itself, shown before its first materialization."""
    from pipeline_assets.framework.declaration import DECLARATIONS

    columns: dict[str, list[dg.TableColumnDep]] = {}
    for column in schema.columns():
        named = list(lineage.get(column, ()))
        same = [(up, column) for up in inputs if up in DECLARATIONS and column in DECLARATIONS[up].schema.columns()]
        columns[column] = [dg.TableColumnDep(dg.AssetKey(asset), source) for asset, source in named or same]
    return {
        "dagster/table_name": f"tables/{name}",
        "dagster/column_schema": column_schema(schema),
        "dagster/column_lineage": dg.TableColumnLineage({column: deps for column, deps in columns.items() if deps}),
    }


def materialization(
    asset: "Declaration", day: date, plan: "Plan", judged: Judged, lake: "Lake", version: int | None
) -> dict[str, Any]:
    """Metadata of one day: rows, digest, Delta version, digests of inputs, a preview and the asset's pictures.

    version: the Delta version of the commit with the day's rows; None for a day that the run did not compute. Such a day
    links the run that computed it, whose event has preview and pictures.
    """
    shared = {
        "delta_version": plan.before[day]["delta_version"] if version is None else version,
        "dagster/uri": lake.uri(asset.name),
        "inputs": dg.MetadataValue.json(dict(plan.inputs[day])),
    }
    if version is None:
        entry = plan.before[day]
        return {
            **shared,
            "dagster/row_count": entry["rows"],
            "digest": entry["digest"],
            "unchanged": True,
            "preview and pictures": dg.MetadataValue.dagster_run(entry["run_id"]),
            "computed_at": dg.MetadataValue.timestamp(entry["materialized_at"]),
        }
    rows = judged.rows.filter(pl.col("day") == day)
    return {
        **shared,
        "dagster/row_count": judged.counts[day],
        "digest": judged.digests[day],
        "unchanged": False,
        "rejected": judged.rejected.filter(pl.col("day") == day).height,
        "preview": dg.MetadataValue.md(preview(rows, asset.schema)),
        **(asset.day_metadata(rows) if asset.day_metadata else {}),
        **judged.table.metadata,
        **({} if draws_text(asset.schema) else _pictures(judged, day)),
    }


def _pictures(judged: Judged, day: date) -> dict[str, Any]:
    """The run's pictures for its newest day, and a reference to it for the others: Dagster stores each event in full."""
    newest = max(judged.good)
    if day != newest:
        return {title: f"one picture for the whole run, shown with {newest}" for title in judged.table.pictures}
    return {title: picture(title, png) for title, png in judged.table.pictures.items()}


def picture(title: str, png: bytes) -> dg.MetadataValue[Any]:
    """A PNG as Markdown with inline bytes, which the UI draws. WebP needs a tenth to a fifth of the bytes."""
    import base64
    import io

    from PIL import Image

    image, webp = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    image.thumbnail((LARGEST_WEBP_PX, LARGEST_WEBP_PX))
    image.save(webp, "WEBP", quality=80, method=2)
    return dg.MetadataValue.md(f"![{markdown(title)}](data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()})")


def preview(rows: pl.DataFrame, schema: type[dy.Schema]) -> str:
    """The first rows as a Markdown table that the UI shows in place; long values are cut, personal columns left out."""
    names = [name for name, column in schema.columns().items() if name in rows.columns and is_shown(name, column)]
    table = "| " + " | ".join(names) + " |\n|" + "-|" * len(names)
    for number, row in enumerate(rows.select(names).head(PREVIEW_ROWS).iter_rows()):
        longer = f"{table}\n| " + " | ".join(_cell(value) for value in row) + " |"
        if number and len(longer) >= INLINE_CHARACTERS:
            break
        table = longer
    return table if rows.height else "no rows"


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} values" if len(value) > 5 else ", ".join(map(_cell, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).replace("\n", " ")
    return markdown(text if len(text) <= PREVIEW_TEXT else text[: PREVIEW_TEXT - 1] + "…")
