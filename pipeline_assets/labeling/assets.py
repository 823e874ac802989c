"""The asset of all labels: the application's, and what campaigns agreed on."""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from pipeline_assets.framework.code_version import Part
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.partitions import SAME_DAY
from pipeline_assets.framework.table_asset import table_asset
from pipeline_assets.labeling import annotation_rows, boxes, label_json, marks, masks, points, polygons, rle, segments
from pipeline_assets.labeling import annotations as judging
from pipeline_assets.labeling.campaigns import promotion
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.runtime import strict_json
from pipeline_assets.variants.text import words
from resources.database import fixed_form
from resources.database.contract import Database, Twin

_CUT = label_json.MAX_CHARACTERS + 1
_ANNOTATIONS = Twin(
    # An annotation without a day belongs to the day of `annotated_at`.
    postgres=f"""
select
    case when isfinite(day) then day else (annotated_at at time zone 'UTC')::date end - date '1970-01-01' as day,
    coalesce(isfinite(day), false)::integer as has_day,
    left(key, 65537) as key,
    left(target, 100) as target,
    left(labels::text, {_CUT}) as labels_json,
    left(annotator, 65537) as annotator,
    case when annotated_at between '0001-01-01 00:00Z' and '9999-12-31 00:00Z'
        then (extract(epoch from annotated_at) * 1000000)::bigint end as annotated_us
from annotations
where day between $1 and $2
    or (day is null or day in ('infinity', '-infinity')) and (annotated_at at time zone 'UTC')::date between $1 and $2
""",  # noqa: S608  a constant of this file
    # With `+0 days` a date that no calendar has, as 2026-02-30, is another one and not itself.
    sqlite="""
select
    cast(
        julianday(case when date(day, '+0 days') = day then day else date(annotated_at, '+0 days') end)
        - julianday('1970-01-01') as integer
    ) as day,
    coalesce(date(day, '+0 days') = day, 0) as has_day,
    case when typeof(key) = 'text' then key end as key,
    case when typeof(target) = 'text' then target end as target,
    case when typeof(labels) = 'text' then labels end as labels_json,
    case when typeof(annotator) in ('text', 'null') then annotator else char(0) end as annotator,
    microseconds(cast(annotated_at as blob)) as annotated_us
from annotations
where (day between $1 and $2 and date(day, '+0 days') = day)
    or (day is null or date(day, '+0 days') is not day) and date(annotated_at, '+0 days') between $1 and $2
""",
)
ANNOTATIONS_SQL = fixed_form.rows(_ANNOTATIONS, annotation_rows.COLUMNS)
BY_DAY_SQL = fixed_form.digests(_ANNOTATIONS, annotation_rows.COLUMNS)


def _changed(days: Sequence[date], database: Database) -> Mapping[date, str]:
    return fixed_form.day_digests(database, BY_DAY_SQL, days)


@table_asset(
    schema=Annotations,
    group="labeling",
    inputs={"raw_uploads": SAME_DAY, "photo_metadata": SAME_DAY, "label_consensus": SAME_DAY},
    sources=_changed,
    code=[
        promotion,
        rle,
        judging,
        annotation_rows,
        label_json,
        strict_json,
        marks,
        boxes,
        masks,
        points,
        polygons,
        segments,
        words,
        Part("code", "annotations.sql", ANNOTATIONS_SQL.postgres),
        Part("code", "annotations.sqlite.sql", ANNOTATIONS_SQL.sqlite),
    ],
    quarantines=True,
    kinds={"sql", "polars"},
    pool="database",
    automatic=True,
    lineage={
        "sha256": [("raw_uploads", "sha256"), ("photo_metadata", "title")],
        "labels_json": [("label_consensus", "answer_json")],
    },
)
def annotations(
    run: RunOfDays,
    raw_uploads: pl.LazyFrame,
    photo_metadata: pl.LazyFrame,
    label_consensus: pl.LazyFrame,
    database: Database,
) -> Table:
    """Labels that people or tools gave uploads and titles: boxes, masks, points, segments, spans. Variants preserve them.

    Read from the application's table `annotations`, by the upload's day, with what the annotators of campaigns agreed on
    (`label_consensus`), and validated against the annotated bytes: a box or mask outside of its photo, a segment after the
    end, or a span that is not in the title is left out of its row and listed in `annotations_rejected`, as is a row without
    valid marks or without an upload. The application's marks of a kind come before those of a campaign.
    """
    of_the_run = pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode())
    accepted, invalid = annotation_rows.judge(database.read(ANNOTATIONS_SQL, (run.days[0], run.days[-1])))
    rows, rejected = judging.judge(accepted.filter(of_the_run), raw_uploads, photo_metadata)
    agreed, unusable = promotion.promoted(label_consensus)
    consensus, unfit = promotion.fitting(agreed, raw_uploads, photo_metadata)
    rows, contradicting = promotion.merged(rows, consensus)
    return Table(rows, rejected=pl.concat([invalid.filter(of_the_run), rejected, unusable, unfit, contradicting]))
