"""Checks of a day of variants before it is written: no leak across splits, valid labels, no copies."""

import json
from collections.abc import Callable
from datetime import date

import polars as pl

from pipeline_assets.framework.declaration import DayCheck, RunOfDays, Verdict
from pipeline_assets.variants.families import leaking
from pipeline_assets.variants.kinds import Kind, Made

Parents = Callable[[RunOfDays], pl.DataFrame]


def for_kind(kind: Kind, parents: Parents, all_items: Parents) -> list[DayCheck]:
    """The checks of one kind's table. parents: of a run's days, of all splits; all_items: of all days."""

    def one_side(day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, run: RunOfDays) -> Verdict:
        all_parents = run.once("parents", lambda: parents(run).select("day", "sha256", "phash", "split"))
        of_all_days = run.once("leaking", lambda: leaking(all_parents, all_items(run)))
        day_parents = all_parents.filter(pl.col("day") == day)
        leaking_hashes = of_all_days.filter(pl.col("day") == day)["sha256"]
        sides = day_parents.select("sha256", pl.col("split").alias("its_split")).unique()
        ends = [
            rows.select("variant_id", "split", pl.col(name).alias("sha256"))
            for name in ("parent_sha256", "other_parent_sha256")
        ]
        with_split = pl.concat(ends).drop_nulls("sha256").join(sides, on="sha256", how="left")
        leaks = with_split.filter(
            pl.col("its_split").is_null()
            | (pl.col("its_split") != pl.col("split"))
            | pl.col("sha256").is_in(leaking_hashes.implode())
        )["variant_id"].n_unique()
        return Verdict(
            leaks == 0,
            f"{leaks} variants have a relative (parent, same bytes or look-alike) in another split",
            {"variants": rows.height, "leaks": leaks, "families_in_two_splits": len(leaking_hashes)},
        )

    def labels(_day: date, rows: pl.DataFrame, _rejected: pl.DataFrame, _run: RunOfDays) -> Verdict:
        problems = [
            f"{row['variant_id'][:12]}: {problem}"
            for row in rows.iter_rows(named=True)
            for problem in kind.problems(
                Made(b"", row["media_type"], row["encoding"], json.loads(row["labels_json"]), columns=row)
            )
        ]
        return Verdict(
            not problems, f"{len(problems)} labels are not true: {'; '.join(problems[:5])}" if problems else "all are true"
        )

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
    copies = rows.filter(
        (pl.col("content_sha256") == pl.col("parent_sha256"))
        | (pl.col("content_sha256") == pl.col("other_parent_sha256")).fill_null(False)
    ).height
    twins = rows.height - rows.select("parent_sha256", "content_sha256").n_unique()
    return Verdict(
        copies == 0,
        f"{copies} variants are identical to a parent",
        {"same_as_parent": copies, "same_as_sibling": twins},
    )


NONE_IS_A_COPY = DayCheck("none_is_a_copy", _copies, "no variant has the bytes of its parent", blocking=True)
