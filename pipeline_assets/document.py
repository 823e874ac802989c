"""The page docs/tables.md: every asset's table as the code declares it, so that the page can't fall behind the code.

What lives here: Markdown from declarations and schemas. It reads no table and no service, and the same code under the
same settings gives the same page.
"""

import inspect
import re
from collections.abc import Iterator, Sequence

import dagster as dg
import dataframely as dy
import polars as pl

from pipeline_assets import definitions
from pipeline_assets.ingestion.schemas import Rejected
from pipeline_assets.nightly import ASSETS
from pipeline_assets.partitions import Days
from pipeline_assets.table_asset import DECLARATIONS, Declaration

HEAD = """\
# Tables

Written by `darkroom document docs/tables.md` from the code, with the default settings. Do not edit it: change the schema
or the asset, and run the command again. `make test` fails while the two differ.

Each asset is one Delta table, `{lake_url}/tables/{asset}`, partitioned by `day` (a UTC day). All times are UTC unless a
description says otherwise. Print rows with `darkroom show ASSET --day YYYY-MM-DD`; [operations](operations.md) shows other
tools, and [ingestion](ingestion.md) lists the verdicts and reject reasons.

How to read the parts of an asset:

- **Reads** names the upstream tables and, for a day `d`, which of their days are read.
- **Checks** run on each day before it is written. A *blocking* check that fails keeps the day out of the table, and its
  old version stays. Another check only warns.
- **Key** marks the columns that together name a row.
- **Null** marks the columns that may be empty.
"""

SCHEMA_CHECK = ("schema", "every row keeps the declared schema", True)


def tables_page() -> str:
    """The whole page as Markdown, assets in the order in which a night makes them."""
    known = [name for name in ASSETS if name in DECLARATIONS]
    names = known + sorted(set(DECLARATIONS) - set(known))
    assets = {
        asset.key.to_user_string(): asset
        for asset in definitions.defs.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
    }
    parts = [HEAD, *_overview(names, assets)]
    for name in names:
        parts.extend(_asset(DECLARATIONS[name], assets[name]))
    parts.extend(_rejected([name for name in names if DECLARATIONS[name].quarantines]))
    return "\n".join(parts).rstrip() + "\n"


def _overview(names: Sequence[str], assets: dict[str, dg.AssetsDefinition]) -> Iterator[str]:
    yield "| asset | group | reads | a row is |"
    yield "| --- | --- | --- | --- |"
    for name in names:
        declared = DECLARATIONS[name]
        reads = ", ".join(f"`{upstream}`" for upstream in declared.inputs) or "what comes from outside"
        row = _first_sentence(inspect.getdoc(declared.schema) or "")
        yield f"| [`{name}`](#{name}) | {_spec(assets[name]).group_name} | {reads} | {row} |"
    yield ""


def _asset(declared: Declaration, asset: dg.AssetsDefinition) -> Iterator[str]:
    spec = _spec(asset)
    yield f"## {declared.name}"
    yield ""
    yield spec.description or ""
    yield ""
    kinds = f" Kinds: {', '.join(sorted(spec.kinds))}." if spec.kinds else ""
    yield f"- Group: {spec.group_name}.{kinds}"
    yield f"- Runs: {_runs(asset)}."
    yield "- Reads:" + ("" if declared.inputs else " nothing of the lake.")
    for upstream, window in declared.inputs.items():
        yield f"  - `{upstream}`: {_window(window)}"
    if declared.sources:
        yield f"- Also reads what lies outside the lake, through: {', '.join(f'`{name}`' for name in declared.outside)}."
    if declared.quarantines:
        yield f"- Inputs that break the contract are kept aside in [`{declared.name}_rejected`](#rejected-inputs)."
    yield "- Checks:"
    checks = [SCHEMA_CHECK, *((check.name, check.description, check.blocking) for check in declared.checks)]
    for name, description, is_blocking in checks:
        yield f"  - `{name}` ({'blocking' if is_blocking else 'warns'}): {description}"
    yield ""
    yield from _columns(declared.schema, declared.key, declared.volatile)
    yield ""


def _runs(asset: dg.AssetsDefinition) -> str:
    policy = asset.backfill_policy
    most = policy.max_partitions_per_run if policy else 1
    chunk = "a backfill is one run" if most is None else "one day a run" if most == 1 else f"up to {most} days a run"
    pool = asset.op.pool
    return chunk + (f"; pool `{pool}`" if pool else "; no pool")


def _spec(asset: dg.AssetsDefinition) -> dg.AssetSpec:
    [spec] = asset.specs
    return spec


def _window(days: Days) -> str:
    if days.is_same_day:
        return "the same day, which must be there"
    return f"days {_offset(days.start)} to {_offset(days.end)}; days that are not there are read as empty"


def _offset(offset: int) -> str:
    return "`d`" if offset == 0 else f"`d {'+' if offset > 0 else '-'} {abs(offset)}`"


def _columns(schema: type[dy.Schema], key: Sequence[str], volatile: Sequence[str]) -> Iterator[str]:
    yield "| column | type | null | key | description |"
    yield "| --- | --- | --- | --- | --- |"
    for name, column in schema.columns().items():
        notes = [column.description or "", _limits(column), "not part of the digest" if name in volatile else ""]
        told = "; ".join(_cell(note) for note in notes if note)
        marks = f"{'yes' if column.nullable else ''} | {'yes' if name in key else ''}"
        yield f"| `{name}` | {_type(column.dtype)} | {marks} | {told} |"


def _limits(column: dy.Column) -> str:
    """The bounds and the pattern that a column's values must keep."""
    low, high, pattern = (getattr(column, rule, None) for rule in ("min", "max", "regex"))
    if pattern is not None:
        return f"matches `{pattern}`"
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else ""


def _type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return "Datetime, UTC" if dtype.time_zone else "Datetime, no zone"
    if isinstance(dtype, pl.List):
        return f"List of {dtype.inner}"
    return str(dtype)


def _rejected(quarantining: Sequence[str]) -> Iterator[str]:
    yield "## Rejected inputs"
    yield ""
    yield (
        "`{asset}_rejected` is the table of what an asset kept aside, with the reason. It is there once an asset has "
        f"rejected something. {_and(quarantining)} keep rows aside that break their schema, too; the other assets fail."
    )
    yield ""
    yield from _columns(Rejected, [], [])
    yield ""


def _and(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(quoted) if len(quoted) < 3 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _first_sentence(text: str) -> str:
    return _cell(re.split(r"(?<=\.)\s|;", " ".join(text.split()), maxsplit=1)[0].rstrip("."))


def _cell(text: str) -> str:
    """Text that keeps a table's row whole."""
    return " ".join(text.split()).replace("|", "\\|")
