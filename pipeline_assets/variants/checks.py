"""Checks of variants, before a day of them is written: no leak over a split, labels still true, none a mere copy."""

import json
from collections.abc import Callable
from datetime import date

import polars as pl

from pipeline_assets.table_asset import DayCheck, RunOfDays, Verdict
from pipeline_assets.variants.families import leaking
from pipeline_assets.variants.kinds import Kind, Made

Parents = Callable[[RunOfDays], pl.DataFrame]


def for_kind(kind: Kind, parents: Parents, others: Parents) -> list[DayCheck]:
    """The checks of one kind's table. parents: of a run's days, of every split; others: of all days."""

    def one_side(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
        known = parents(run).filter(pl.col("day") == day)
        torn = leaking(known, others(run))["sha256"]
        sides = known.select("sha256", pl.col("split").alias("its_split")).unique()
        ends = [
            rows.select("variant_id", "split", pl.col(name).alias("sha256"))
            for name in ("parent_sha256", "other_parent_sha256")
        ]
        held = pl.concat(ends).drop_nulls("sha256").join(sides, on="sha256", how="left")
        leaks = held.filter(
            pl.col("its_split").is_null() | (pl.col("its_split") != pl.col("split")) | pl.col("sha256").is_in(torn.implode())
        )["variant_id"].n_unique()
        return Verdict(
            leaks == 0,
            f"{leaks} variants have a relative (parent, same bytes or look-alike) in another split",
            {"variants": rows.height, "leaks": leaks, "families_in_two_splits": len(torn)},
        )

    def labels(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
        found = [
            f"{row['variant_id'][:12]}: {problem}"
            for row in rows.iter_rows(named=True)
            for problem in kind.problems(
                Made(b"", row["media_type"], row["encoding"], json.loads(row["labels_json"]), columns=row)
            )
        ]
        return Verdict(not found, f"{len(found)} labels are not true: {'; '.join(found[:5])}" if found else "all are true")

    return [
        DayCheck(
            "no_family_in_two_splits",
            one_side,
            "a variant, its parents, their copies and look-alikes are all in one split",
            blocking=True,
        ),
        DayCheck("labels_are_true", labels, "boxes inside, times in order, spans that match their text", blocking=True),
        NONE_IS_A_COPY,
    ]


def _copies(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
    same = rows.filter(
        (pl.col("content_sha256") == pl.col("parent_sha256"))
        | (pl.col("content_sha256") == pl.col("other_parent_sha256")).fill_null(False)
    ).height
    twins = rows.height - rows.select("parent_sha256", "content_sha256").n_unique()
    return Verdict(
        same == 0,
        f"{same} variants are identical to a parent",
        {"same_as_parent": same, "same_as_sibling": twins},
    )


NONE_IS_A_COPY = DayCheck("none_is_a_copy", _copies, "no variant has the bytes of its parent", blocking=True)
