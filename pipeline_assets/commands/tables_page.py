"""The page docs/tables.md: every asset's table, generated from its declaration and schema.

It reads no table and uses no service. The same code with the same settings gives the same page.
"""

import inspect
import re
from collections.abc import Iterator, Sequence

import dagster as dg
import dataframely as dy
import polars as pl

from pipeline_assets import definitions
from pipeline_assets.framework.declaration import DECLARATIONS, Declaration
from pipeline_assets.framework.partitions import Days
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.nightly.calendars import ASSETS

HEAD = """\
# Tables

`darkroom document docs/tables.md` generates this page from the code, with the default settings. Do not edit it: change the
schema or the asset, and run the command again. `make test` fails if the two differ.

Each asset is one Delta table, `{lake_url}/tables/{asset}`, partitioned by `day` (a UTC day). All times are UTC unless a
description says otherwise. Print rows with `darkroom show ASSET --day YYYY-MM-DD`; [operations](operations.md) describes
other tools, and [ingestion](ingestion.md) lists the verdicts and reject reasons.

The parts of an asset:

- **Reads** lists the upstream tables and the days of them that day `d` reads.
- **Checks** run on each day before it is written. If a *blocking* check fails, the day is not written and keeps its old
  version. Other checks only warn.
- **Key** marks the columns that together identify a row.
- **Null** marks the columns that may be null.
"""

SCHEMA_CHECK = ("schema", "every row keeps the declared schema", True)


def tables_page() -> str:
    """The whole page as Markdown, with assets in the order of the nightly job."""
    nightly = [name for name in ASSETS if name in DECLARATIONS]
    names = nightly + sorted(set(DECLARATIONS) - set(nightly))
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
    yield "| asset | group | reads | row |"
    yield "| --- | --- | --- | --- |"
    for name in names:
        declared = DECLARATIONS[name]
        reads = ", ".join(f"`{upstream}`" for upstream in declared.inputs) or "external data"
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
    yield "- Reads:" + ("" if declared.inputs else " no tables.")
    for upstream, window in declared.inputs.items():
        yield f"  - `{upstream}`: {_window(window)}"
    if declared.sources:
        yield f"- Also reads external data through: {', '.join(f'`{name}`' for name in declared.source_resources)}."
    if declared.quarantines:
        yield f"- Rejected inputs: in [`{declared.name}_rejected`](#rejected-inputs)."
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
    chunk = "one run per backfill" if most is None else "one day per run" if most == 1 else f"up to {most} days per run"
    pool = asset.op.pool
    return chunk + (f"; pool `{pool}`" if pool else "; no pool")


def _spec(asset: dg.AssetsDefinition) -> dg.AssetSpec:
    [spec] = asset.specs
    return spec


def _window(days: Days) -> str:
    if days.is_same_day:
        return "the same day, which must exist"
    if days.may_be_missing:
        return "the same day, if it exists"
    return f"days {_offset(days.start)} to {_offset(days.end)}; missing days are read as empty"


def _offset(offset: int) -> str:
    return "`d`" if offset == 0 else f"`d {'+' if offset > 0 else '-'} {abs(offset)}`"


def _columns(schema: type[dy.Schema], key: Sequence[str], volatile: Sequence[str]) -> Iterator[str]:
    yield "| column | type | null | key | description |"
    yield "| --- | --- | --- | --- | --- |"
    for name, column in schema.columns().items():
        notes = [column.description or "", _limits(column), "not part of the digest" if name in volatile else ""]
        description = "; ".join(_cell(note) for note in notes if note)
        marks = f"{'yes' if column.nullable else ''} | {'yes' if name in key else ''}"
        yield f"| `{name}` | {_type(column.dtype)} | {marks} | {description} |"


def _limits(column: dy.Column) -> str:
    """The bounds or the pattern of a column's values."""
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
        "`{asset}_rejected` is the table of the inputs that an asset rejected, with the reason. It exists after the first "
        f"rejection. {_and(quarantining)} also reject rows that violate their schema; the other assets fail."
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
    """Text for one cell: on one line, with escaped bars."""
    return " ".join(text.split()).replace("|", "\\|")
