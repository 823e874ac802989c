"""The assets of profiles and drift."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from pipeline_assets.exploration import several_tests
from pipeline_assets.exploration.profiles import checks, columns, day_tests, embedding, profile, shown, sketch
from pipeline_assets.exploration.profiles import drift as comparing
from pipeline_assets.exploration.profiles.schemas import Drift, TableProfiles
from pipeline_assets.framework import reporting
from pipeline_assets.framework.code_version import Part
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import DECLARED, SAME_DAY_IF_ANY, Days
from pipeline_assets.framework.table_asset import table_asset

REFERENCE_DAYS = DECLARED.training_window_days
"""The days before a day that a model of its night is trained on."""


def _sizes(rows: pl.DataFrame) -> Mapping[str, Any]:
    by_table = rows.group_by("table", maintain_order=True).agg(pl.col("rows").max(), columns=pl.len())
    lines = [f"| {table} | {count:,} | {columns} |" for table, count, columns in by_table.iter_rows()]
    return {"tables": dg.MetadataValue.md("\n".join(["| table | rows | columns |", "|-|-|-|", *lines]))}


@table_asset(
    schema=TableProfiles,
    group="exploration",
    inputs=dict.fromkeys(columns.TABLES, SAME_DAY_IF_ANY),
    code=[profile, columns, sketch, embedding, Part("code", "columns", columns.decided())],
    kinds={"polars", "numpy"},
    days_per_run=60,
    day_metadata=_sizes,
    lineage={"rows": [(table, "day") for table in columns.TABLES]},
)
def table_profiles(run: RunOfDays, **tables: pl.LazyFrame) -> Table:
    """What each column of each table has on a day: nulls, distinct values, quantiles, frequent values, lengths of texts.

    Each table is read once for all days, in batches; a day whose rows have not changed is not read again. Nothing of it
    names a person: values are those of names of ours alone, ids are only counted, and positions are not looked at. The page
    of each table in the UI shows the profile of its newest day.
    """
    before = run.previous()
    found: list[pl.DataFrame] = [TableProfiles.create_empty()]
    for table, rows in tables.items():
        entries = run.entries.filter(pl.col("asset") == table, pl.col("digest") != "", pl.col("day").is_in(run.days))
        digests = dict(entries.select("day", "digest").iter_rows())
        same = before.filter(
            pl.col("table") == table, pl.col("table_digest") == pl.col("day").replace_strict(digests, default="")
        )
        new = {day: digest for day, digest in digests.items() if day not in set(same["day"])}
        filled = entries.filter(pl.col("rows") > 0, pl.col("day").is_in(list(new)))["day"]
        read = rows.filter(pl.col("day").is_in(filled.implode())) if len(filled) else rows.collect_schema().to_frame().lazy()
        found += [same, profile.profiles(read, table, columns.of_table(table, columns.TABLES[table]), new)]
    profiled = pl.concat(found)
    return Table(profiled, about=_about_profiles(profiled))


def _about_profiles(profiled: pl.DataFrame) -> dict[tuple[str, date], dict[str, Any]]:
    """What the page of each table shows: the profile of its newest day with rows in this run."""
    newest = profiled.filter(pl.col("rows") > 0).filter(pl.col("day") == pl.col("day").max().over("table"))
    return {
        (table, rows["day"][0]): {
            "profile": dg.MetadataValue.md(shown.profile_table(rows)),
            "distributions": reporting.picture(f"{table} of {rows['day'][0]}", shown.profile_picture(rows)),
        }
        for (table,), rows in newest.group_by("table", maintain_order=True)
    }


def _alarms(rows: pl.DataFrame) -> Mapping[str, Any]:
    return {"alarms": rows["is_alarm"].sum(), "drift": dg.MetadataValue.md(shown.drift_table(rows))}


@table_asset(
    schema=Drift,
    group="exploration",
    inputs={"table_profiles": Days(-REFERENCE_DAYS, 0)},
    code=[comparing, day_tests, several_tests, sketch, embedding],
    checks=[checks.LIKE_BEFORE],
    kinds={"polars", "numpy"},
    days_per_run=60,
    day_metadata=_alarms,
    lineage={
        "psi": [("table_profiles", "bin_rows"), ("table_profiles", "value_rows")],
        "mmd": [("table_profiles", "moments")],
        "null_share": [("table_profiles", "nulls")],
    },
)
def drift(run: RunOfDays, table_profiles: pl.LazyFrame) -> Table:
    """How far each column of a day is from the days of the training window before it, by their profiles alone.

    An alarm is a difference that days like those before would show on at most 1 day in 20 in any column (Holm), and that is
    large enough to matter. How much days differ among themselves, as by users' bursts or weekdays, is measured on the
    reference's days. The page of each table in the UI shows the drift of its newest day.
    """
    found = comparing.drift(table_profiles.collect(), run.days, REFERENCE_DAYS)
    newest = found.filter(pl.col("day") == pl.col("day").max().over("table"))
    about = {
        (table, rows["day"][0]): {"drift": dg.MetadataValue.md(shown.drift_table(rows))}
        for (table,), rows in newest.group_by("table", maintain_order=True)
    }
    pictures = {"drift by column and day": shown.drift_picture(found)} if found["psi"].count() else {}
    return Table(found, about=about, pictures=pictures)
